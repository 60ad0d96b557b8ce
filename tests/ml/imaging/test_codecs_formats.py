"""BMP, GIF and TIFF: what each kind of file decodes to, and which kinds are refused."""

import io
import itertools
import struct
import zlib
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from ml.errors import UnreadablePicture
from ml.imaging import codecs
from ml.imaging.formats import camera_metadata, opened, tiff, tiff_directory
from ml.pixels import Pixels
from tests.support.ml import damage, photos, profiles

PHOTO = photos.photo("coffee")[100:196, 200:329]  # of odd width
GREY = np.ascontiguousarray(PHOTO[..., 0])
RAMP = np.linspace(0, 255, GREY.size).reshape(GREY.shape).astype(np.uint8)
SIXTEEN = np.arange(1 << 16, dtype=np.uint16).reshape(256, 256)


def saved(image: Image.Image, format: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def as_rgb(image: Image.Image) -> Pixels:
    return np.asarray(image.convert("RGB"))


class TestBmp:
    @pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
    def test_each_depth_keeps_its_pixels(self, mode: str) -> None:
        image = Image.fromarray(PHOTO).convert(mode)
        picture = codecs.decode(saved(image, "BMP"))
        assert np.array_equal(picture.pixels, as_rgb(image))
        assert codecs.upright_size(saved(image, "BMP")) == image.size

    def test_rows_from_top_to_bottom(self) -> None:
        content = bytearray(saved(Image.fromarray(PHOTO), "BMP"))
        struct.pack_into("<i", content, 22, -96)
        assert np.array_equal(codecs.decode(bytes(content)).pixels, PHOTO[::-1])

    def test_alpha_counts_only_with_a_mask(self) -> None:
        pixels = np.dstack([PHOTO[..., ::-1], RAMP])[::-1].tobytes()
        size = struct.pack("<iiHH", 129, 96, 1, 32)
        plain = struct.pack("<I", 40) + size + bytes(24)
        masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
        masked = struct.pack("<I", 56) + size + struct.pack("<I", 3) + bytes(20) + masks
        for header, has_alpha in ((plain, False), (masked, True)):
            start = struct.pack("<2sIHHI", b"BM", 0, 0, 0, 14 + len(header))
            picture = codecs.decode(start + header + pixels)
            assert picture.has_alpha is has_alpha
            assert np.array_equal(picture.rgb, PHOTO)
        assert np.array_equal(picture.pixels[..., 3], RAMP)

    def test_density_is_read(self) -> None:
        dpi = codecs.decode(saved(Image.fromarray(PHOTO), "BMP", dpi=(300, 300))).dpi
        assert dpi == pytest.approx((300, 300), abs=0.1)


class TestGif:
    def test_a_palette_keeps_its_colours(self) -> None:
        image = Image.fromarray(PHOTO).quantize(64)
        picture = codecs.decode(saved(image, "GIF"))
        assert np.array_equal(picture.pixels, as_rgb(image))
        assert picture.warnings == ()

    @pytest.mark.parametrize("interlace", [0, 1])
    def test_a_transparent_colour_is_transparent(self, interlace: int) -> None:
        image = Image.fromarray(PHOTO).quantize(64)
        content = saved(image, "GIF", transparency=3, interlace=interlace)
        for each in (content, codecs.strip_metadata(content)):
            assert each is not None
            picture = codecs.decode(each)
            assert np.array_equal(picture.pixels[..., 3] == 0, np.asarray(image) == 3)

    def test_of_an_animation_the_first_frame_is_used_with_a_warning(self) -> None:
        frames = [Image.fromarray(PHOTO).quantize(64), Image.fromarray(255 - PHOTO).quantize(64)]
        content = saved(frames[0], "GIF", save_all=True, append_images=frames[1:], loop=0)
        picture = codecs.decode(content)
        assert np.array_equal(picture.pixels, as_rgb(frames[0]))
        assert picture.warnings == (opened.ANIMATED,)
        still = codecs.strip_metadata(content)
        assert still is not None
        assert len(still) < len(content) * 0.7
        assert codecs.decode(still).warnings == ()

    def test_a_frame_smaller_than_the_canvas_is_placed_on_transparency(self) -> None:
        content = bytearray(saved(Image.fromarray(GREY), "GIF"))
        struct.pack_into("<HH", content, 6, 140, 100)  # the canvas
        struct.pack_into("<HH", content, content.index(b",", 13 + 768) + 1, 11, 4)  # the frame's place
        picture = codecs.decode(bytes(content))
        assert picture.pixels.shape == (100, 140, 4)
        assert np.array_equal(picture.pixels[4:, 11:, 0], GREY)
        assert picture.pixels[4:, 11:, 3].min() == 255
        assert picture.pixels[:4, :, 3].max() == picture.pixels[:, :11, 3].max() == 0

    def test_a_missing_end_does_not_matter(self) -> None:
        content = saved(Image.fromarray(GREY), "GIF")
        assert np.array_equal(codecs.decode(content[:-1]).pixels, codecs.decode(content).pixels)


def tifffile_bytes(pixels: NDArray[np.generic], **options: Any) -> bytes:
    out = io.BytesIO()
    tifffile.imwrite(out, pixels, **{"metadata": None, **options})
    return out.getvalue()


ROWS: list[dict[str, Any]] = [{"tile": (32, 48)}, {"rowsperstrip": 7}, {}]
LAYOUTS = [
    {"byteorder": order, "compression": compression, "planarconfig": planes, **rows}
    for order, compression, planes, rows in itertools.product(
        "<>",
        (None, "zlib"),
        ("contig", "separate"),
        ROWS,
    )
]


class TestTiff:
    @pytest.mark.parametrize("options", LAYOUTS, ids=str)
    @pytest.mark.parametrize("bits", [8, 16])
    def test_each_layout_keeps_its_pixels(self, options: dict[str, Any], bits: int) -> None:
        pixels: NDArray[np.generic] = PHOTO if bits == 8 else PHOTO.astype(np.uint16) * 257
        if options["planarconfig"] == "separate":
            pixels = np.ascontiguousarray(np.moveaxis(pixels, 2, 0))
        content = tifffile_bytes(pixels, photometric="rgb", **options)
        stripped = codecs.strip_metadata(content)
        assert stripped is not None
        for each in (content, stripped):
            assert np.array_equal(codecs.decode(each).pixels, PHOTO)
            assert codecs.upright_size(each) == (129, 96)

    @pytest.mark.parametrize("mode", ["L", "P", "RGB", "RGBA", "CMYK"])
    @pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_deflate", "packbits"])
    @pytest.mark.parametrize("predictor", [1, 2])
    def test_each_compression_keeps_its_pixels(
        self, mode: str, compression: str | None, predictor: int
    ) -> None:
        image = Image.fromarray(np.dstack([PHOTO, RAMP]) if mode == "RGBA" else PHOTO).convert(mode)
        picture = codecs.decode(saved(image, "TIFF", compression=compression, tiffinfo={317: predictor}))
        expected = np.asarray(image) if mode == "RGBA" else as_rgb(image)
        assert np.array_equal(picture.pixels, expected)

    @pytest.mark.parametrize("bits", [8, 16])
    @pytest.mark.parametrize("order", ["<", ">"])
    def test_prediction_starts_again_in_each_tile(self, bits: int, order: str) -> None:
        samples = PHOTO[:64, :96].astype(f"{order}u{bits // 8}")
        if bits == 16:
            samples *= 257
        tiles = []
        for top, left in itertools.product((0, 32), (0, 48)):
            tile = samples[top : top + 32, left : left + 48]
            first = np.zeros_like(tile[:, :1])
            tiles.append(np.diff(tile, axis=1, prepend=first).astype(samples.dtype))
        values = {
            tiff_directory.WIDTH: (96,), tiff_directory.HEIGHT: (64,), tiff_directory.BITS: (bits,) * 3,
            tiff_directory.COMPRESSION: (8,), tiff_directory.PHOTOMETRIC: (2,), tiff_directory.SAMPLES: (3,),
            tiff_directory.PREDICTOR: (2,),
            tiff_directory.TILE_WIDTH: (48,), tiff_directory.TILE_HEIGHT: (32,),
        }  # fmt: skip
        content = tiff_directory.write(order, values, None, [zlib.compress(tile.tobytes()) for tile in tiles])
        assert np.array_equal(codecs.decode(content).pixels, PHOTO[:64, :96])

    def test_16_bits_are_rounded(self) -> None:
        picture = codecs.decode(tifffile_bytes(SIXTEEN, photometric="minisblack"))
        assert np.array_equal(picture.pixels[..., 0], np.rint(SIXTEEN / 257))

    def test_white_may_be_zero(self) -> None:
        picture = codecs.decode(tifffile_bytes(GREY, photometric="miniswhite"))
        assert np.array_equal(picture.pixels[..., 0], 255 - GREY)

    @pytest.mark.parametrize(
        ("kind", "has_alpha"), [("unassalpha", True), ("assocalpha", True), ("unspecified", False)]
    )
    def test_an_extra_sample_is_what_the_file_says(self, kind: str, has_alpha: bool) -> None:
        alpha = np.maximum(RAMP, 64)
        color = PHOTO if kind != "assocalpha" else np.rint(PHOTO * (alpha / 255)[..., None]).astype(np.uint8)
        content = tifffile_bytes(np.dstack([color, alpha]), photometric="rgb", extrasamples=[kind])
        picture = codecs.decode(content)
        assert picture.has_alpha is has_alpha
        assert np.abs(picture.rgb.astype(int) - PHOTO).max() <= (2 if kind == "assocalpha" else 0)
        if has_alpha:
            assert np.array_equal(picture.pixels[..., 3], alpha)

    def test_of_several_pages_the_first_is_used_with_a_warning(self) -> None:
        pages = [Image.fromarray(PHOTO), Image.fromarray(255 - PHOTO)]
        content = saved(pages[0], "TIFF", save_all=True, append_images=pages[1:])
        picture = codecs.decode(content)
        assert np.array_equal(picture.pixels, PHOTO)
        assert picture.warnings == (tiff.MORE_PAGES,)
        assert codecs.decode(saved(pages[0], "TIFF")).warnings == ()

    def test_a_preview_behind_the_page_is_not_warned_about(self) -> None:
        out = io.BytesIO()
        with tifffile.TiffWriter(out) as writer:
            writer.write(PHOTO, photometric="rgb", metadata=None)
            writer.write(PHOTO[::2, ::2].copy(), photometric="rgb", subfiletype=1, metadata=None)
        assert codecs.decode(out.getvalue()).warnings == ()

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_it_is_turned_upright(self, orientation: int) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        content = saved(Image.fromarray(PHOTO), "TIFF", exif=exif)
        png = codecs.decode(saved(Image.fromarray(PHOTO), "PNG", exif=exif))
        assert np.array_equal(codecs.decode(content).pixels, png.pixels)
        assert codecs.upright_size(content) == (png.width, png.height)

    def test_colours_are_converted(self) -> None:
        swapped = profiles.rgb_profile(profiles.SRGB[:, ::-1], gamma=None)
        content = saved(Image.fromarray(PHOTO), "TIFF", icc_profile=swapped)
        png = codecs.decode(saved(Image.fromarray(PHOTO), "PNG", icc_profile=swapped))
        for each in (content, codecs.strip_metadata(content)):
            assert each is not None
            assert np.array_equal(codecs.decode(each).pixels, png.pixels)
        assert not np.array_equal(png.pixels, PHOTO)

    def test_what_says_who_made_it_is_found(self) -> None:
        exif = Image.Exif()
        exif[0x013B] = "An artist"
        picture = codecs.decode(saved(Image.fromarray(PHOTO), "TIFF", exif=exif))
        (artist,) = camera_metadata.read(picture.exif)
        assert artist.value == b"An artist\0"

    def test_the_density_is_read(self) -> None:
        picture = codecs.decode(saved(Image.fromarray(PHOTO), "TIFF", dpi=(300, 200)))
        assert picture.dpi == (300, 200)

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (saved(Image.fromarray(PHOTO), "TIFF", compression="jpeg"), "compression"),
            (saved(Image.fromarray(GREY).convert("1"), "TIFF", compression="group4"), "compression"),
            (saved(Image.fromarray(GREY).convert("1"), "TIFF"), "8 or 16 bits"),
            (tifffile_bytes(GREY.astype(np.float32), photometric="minisblack"), "8 or 16 bits"),
            (tifffile_bytes(GREY.astype(np.int16), photometric="minisblack"), "not grey"),
            (saved(Image.fromarray(PHOTO).convert("LAB"), "TIFF"), "not grey"),
            (tifffile_bytes(PHOTO, photometric="rgb", subfiletype=1), "raw file"),
            (tifffile_bytes(PHOTO, photometric="rgb")[:-100], "cut short"),
        ],
    )
    def test_other_kinds_are_refused_with_the_reason(self, content: bytes, reason: str) -> None:
        with pytest.raises(UnreadablePicture, match=reason):
            codecs.decode(content)
        with pytest.raises(UnreadablePicture, match=reason):
            codecs.strip_metadata(content)


@pytest.mark.parametrize(
    ("source", "has_alpha", "format"),
    [
        ("bmp", False, "jpg"),
        ("tiff", False, "jpg"),
        ("heic", False, "jpg"),
        ("gif", False, "png"),
        ("tiff", True, "png"),
    ],
)
def test_auto_is_a_format_that_browsers_show(source: str, has_alpha: bool, format: str) -> None:
    assert codecs.resolve_format("auto", source, has_alpha, False, (10, 10)) == format


@pytest.mark.parametrize(
    "kind", [kind for kind in damage.good_files() if kind.split()[0] in ("bmp", "gif", "tiff")]
)
def test_stripping_a_damaged_file_is_as_clean_as_decoding_it(kind: str) -> None:
    kinds = list(damage.good_files())
    for number in range(kinds.index(kind), 60 * len(kinds), len(kinds)):
        _, content = damage.damaged_file(number)
        try:
            stripped = codecs.strip_metadata(content)
        except Exception as error:
            assert type(error).__module__ == "ml.errors", error  # noqa: PT017
            continue
        assert stripped is not None
        assert codecs.strip_metadata(stripped) == stripped
