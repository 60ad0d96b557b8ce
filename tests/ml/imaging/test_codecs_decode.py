"""Decoding: format, orientation, size, transparency, first frame."""

import io
import struct
import subprocess
import sys
import zlib
from typing import ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ml.errors import PictureTooLarge, UnreadablePicture, UnsupportedFormat
from ml.imaging import codecs
from ml.imaging.formats import opened
from ml.pixels import Pixels
from tests.support.ml import hostile, photos

PHOTO = photos.photo("coffee")[:120, :160]

# EXIF 2.32, tag 0x0112: which side of the upright picture the stored row 0 and column 0 are.
STORED_SIDES = {
    1: ("top", "left"),
    2: ("top", "right"),
    3: ("bottom", "right"),
    4: ("bottom", "left"),
    5: ("left", "top"),
    6: ("right", "top"),
    7: ("right", "bottom"),
    8: ("left", "bottom"),
}


def stored_as(upright: Pixels, orientation: int) -> Pixels:
    row_0, column_0 = STORED_SIDES[orientation]
    stored = upright
    if row_0 in ("left", "right"):
        stored = stored.transpose(1, 0, 2)
    if row_0 in ("bottom", "right"):
        stored = stored[::-1]
    if column_0 in ("right", "bottom"):
        stored = stored[:, ::-1]
    return np.ascontiguousarray(stored)


def exif_of(orientation: int, byte_order: str = ">") -> bytes:
    start = b"MM\0*\0\0\0\x08" if byte_order == ">" else b"II*\0\x08\0\0\0"
    entry = struct.pack(byte_order + "HHIHH", 0x0112, 3, 1, orientation, 0)
    return b"Exif\0\0" + start + struct.pack(byte_order + "H", 1) + entry + b"\0\0\0\0"


def png_of_16_bits() -> bytes:
    out = io.BytesIO()
    Image.fromarray(PHOTO[..., 0].astype(np.uint16) * 257).save(out, "PNG")
    return out.getvalue()


def mean_difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    return float(np.abs(one.astype(np.int16) - other).mean())


