"""Encoding: pixels, format, and no metadata."""

import io
import struct

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from ml.errors import BadParameter, PictureTooLarge
from ml.imaging import codecs
from ml.pixels import Pixels
from tests.support.ml import photos

PHOTO = photos.photo("chelsea")[:200, :300]
MATTE = np.tile(np.linspace(-100, 355, 300).clip(0, 255).astype(np.uint8), (200, 1))
CUTOUT = np.dstack([PHOTO, MATTE])
FORMATS = ("png", "jpg", "webp", "avif")
PILLOW_NAMES = {"png": "PNG", "jpg": "JPEG", "webp": "WEBP", "avif": "AVIF"}


def mean_difference(one: Pixels, other: Pixels) -> float:
    return float(np.abs(one.astype(np.int16) - other).mean())


def mean_difference_seen(one: Pixels, other: Pixels) -> float:
    """Of two RGBA pictures as they look on white."""
    seen = [pixels[..., :3] * (pixels[..., 3:] / 255) + 255 - pixels[..., 3:] for pixels in (one, other)]
    return float(np.abs(seen[0] - seen[1]).mean())


class TestPixels:
    @pytest.mark.parametrize("pixels", [PHOTO, MATTE], ids=["colour", "mask"])
    def test_png_keeps_every_value(self, pixels: Pixels) -> None:
        assert np.array_equal(photos.open_bytes(codecs.encode(pixels, "png")), pixels)

    @pytest.mark.parametrize("format", ["jpg", "webp", "avif"])
    def test_lossy_formats_come_close_at_the_usual_quality(self, format: str) -> None:
        content = codecs.encode(PHOTO, format, 90)
        with Image.open(io.BytesIO(content)) as opened:
            assert opened.format == PILLOW_NAMES[format]
        assert mean_difference(photos.open_bytes(content), PHOTO) < 3

    @pytest.mark.parametrize("format", ["jpg", "webp", "avif"])
    def test_quality_trades_size_for_fidelity(self, format: str) -> None:
        low, high = codecs.encode(PHOTO, format, 20), codecs.encode(PHOTO, format, 95)
        assert len(high) > 2 * len(low)
        assert mean_difference(photos.open_bytes(high), PHOTO) < mean_difference(
            photos.open_bytes(low), PHOTO
        )

    @pytest.mark.parametrize("format", ["png", "webp", "avif"])
    def test_transparency_is_kept(self, format: str) -> None:
        answer = photos.open_bytes(codecs.encode(CUTOUT, format, 90))
        assert mean_difference(answer[..., 3], MATTE) < 1
        assert mean_difference_seen(answer, CUTOUT) < 3

    def test_a_jpeg_of_a_cutout_is_laid_on_white(self) -> None:
        answer = photos.open_bytes(codecs.encode(CUTOUT, "jpg", 95))
        alpha = MATTE[..., None] / 255
        assert np.abs(answer - (PHOTO * alpha + 255 * (1 - alpha))).mean() < 2
        assert answer[:, :40].min() >= 250

    @pytest.mark.parametrize("format", FORMATS)
    def test_a_mask_is_a_grey_image_in_every_format(self, format: str) -> None:
        content = codecs.encode(MATTE, format, 90)
        answer = photos.open_bytes(content)
        grey = answer if answer.ndim == 2 else answer[..., 0]
        assert mean_difference(grey, MATTE) < 2
        if format in ("png", "jpg"):
            assert answer.ndim == 2
        if format == "avif":  # Pillow reads it as colour; the file itself says one channel of 8 bits
            assert b"pixi\0\0\0\0\x01\x08" in content

    def test_fine_red_lines_stay_sharp_at_high_quality(self) -> None:
        lines = np.full((64, 64, 3), 255, np.uint8)
        lines[:, ::4] = (255, 0, 0)
        for format in ("jpg", "avif"):
            sharp = mean_difference(photos.open_bytes(codecs.encode(lines, format, 90)), lines)
            assert sharp < 4
            assert mean_difference(photos.open_bytes(codecs.encode(lines, format, 80)), lines) > 2 * sharp

    @pytest.mark.parametrize("format", FORMATS)
    def test_slices_and_mirrored_views_of_an_array_are_encoded_correctly(self, format: str) -> None:
        view = PHOTO[10:110:1, 200:50:-1]
        assert mean_difference(photos.open_bytes(codecs.encode(view, format, 90)), view) < 3

    def test_a_big_png_is_as_exact_as_a_small_one(self) -> None:
        big = np.tile(PHOTO, (5, 6, 1))
        assert big.shape[0] * big.shape[1] > 1_000_000
        mask = (255 - big[..., 1]) // 64 * 85
        cutout = np.dstack([big, mask])
        cutout[mask == 0] = 0
        # Rows of a view are not contiguous, and the last rows are not as many as are encoded at once.
        for pixels in (big, mask, cutout, cutout[3:, 5:-2], big[::-1, ::2]):
            content = codecs.encode(pixels, "png")
            assert np.array_equal(photos.open_bytes(content), pixels)
            runs = [cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
            up = [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP, *runs]
            assert len(content) < 1.05 * len(cv2.imencode(".png", pixels, up)[1])


class TestHiddenColor:
    @pytest.mark.parametrize("format", FORMATS)
    def test_colour_under_full_transparency_is_not_written(self, format: str) -> None:
        other = CUTOUT.copy()
        other[MATTE == 0] = (255, 0, 255, 0)
        assert (MATTE == 0).sum() > 1000
        assert codecs.encode(other, format) == codecs.encode(CUTOUT, format)

    def test_png_writes_black_under_full_transparency(self) -> None:
        assert photos.open_bytes(codecs.encode(CUTOUT, "png"))[MATTE == 0].max() == 0

    def test_colour_is_kept_under_the_faintest_alpha(self) -> None:
        answer = photos.open_bytes(codecs.encode(CUTOUT, "png"))
        visible = MATTE > 0
        assert np.array_equal(answer[visible], CUTOUT[visible])

    def test_the_input_array_is_not_modified(self) -> None:
        pixels = CUTOUT.copy()
        for format in FORMATS:
            codecs.encode(pixels, format)
        assert np.array_equal(pixels, CUTOUT)


def end_of_file(format: str, content: bytes) -> int:
    """Where the format itself says that the file ends."""
    if format == "webp":
        return 8 + int(struct.unpack_from("<I", content, 4)[0])
    if format == "jpg":
        return content.rindex(b"\xff\xd9") + 2
    position = 0
    if format == "avif":
        while position < len(content):
            position += int(struct.unpack_from(">I", content, position)[0])
        return position
    position, name = 8, b""
    while name != b"IEND":
        length, name = struct.unpack_from(">I4s", content, position)
        position += 12 + length
    return position


class TestNothingBesides:
    @pytest.mark.parametrize("format", FORMATS)
    def test_the_file_ends_where_its_format_says(self, format: str) -> None:
        for pixels in (PHOTO, CUTOUT, MATTE):
            content = codecs.encode(pixels, format)
            assert end_of_file(format, content) == len(content)

    @pytest.mark.parametrize("format", FORMATS)
    def test_the_file_carries_no_metadata(self, format: str) -> None:
        with Image.open(io.BytesIO(codecs.encode(PHOTO, format))) as opened:
            opened.load()
            for name in ("exif", "xmp", "photoshop", "comment", "XML:com.adobe.xmp"):
                assert not opened.info.get(name)
            assert not opened.getexif()

    @pytest.mark.parametrize("format", FORMATS)
    def test_the_file_states_that_its_colours_are_srgb(self, format: str) -> None:
        for pixels in (PHOTO, CUTOUT):
            content = codecs.encode(pixels, format)
            assert content == codecs.encode(pixels, format)  # without a time
            if format == "png":
                assert content[33:].startswith(b"\0\0\0\1sRGB\0")
                assert content.count(b"sRGB") == 1
            elif format == "avif":
                assert b"colrnclx\0\1\0\x0d" in content  # BT.709's primaries, sRGB's curve
            else:
                profile = Image.open(io.BytesIO(content)).info["icc_profile"]
                assert len(profile) < 600
                assert "sRGB" in ImageCms.getProfileDescription(io.BytesIO(profile))
        # A profile of colours would be wrong for a grey picture.
        assert b"ICC" not in codecs.encode(MATTE, "jpg")

    @pytest.mark.parametrize("format", ["png", "jpg"])
    def test_the_density_is_kept(self, format: str) -> None:
        for pixels in (PHOTO, CUTOUT, np.tile(PHOTO, (5, 5, 1))):
            content = codecs.encode(pixels, format, dpi=(300, 150))
            decoded = codecs.decode(content)
            assert decoded.dpi == pytest.approx((300, 150), abs=0.02)
            assert codecs.decode(codecs.encode(pixels, format)).dpi is None
        absurd = codecs.decode(codecs.encode(PHOTO, format, dpi=(1e6, 1e-6))).dpi
        assert absurd is not None
        assert min(absurd) > 0

    def test_the_density_turns_with_the_image(self) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        content = io.BytesIO()
        Image.fromarray(PHOTO).save(content, "JPEG", exif=exif, dpi=(300, 150))
        with_jfif = _add_jfif(content.getvalue(), 300, 150)
        assert codecs.decode(with_jfif).dpi == (150, 300)


def _add_jfif(content: bytes, across: int, down: int) -> bytes:
    segment = struct.pack(">BBH5sHBHHBB", 0xFF, 0xE0, 16, b"JFIF\0", 0x101, 1, across, down, 0, 0)
    return content[:2] + segment + content[2:]


class TestLimits:
    def test_a_result_beyond_64_megapixels_is_refused(self) -> None:
        pixels = np.broadcast_to(np.uint8(0), (8000, 8001))
        with pytest.raises(PictureTooLarge, match="8001 x 8000"):
            codecs.encode(pixels, "png")

    @pytest.mark.parametrize(("format", "side"), [("webp", 16_383), ("jpg", 65_500), ("avif", 32_768)])
    def test_a_side_that_a_format_cannot_hold_names_the_format_parameter(
        self, format: str, side: int
    ) -> None:
        assert codecs.encode(np.zeros((1, side), np.uint8), format)
        with pytest.raises(BadParameter, match=format) as refusal:
            codecs.encode(np.zeros((1, side + 1), np.uint8), format)
        assert refusal.value.name == "format"
        assert codecs.encode(np.zeros((1, side + 1), np.uint8), "png")


class TestFormatChoice:
    @pytest.mark.parametrize(
        ("wanted", "source", "has_alpha", "is_mask", "answer"),
        [
            ("auto", "jpg", False, False, "jpg"),
            ("auto", "png", False, False, "png"),
            ("auto", "webp", False, False, "webp"),
            ("auto", "avif", False, False, "avif"),
            ("auto", "heic", False, False, "jpg"),
            ("auto", "jpg", True, False, "png"),
            ("auto", "webp", True, False, "png"),
            ("auto", "heic", True, False, "png"),
            ("auto", "jpg", False, True, "png"),
            ("jpg", "png", True, False, "jpg"),
            ("webp", "jpg", True, False, "webp"),
            ("avif", "heic", False, True, "avif"),
        ],
    )
    def test_auto_keeps_the_source_format_unless_png_is_required(
        self, wanted: str, source: str, has_alpha: bool, is_mask: bool, answer: str
    ) -> None:
        assert codecs.resolve_format(wanted, source, has_alpha, is_mask, (100, 50)) == answer
