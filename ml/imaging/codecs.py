"""Decodes and encodes pictures.

`sniff` may run anywhere: it checks magic bytes only and imports no imaging library. Everything else runs in
worker processes, because decoders are native code that a malicious file can crash or exhaust.
"""

import contextlib
import io
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ml.errors import (
    BadParameter,
    MlError,
    OutOfMemory,
    PictureTooLarge,
    UnreadablePicture,
    UnsupportedFormat,
)
from ml.pixels import Mask, Picture, Pixels

if TYPE_CHECKING:
    from PIL import Image

    from ml.imaging.formats.opened import Opened

MAX_INPUT_PIXELS = 50_000_000
MAX_OUTPUT_PIXELS = 64_000_000
#: How many of a file's first bytes `sniff` needs.
SNIFF_BYTES = 64

#: The formats of inputs, for messages.
INPUT_FORMATS_TITLE = "JPEG, PNG, WebP, AVIF, HEIC, BMP, GIF or TIFF"

_AVIF_BRANDS = {b"avif", b"avis"}
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis"}
_GIF_VERSIONS = {b"GIF87a", b"GIF89a"}
_TIFF_MARKS = {b"II*\0", b"MM\0*"}
_BMP_HEADER_BYTES = {12, 40, 52, 56, 64, 108, 124}
#: What `auto` chooses for a source whose own format cannot be written; transparent results are png.
_AUTO_FORMATS = {"heic": "jpg", "bmp": "jpg", "tiff": "jpg", "gif": "png"}
# Limits of libjpeg and libwebp, and of AVIF readers such as browsers.
_MAX_SIDE_PIXELS = {"jpg": 65_500, "webp": 16_383, "avif": 32_768}
# libaom needs 36 bytes per pixel to encode, 24 with subsampled colour, and 0.2 s per megapixel at its fastest
# setting: 64 megapixels took 3.7 GB and a minute. With these limits a result takes about 5 CPU seconds and
# less than 1 GB.
_MAX_PIXELS = {"avif": 25_000_000}
_FULL_COLOR_AVIF_PIXELS = 16_000_000
# Above these sizes slow encoder settings cost seconds and save little.
_BIG_PNG_PIXELS = 250_000
_BIG_WEBP_PIXELS = 4_000_000
_BIG_AVIF_PIXELS = 4_000_000
_AVIF_SPEED, _BIG_AVIF_SPEED = 8, 10
_AVIF_THREADS = 4
_MAX_JFIF_DENSITY = 65_535


def sniff(first_bytes: bytes) -> str:
    """The format by its magic bytes, as in `Picture.format`. Raises `UnsupportedFormat`.

    `first_bytes` are the first `SNIFF_BYTES` of the file, or all of it if it is shorter.
    """
    if first_bytes.startswith(b"\xff\xd8\xff"):
        return "jpg"
    if first_bytes.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if first_bytes[:4] == b"RIFF" and first_bytes[8:12] == b"WEBP":
        return "webp"
    if first_bytes[4:8] == b"ftyp":
        end = min(int.from_bytes(first_bytes[:4], "big"), SNIFF_BYTES)
        brands = {first_bytes[8:12], *(first_bytes[at : at + 4] for at in range(16, end, 4))}
        if brands & _AVIF_BRANDS:
            return "avif"
        if brands & _HEIC_BRANDS:
            return "heic"
    if first_bytes[:6] in _GIF_VERSIONS:
        return "gif"
    if first_bytes[:4] in _TIFF_MARKS:
        return "tiff"
    # Two letters alone could begin any text.
    if first_bytes[:2] == b"BM" and int.from_bytes(first_bytes[14:18], "little") in _BMP_HEADER_BYTES:
        return "bmp"
    raise UnsupportedFormat(f"Not a {INPUT_FORMATS_TITLE} file.")


def probe(data: bytes, max_pixels: int = MAX_INPUT_PIXELS) -> tuple[int, int]:
    """Width and height in pixels as stored, before EXIF's rotation, from the header alone.

    Raises `UnsupportedFormat`, `UnreadablePicture`, `PictureTooLarge` or `OutOfMemory`.
    """
    source_format = sniff(data[:SNIFF_BYTES])
    with _translate_errors():
        from ml.imaging.formats.opened import check_size

        width, height = _format_module(source_format).size(data)
        check_size(width, height, max_pixels)
        return width, height


def upright_size(data: bytes, max_pixels: int = MAX_INPUT_PIXELS) -> tuple[int, int]:
    """Width and height in pixels of the result of `decode`, from the header alone.

    Raises as `probe` does.
    """
    width, height = probe(data, max_pixels)
    with _translate_errors():
        orientation = _format_module(sniff(data[:SNIFF_BYTES])).orientation(data)
    return (height, width) if orientation >= 5 else (width, height)


def omitted(data: bytes) -> tuple[str, ...]:
    """The warnings of `decode` about frames or pages that are not used, without decoding the file.

    Raises `UnsupportedFormat`, `UnreadablePicture`.
    """
    with _translate_errors():
        return _format_module(sniff(data[:SNIFF_BYTES])).omitted(data)