class TestSniffing:
    @pytest.mark.parametrize(
        ("format", "content"),
        [
            ("jpg", photos.jpeg_bytes(PHOTO)),
            ("png", photos.png_bytes(PHOTO)),
            ("webp", photos.file_bytes(PHOTO, "WEBP")),
            ("webp", photos.file_bytes(PHOTO, "WEBP", lossless=True)),
            ("avif", photos.file_bytes(PHOTO, "AVIF")),
            ("heic", photos.heic_bytes(PHOTO)),
            ("bmp", photos.file_bytes(PHOTO, "BMP")),
            ("gif", photos.file_bytes(PHOTO, "GIF")),
            ("tiff", photos.file_bytes(PHOTO, "TIFF")),
            ("tiff", photos.tiled_tiff_bytes(PHOTO, byteorder=">")),
        ],
    )
    def test_a_format_is_detected_by_its_first_bytes(self, format: str, content: bytes) -> None:
        assert codecs.sniff(content[: codecs.SNIFF_BYTES]) == format
        assert codecs.decode(content).format == format

    @pytest.mark.parametrize(
        ("first_bytes", "format"),
        [
            (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "heic"),
            (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", "avif"),
            (b"\0\0\0\x18ftypheix\0\0\0\0mif1heic", "heic"),
            (b"\0\0\0\x14ftypavis\0\0\0\0msf1", "avif"),
        ],
    )
    def test_containers_are_distinguished_by_all_their_brands(self, first_bytes: bytes, format: str) -> None:
        assert codecs.sniff(first_bytes) == format

    @pytest.mark.parametrize(
        "first_bytes",
        [
            b"",
            b"\xff",
            b"hello, I am a .jpg",
            b"GIF88a\x01\0\x01\0",
            b"BM\x36\0\0\0",
            b"BM is how this text begins",
            b"II+\0\x08\0\0\0",  # BigTIFF
            b"II\0*\0\0\0\x08",
            b"%PDF-1.7\n",
            b"%!PS-Adobe-3.0 EPSF-3.0\n",
            b'<svg xmlns="http://www.w3.org/2000/svg"/>',
            b'<?xml version="1.0"?><svg/>',
            b"<!doctype html><title>picture</title>",
            b"PK\x03\x04\x14\0\0\0",
            b"RIFF\x24\0\0\0WAVEfmt ",
            b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom",
            b"\0\0\0\x18ftypmif1\0\0\0\0mif1miaf",
            b"\0\0\0\x0cjP  \r\n\x87\n",
            b"8BPS\0\x01",
        ],
    )
    def test_everything_else_is_refused(self, first_bytes: bytes) -> None:
        with pytest.raises(UnsupportedFormat):
            codecs.sniff(first_bytes)
        with pytest.raises(UnsupportedFormat):
            codecs.decode(first_bytes + b"\0" * 100)

    def test_brands_beyond_the_container_header_do_not_count(self) -> None:
        with pytest.raises(UnsupportedFormat):
            codecs.sniff(b"\0\0\0\x14ftypmp42\0\0\0\0isom" + b"avifavifheic")

    def test_the_api_process_sniffs_without_loading_a_decoder(self) -> None:
        check = (
            "import sys; from ml.imaging import codecs;"
            " codecs.sniff(b'\\xff\\xd8\\xff'); print(sorted(sys.modules))"
        )
        loaded = subprocess.run(
            [sys.executable, "-c", check], capture_output=True, text=True, check=True
        ).stdout
        for library in ("PIL", "pillow_heif", "cv2"):
            assert f"'{library}'" not in loaded


class TestOrientation:
    @pytest.mark.parametrize("byte_order", ["<", ">"])
    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("format", ["PNG", "WEBP"])
    def test_each_orientation_is_turned_upright_exactly(
        self, format: str, orientation: int, byte_order: str
    ) -> None:
        options = {"lossless": True} if format == "WEBP" else {}
        content = photos.file_bytes(
            stored_as(PHOTO, orientation), format, exif=exif_of(orientation, byte_order), **options
        )
        assert np.array_equal(codecs.decode(content).pixels, PHOTO)

    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("format", ["jpg", "avif", "heic"])
    def test_each_orientation_is_turned_upright_in_lossy_formats(self, format: str, orientation: int) -> None:
        stored, exif = stored_as(PHOTO, orientation), exif_of(orientation)
        content = {
            "jpg": lambda: photos.jpeg_bytes(stored, exif=exif),
            "avif": lambda: photos.file_bytes(stored, "AVIF", quality=90, exif=exif),
            "heic": lambda: photos.heic_bytes(stored, exif=exif),
        }[format]()
        upright = codecs.decode(content).pixels
        assert upright.shape == PHOTO.shape
        assert mean_difference(upright, PHOTO) < 4  # another orientation differs by 50 and more
        assert mean_difference(upright[::-1], PHOTO) > 40

    @pytest.mark.parametrize(
        "exif",
        [
            b"Exif\0\0",
            b"Exif\0\0MM\0*\xff\xff\xff\xff",
            b"Exif\0\0II*\0\x08\0\0\0\xff\xff",
            b"Exif\0\0XX*\0\x08\0\0\0\x01\0",
            exif_of(0),
            exif_of(9),
            exif_of(65535),
            exif_of(6).replace(b"\0\x03\0\0\0\x01", b"\0\x02\0\0\0\x01"),  # text instead of a number
        ],
    )
    def test_a_damaged_orientation_is_ignored(self, exif: bytes) -> None:
        content = photos.png_bytes(PHOTO)
        chunk = hostile.png_chunk(b"eXIf", exif.removeprefix(b"Exif\0\0"))
        assert np.array_equal(codecs.decode(content[:33] + chunk + content[33:]).pixels, PHOTO)


class TestSize:
    def test_the_largest_allowed_image_is_decoded_and_one_row_more_is_refused(self) -> None:
        content = photos.png_bytes(PHOTO)
        pixels = PHOTO.shape[0] * PHOTO.shape[1]
        assert codecs.decode(content, max_pixels=pixels).width == 160
        with pytest.raises(PictureTooLarge, match="160 x 120"):
            codecs.decode(content, max_pixels=pixels - 1)

    def test_sixty_megapixels_are_refused_by_the_header_alone(self) -> None:
        # Its pixels are garbage: had anything been decoded, the error would be another one.
        content = hostile.png(10_000, 6_000, idat=b"not a zlib stream")
        with pytest.raises(PictureTooLarge, match=r"60\.00 megapixels"):
            codecs.decode(content)

    @pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "AVIF"])
    def test_a_one_pixel_image_is_decoded(self, format: str) -> None:
        content = photos.file_bytes(np.full((1, 1, 3), 128, np.uint8), format)
        assert codecs.decode(content).pixels.shape == (1, 1, 3)

    @pytest.mark.parametrize(
        "content",
        [
            photos.jpeg_bytes(PHOTO, exif=exif_of(6)),
            photos.png_bytes(PHOTO),
            photos.file_bytes(PHOTO, "WEBP"),
            photos.file_bytes(PHOTO, "WEBP", lossless=True),
            photos.file_bytes(PHOTO, "WEBP", exif=exif_of(1)),
            photos.file_bytes(PHOTO, "AVIF"),
            photos.heic_bytes(PHOTO),
        ],
    )
    def test_the_size_is_read_without_decoding(self, content: bytes) -> None:
        assert codecs.probe(content) == (160, 120)

    def test_a_size_beyond_the_limit_is_refused_when_probed_too(self) -> None:
        with pytest.raises(PictureTooLarge):
            codecs.probe(hostile.png(60_000, 60_000, idat=b"x"))
        with pytest.raises(PictureTooLarge):
            codecs.probe(photos.png_bytes(PHOTO), max_pixels=160 * 120 - 1)

    def test_probing_a_damaged_file_gives_a_clean_error(self) -> None:
        for content in (
            photos.png_bytes(PHOTO)[:20],
            photos.jpeg_bytes(PHOTO)[:40],
            photos.heic_bytes(PHOTO)[:40],
        ):
            with pytest.raises(UnreadablePicture):
                codecs.probe(content)