def strip_metadata(data: bytes, max_pixels: int = MAX_INPUT_PIXELS) -> bytes | None:
    """The same file with only the picture and its display properties, without decoding it.

    Removes EXIF (except the orientation), XMP, comments, thumbnails, further pictures and trailing bytes; the
    compressed pixels are unchanged. None for an AVIF or HEIC of unsupported layout. Run it in a thread: it
    copies the file and searches JPEGs. Raises `UnsupportedFormat`, `UnreadablePicture`, `PictureTooLarge`.
    """
    source_format = sniff(data[:SNIFF_BYTES])
    with _translate_errors():
        return _format_module(source_format).strip_metadata(data, max_pixels)


def decode(data: bytes, max_pixels: int = MAX_INPUT_PIXELS) -> Picture:
    """The picture in `data`: upright, sRGB, RGBA only if some pixel is not opaque.

    Of animations and sequences the first frame, of documents the first page. Raises `UnsupportedFormat`,
    `PictureTooLarge` (from the header alone, before pixels are decoded), `UnreadablePicture` (damaged or cut
    short) or `OutOfMemory`.
    """
    source_format = sniff(data[:SNIFF_BYTES])
    with _translate_errors():
        return _decode(data, source_format, max_pixels)


class _Format(Protocol):
    """The interface of a module in `ml.imaging.formats`; sizes are as stored."""

    def size(self, data: bytes, /) -> tuple[int, int]: ...

    def orientation(self, data: bytes, /) -> int: ...

    def omitted(self, data: bytes, /) -> tuple[str, ...]: ...

    def strip_metadata(self, data: bytes, max_pixels: int, /) -> bytes | None: ...

    def read(self, data: bytes, max_pixels: int, /) -> "Opened": ...


def _format_module(source_format: str) -> _Format:
    from ml.imaging.formats import avif, bmp, gif, heic, jpeg, png, tiff, webp

    modules: dict[str, _Format] = {
        "jpg": jpeg,
        "png": png,
        "webp": webp,
        "avif": avif,
        "heic": heic,
        "bmp": bmp,
        "gif": gif,
        "tiff": tiff,
    }
    return modules[source_format]


@contextlib.contextmanager
def _translate_errors() -> Iterator[None]:
    """Translate the arbitrary exceptions of decoders for damaged files, and silence their warnings."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except MlError:
            raise
        except MemoryError:
            raise OutOfMemory("There is not enough memory to decode the image.") from None
        except Image.DecompressionBombError as error:
            limit = f"{MAX_INPUT_PIXELS / 1e6:g} megapixels"
            raise PictureTooLarge(f"The image has more pixels than the {limit} allowed.") from error
        except Exception as error:
            raise UnreadablePicture("The image cannot be read: it is damaged or cut short.") from error


def _decode(data: bytes, source_format: str, max_pixels: int) -> Picture:
    from ml.imaging import srgb
    from ml.imaging.formats import camera_metadata, exif
    from ml.imaging.formats.opened import as_array

    opened = _format_module(source_format).read(data, max_pixels)
    orientation, warnings = opened.orientation, opened.warnings
    jpeg_tables, exif_block = opened.jpeg_tables, opened.exif
    dpi = opened.dpi or camera_metadata.density(exif_block)
    image = srgb.to_srgb(opened.image, opened.icc_profile)
    del opened  # releases its picture
    pixels = as_array(exif.apply_orientation(image, orientation))
    if dpi is not None and orientation >= 5:
        dpi = (dpi[1], dpi[0])
    return Picture(pixels, source_format, warnings, jpeg_tables, dpi, exif_block)


def check_output_size(width: int, height: int) -> None:
    """Raise `PictureTooLarge`. Tools that enlarge call it before allocating memory."""
    from ml.imaging.formats.opened import MAX_SIDE_PIXELS, megapixels

    if max(width, height) > MAX_SIDE_PIXELS:
        raise PictureTooLarge(
            f"The result would have {width} x {height} pixels;"
            f" at most {MAX_SIDE_PIXELS} pixels a side are allowed."
        )
    if width * height > MAX_OUTPUT_PIXELS:
        raise PictureTooLarge(
            f"The result would have {width} x {height} pixels ({megapixels(width, height)} megapixels);"
            f" at most {MAX_OUTPUT_PIXELS / 1e6:g} megapixels are allowed."
        )


def check_format_holds(format: str, width: int, height: int) -> None:
    """Raise `BadParameter` for a size that this format cannot store; called before any work."""
    longest, most = _MAX_SIDE_PIXELS.get(format), _MAX_PIXELS.get(format)
    if longest is not None and max(height, width) > longest:
        raise BadParameter(
            "format", f"{format} supports at most {longest} pixels a side, not {width} x {height}; use png"
        )
    if most is not None and width * height > most:
        raise BadParameter(
            "format",
            f"{format} is supported up to {most / 1e6:g} megapixels, not {width} x {height}; use jpg or png",
        )


def resolve_format(
    wanted: str, source_format: str, has_alpha: bool, is_mask: bool, size: tuple[int, int]
) -> str:
    """The format of an answer of `size`, (width, height) in pixels.

    auto: png for transparency and masks, else the source's own; HEIC, BMP and TIFF become jpg, GIF png. It is
    png too where that format cannot hold the size.
    """
    if wanted != "auto":
        return wanted
    if has_alpha or is_mask:
        return "png"
    own = _AUTO_FORMATS.get(source_format, source_format)
    try:
        check_format_holds(own, *size)
    except BadParameter:
        return "png"
    return own


def encode(
    pixels: Pixels | Mask,
    format: str,
    quality: int = 90,
    dpi: tuple[float, float] | None = None,
    exif_block: bytes | None = None,
) -> bytes:
    """`pixels` (H x W x 3|4, or H x W for a mask) as png, jpg, webp or avif.

    The only metadata is that colours are sRGB, `exif_block` (a TIFF block) and, in png and jpg, the density
    `dpi` in pixels an inch.

    Colour under fully transparent pixels is zeroed, so that removed parts cannot be recovered. JPEG does not
    support transparency: the picture is composited on white. Raises `PictureTooLarge`, `BadParameter` for a
    side that the format cannot hold.
    """
    from PIL import Image

    from ml.imaging.formats import display_profile

    height, width = pixels.shape[:2]
    check_output_size(width, height)
    check_format_holds(format, width, height)
    if format == "png":
        from ml.imaging.formats import png

        if height * width <= _BIG_PNG_PIXELS:
            content = _small_png(_without_hidden_colors(pixels))
        else:
            content = _big_mask(pixels) if pixels.ndim == 2 else png.encode_fast(pixels)
        return png.add_chunks(content, png.display_chunks(dpi, exif_block))
    pixels = on_white(pixels) if format == "jpg" else _without_hidden_colors(pixels)
    image = Image.fromarray(np.ascontiguousarray(pixels))
    out = io.BytesIO()
    # At high quality without chroma subsampling, which visibly blurs red edges.
    subsampling = "4:4:4" if quality >= 90 else "4:2:0"
    # PNG and AVIF state that they are sRGB without a profile.
    tag = {} if pixels.ndim == 2 else {"icc_profile": display_profile.srgb()}
    if exif_block is not None:
        tag["exif"] = b"Exif\0\0" + exif_block
    if format == "jpg":
        density = {} if dpi is None else {"dpi": _jfif_density(dpi)}
        image.save(out, "JPEG", quality=quality, subsampling=subsampling, **tag, **density)
    elif format == "webp":
        method = 1 if height * width > _BIG_WEBP_PIXELS else 4
        image.save(out, "WEBP", quality=quality, method=method, **tag)
    elif format == "avif":
        _save_avif(image, out, quality, subsampling, exif_block)
    else:
        raise ValueError(f"no encoder for {format!r}")
    return out.getvalue()


def _save_avif(
    image: "Image.Image", out: io.BytesIO, quality: int, subsampling: str, exif_block: bytes | None
) -> None:
    count = image.width * image.height
    if image.mode == "L":  # greyscale
        subsampling = "4:0:0"
    elif count > _FULL_COLOR_AVIF_PIXELS:
        subsampling = "4:2:0"
    speed = _BIG_AVIF_SPEED if count > _BIG_AVIF_PIXELS else _AVIF_SPEED
    settings = {"speed": speed, "max_threads": _AVIF_THREADS, "autotiling": True}
    tag = {} if exif_block is None else {"exif": exif_block}
    image.save(out, "AVIF", quality=quality, subsampling=subsampling, **settings, **tag)


def _jfif_density(dpi: tuple[float, float]) -> tuple[int, int]:
    across, down = (min(_MAX_JFIF_DENSITY, max(1, round(value))) for value in dpi)
    return across, down


def _small_png(pixels: Pixels | Mask) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(out, "PNG", compress_level=6)
    return out.getvalue()


def _big_mask(mask: Mask) -> bytes:
    """A large greyscale PNG with one row filter (up) and run-length compression only.

    Masks take a third more with ISA-L's deflate, which encodes colours.
    """
    import cv2

    settings = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP]
    settings += [cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
    written, content = cv2.imencode(".png", np.ascontiguousarray(mask), settings)
    if not written:
        raise ValueError("the PNG encoder failed")
    return bytes(content)


def _without_hidden_colors(pixels: Pixels | Mask) -> Pixels | Mask:
    from ml.imaging import transparency

    has_alpha = pixels.ndim == 3 and pixels.shape[2] == 4
    return transparency.without_hidden_colors(pixels) if has_alpha else pixels


def on_white(pixels: Pixels | Mask) -> Pixels | Mask:
    """A transparent picture (H x W x 4) on white, H x W x 3; any other as it is."""
    from PIL import Image

    if pixels.ndim == 2 or pixels.shape[2] == 3:
        return pixels
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    white = Image.new("RGB", picture.size, (255, 255, 255))
    white.paste(picture, mask=picture.getchannel("A"))
    return np.asarray(white)