class TestChannels:
    def test_transparency_is_kept(self) -> None:
        rgba = np.dstack([PHOTO, np.tile(np.arange(160, dtype=np.uint8), (120, 1))])
        for content in (photos.png_bytes(rgba), photos.file_bytes(rgba, "WEBP", lossless=True, exact=True)):
            picture = codecs.decode(content)
            assert picture.has_alpha
            assert np.array_equal(picture.pixels, rgba)

    def test_an_alpha_channel_that_hides_nothing_is_dropped(self) -> None:
        opaque = np.dstack([PHOTO, np.full(PHOTO.shape[:2], 255, np.uint8)])
        picture = codecs.decode(photos.png_bytes(opaque))
        assert not picture.has_alpha
        assert np.array_equal(picture.pixels, PHOTO)

    def test_avif_and_heic_keep_transparency_closely(self) -> None:
        rgba = np.dstack([PHOTO, np.tile(np.linspace(0, 255, 160).astype(np.uint8), (120, 1))])
        for content in (photos.file_bytes(rgba, "AVIF", quality=95), photos.heic_bytes(rgba, quality=95)):
            picture = codecs.decode(content)
            assert mean_difference(picture.pixels[..., 3], rgba[..., 3]) < 1
            assert mean_difference(picture.rgb[:, 80:], PHOTO[:, 80:]) < 4

    def test_grey_becomes_rgb(self) -> None:
        grey = np.ascontiguousarray(PHOTO[..., 0])
        assert np.array_equal(codecs.decode(photos.png_bytes(grey)).pixels, np.dstack([grey] * 3))

    def test_grey_with_alpha_becomes_rgba(self) -> None:
        grey_alpha = np.ascontiguousarray(PHOTO[..., :2])
        pixels = codecs.decode(photos.png_bytes(grey_alpha)).pixels
        assert np.array_equal(pixels, grey_alpha[..., [0, 0, 0, 1]])

    def test_one_bit_becomes_black_and_white(self) -> None:
        is_white = PHOTO[..., 0] > 120
        out = io.BytesIO()
        Image.fromarray(is_white).save(out, "PNG")
        assert np.array_equal(codecs.decode(out.getvalue()).pixels[..., 1], np.where(is_white, 255, 0))

    def test_a_palette_is_looked_up_with_its_transparency(self) -> None:
        indexed = Image.fromarray(PHOTO).quantize(16)
        colors = np.array(indexed.getpalette(), np.uint8).reshape(-1, 3)
        alphas = np.linspace(0, 255, 16).astype(np.uint8)
        out = io.BytesIO()
        indexed.save(out, "PNG", transparency=alphas.tobytes())
        indices = np.asarray(indexed)
        expected = np.dstack([colors[indices], alphas[indices]])
        assert np.array_equal(codecs.decode(out.getvalue()).pixels, expected)

    @pytest.mark.parametrize("depth", [1, 2, 4, 8])
    def test_one_transparent_grey_is_found_at_every_depth(self, depth: int) -> None:
        largest = (1 << depth) - 1
        values = np.arange(8) % (largest + 1)
        packed = np.packbits(((values[:, None] >> np.arange(depth - 1, -1, -1)) & 1).astype(np.uint8).ravel())
        # The unused upper bits are set: they are to be ignored.
        key = hostile.png_chunk(b"tRNS", struct.pack(">H", (1 | 0xFF00) if depth < 8 else 1))
        content = hostile.png(8, 1, key, depth=depth, colors=0, idat=zlib.compress(b"\0" + packed.tobytes()))
        pixels = codecs.decode(content).pixels
        assert np.array_equal(pixels[0, :, 0], values * (255 // largest))
        assert np.array_equal(pixels[0, :, 3], np.where(values == 1, 0, 255))

    def test_one_transparent_colour_is_found(self) -> None:
        r, g, b = (int(value) for value in PHOTO[7, 9])
        pixels = codecs.decode(photos.png_bytes(PHOTO, transparency=(r, g, b))).pixels
        assert np.array_equal(pixels[..., 3] == 0, (PHOTO[7, 9] == PHOTO).all(axis=2))
        assert np.array_equal(pixels[..., :3], PHOTO)


class TestFirstFrame:
    FRAMES = (PHOTO, np.ascontiguousarray(PHOTO[::-1]), np.ascontiguousarray(PHOTO[:, ::-1]))

    def animation(self, format: str, **options: object) -> bytes:
        first, *rest = (Image.fromarray(frame) for frame in self.FRAMES)
        out = io.BytesIO()
        first.save(out, format, save_all=True, append_images=rest, **options)
        return out.getvalue()

    def test_an_animated_png_yields_its_default_image(self) -> None:
        picture = codecs.decode(self.animation("PNG"))
        assert np.array_equal(picture.pixels, PHOTO)
        assert picture.warnings == (opened.ANIMATED,)

    def test_an_animated_webp_yields_its_first_frame(self) -> None:
        content = self.animation("WEBP", lossless=True, duration=100)
        assert content.count(b"ANMF") == 3
        picture = codecs.decode(content)
        assert np.array_equal(picture.pixels, PHOTO)
        assert picture.warnings == (opened.ANIMATED,)

    def test_a_first_frame_smaller_than_the_canvas_is_padded_with_transparency(self) -> None:
        still = photos.file_bytes(PHOTO[:20, :30], "WEBP", lossless=True)[12:]
        numbers = [4, 3, 30 - 1, 20 - 1, 100]  # x and y halved, size less one, milliseconds
        header = b"".join(number.to_bytes(3, "little") for number in numbers) + b"\0"
        frame = (b"ANMF", header + still)
        content = hostile.riff(hostile.webp_canvas(160, 120, flags=0x12), (b"ANIM", b"\0" * 6), frame)
        picture = codecs.decode(content)
        assert picture.warnings == ()
        pixels = picture.pixels
        assert np.array_equal(pixels[6:26, 8:38, :3], PHOTO[:20, :30])
        assert pixels[..., 3].sum() == 20 * 30 * 255

    def test_an_avif_sequence_yields_its_first_frame(self) -> None:
        picture = codecs.decode(self.animation("AVIF", quality=95))
        assert mean_difference(picture.pixels, PHOTO) < 4
        assert picture.warnings == (opened.ANIMATED,)

    def test_a_heic_with_a_track_of_frames_is_warned_about(self) -> None:
        # No library here writes one; a reader of the still picture skips the track.
        still = photos.heic_bytes(PHOTO)
        content = still + struct.pack(">I4s", 16, b"moov") + bytes(8)
        assert codecs.decode(still).warnings == ()
        assert codecs.decode(content).warnings == codecs.omitted(content) == (opened.ANIMATED,)
        assert np.array_equal(codecs.decode(content).pixels, codecs.decode(still).pixels)

    @pytest.mark.parametrize("format", ["PNG", "WEBP", "AVIF", "GIF", "TIFF", "MPO"])
    def test_what_is_not_used_is_known_without_decoding(self, format: str) -> None:
        content = self.animation(format)
        assert codecs.omitted(content) == codecs.decode(content).warnings
        assert bool(codecs.omitted(content)) is (format != "MPO")
        assert codecs.omitted(photos.file_bytes(PHOTO, "JPEG" if format == "MPO" else format)) == ()

    def test_an_mpo_yields_its_first_image_as_a_jpg(self) -> None:
        picture = codecs.decode(self.animation("MPO", quality=95))
        assert picture.format == "jpg"
        assert mean_difference(picture.pixels, PHOTO) < 4


def test_insufficient_memory_is_distinguished_from_damage() -> None:
    program = (
        "import resource, sys; from ml.imaging import codecs; from ml.errors import OutOfMemory\n"
        "content = sys.stdin.buffer.read(); codecs.decode(content)\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 28, 1 << 28))\n"
        "try: codecs.decode(content)\n"
        "except OutOfMemory as error: print(error)"
    )
    content = photos.png_bytes(np.zeros((6000, 6000, 3), np.uint8))
    answer = subprocess.run([sys.executable, "-c", program], input=content, capture_output=True)
    assert b"not enough memory" in answer.stdout, answer.stderr


class TestDamage:
    FILES: ClassVar = {
        "jpg": photos.jpeg_bytes(PHOTO),
        "jpg progressive": photos.jpeg_bytes(PHOTO, progressive=True),
        "png": photos.png_bytes(PHOTO),
        "webp": photos.file_bytes(PHOTO, "WEBP"),
        "webp lossless": photos.file_bytes(PHOTO, "WEBP", lossless=True),
        "avif": photos.file_bytes(PHOTO, "AVIF"),
        "heic": photos.heic_bytes(PHOTO),
        "bmp": photos.file_bytes(PHOTO, "BMP"),
        "gif": photos.file_bytes(PHOTO, "GIF"),
        "tiff": photos.file_bytes(PHOTO, "TIFF"),
        "tiff lzw": photos.tiff_bytes(PHOTO, compression="tiff_lzw", predictor=2),
        "tiff tiles": photos.tiled_tiff_bytes(PHOTO),
    }

    @pytest.mark.parametrize("kind", FILES)
    def test_a_file_truncated_anywhere_is_refused(self, kind: str) -> None:
        content = self.FILES[kind]
        for kept in (0.1, 0.3, 0.5, 0.7, 0.9, 0.99):
            with pytest.raises(UnreadablePicture):
                codecs.decode(content[: max(codecs.SNIFF_BYTES, int(len(content) * kept))])

    UNENDED: ClassVar = {
        "jpg": (photos.jpeg_bytes(PHOTO), 2),
        "jpg, one byte": (photos.jpeg_bytes(PHOTO), 1),
        "jpg grey": (photos.jpeg_bytes(PHOTO[..., 0]), 2),
        "jpg progressive": (photos.jpeg_bytes(PHOTO, progressive=True), 2),
        "jpg of odd sides": (photos.jpeg_bytes(PHOTO[:113, :151], subsampling="4:2:0"), 2),
        "jpg with restarts": (photos.jpeg_bytes(PHOTO, restart_marker_rows=1), 2),
        "png": (photos.png_bytes(PHOTO), 12),
        "png, its checksum": (photos.png_bytes(PHOTO), 4),
        "png of 16 bits": (png_of_16_bits(), 12),
    }

    @pytest.mark.parametrize("kind", UNENDED)
    def test_a_file_that_lacks_only_its_end_is_read_with_a_warning(self, kind: str) -> None:
        content, missing = self.UNENDED[kind]
        whole, unended = codecs.decode(content), codecs.decode(content[:-missing])
        assert np.array_equal(unended.pixels, whole.pixels)
        assert (len(whole.warnings), len(unended.warnings)) == (0, 1)
        assert "end" in unended.warnings[0]

    @pytest.mark.parametrize("kind", UNENDED)
    def test_truncation_inside_the_rows_is_always_refused(self, kind: str) -> None:
        content, _ = self.UNENDED[kind]
        shortest = 14 if kind.startswith("png") else 8
        for missing in (*range(shortest, 60, 3), 100, 300, 1000):
            with pytest.raises(UnreadablePicture):
                codecs.decode(content[:-missing])

    def test_a_progressive_image_without_its_last_scans_is_refused(self) -> None:
        content = self.FILES["jpg progressive"]
        last = content.rindex(b"\xff\xda")
        with pytest.raises(UnreadablePicture):
            codecs.decode(content[:last])

    def test_a_flipped_bit_in_a_png_is_detected(self) -> None:
        content = bytearray(self.FILES["png"])
        content[len(content) // 2] ^= 4
        with pytest.raises(UnreadablePicture, match="checksum"):
            codecs.decode(bytes(content))

    def test_the_message_names_no_library(self) -> None:
        with pytest.raises(UnreadablePicture) as refusal:
            codecs.decode(self.FILES["avif"][:400])
        assert str(refusal.value) == "The image cannot be read: it is damaged or cut short."


class TestKindsOfJpeg:
    """Frames whose header says that they are of a kind that libjpeg does not read."""

    @staticmethod
    def with_frame(content: bytes, marker: int, bits: int) -> bytes:
        at = max(content.find(b"\xff\xc0\0\x11"), content.find(b"\xff\xc2\0\x11"))
        return (
            content[: at + 1] + bytes([marker]) + content[at + 2 : at + 4] + bytes([bits]) + content[at + 5 :]
        )

    @pytest.mark.parametrize(
        ("marker", "bits", "name"),
        [
            (0xC0, 12, "12-bit JPEG"),
            (0xC1, 12, "12-bit JPEG"),
            (0xC2, 12, "12-bit JPEG"),
            (0xC9, 12, "12-bit JPEG"),
            (0xC3, 8, "lossless JPEG"),
            (0xC3, 16, "lossless JPEG"),
            (0xCB, 8, "lossless JPEG"),
            (0xC5, 8, "hierarchical JPEG"),
            (0xCE, 8, "hierarchical JPEG"),
        ],
    )
    def test_it_is_named(self, marker: int, bits: int, name: str) -> None:
        content = self.with_frame(photos.jpeg_bytes(PHOTO), marker, bits)
        for read in (codecs.decode, codecs.strip_metadata):
            with pytest.raises(UnreadablePicture, match=f"it is a {name}, which is not supported"):
                read(content)

    def test_extended_frames_of_8_bits_are_read(self) -> None:
        content = photos.jpeg_bytes(PHOTO)
        extended = self.with_frame(content, 0xC1, 8)
        assert extended != content
        assert np.array_equal(codecs.decode(extended).pixels, codecs.decode(content).pixels)
