"""TIFF, the first page: 8 or 16 bits a sample, uncompressed or with LZW, Deflate or PackBits.

The strips or tiles are written into small files of plain greyscale, which Pillow decompresses some at a time;
what the bytes mean is decided here. So the decoder never sees anything else that a file has, and memory holds
little more than the page at 8 bits a sample.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ml.imaging.formats import icc, tiff_directory
from ml.imaging.formats.opened import Opened, check_size, damaged_picture
from ml.imaging.formats.tiff_directory import (
    BITS,
    COLOR_MAP,
    COMPRESSION,
    DENSITY_ACROSS,
    DENSITY_DOWN,
    DENSITY_UNIT,
    EXTRA_SAMPLES,
    FILL_ORDER,
    HEIGHT,
    INK_SET,
    ORIENTATION,
    PHOTOMETRIC,
    PLANES,
    PREDICTOR,
    ROWS_PER_STRIP,
    SAMPLE_FORMAT,
    SAMPLES,
    STRIP_COUNTS,
    STRIP_OFFSETS,
    TILE_COUNTS,
    TILE_HEIGHT,
    TILE_OFFSETS,
    TILE_WIDTH,
    WIDTH,
    Directory,
)
from ml.pixels import Pixels

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK = 0, 1, 2, 3, 5
#: Samples of a pixel's colour, without alpha.
_COLORS = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _PALETTE: 1, _CMYK: 4}
_COMPRESSIONS = {1, 5, 8, 32773, 32946}  # none, LZW, Deflate, PackBits, Deflate's older number
_PREDICTING = {5, 8, 32946}  # the others ignore the tag
_SAMPLES_MAX = 5  # CMYK and alpha
_PREMULTIPLIED = 1
_ALPHAS = (_PREMULTIPLIED, 2)
_BLOCK_BYTES = 8 << 20
_TILE_BYTES_MAX = 64 << 20
_INCHES = {2: 1.0, 3: 2.54}
# What a stored upload keeps.
_DISPLAY = (BITS, COMPRESSION, PHOTOMETRIC, ORIENTATION, PREDICTOR, COLOR_MAP, INK_SET, EXTRA_SAMPLES)
_DENSITY = (DENSITY_ACROSS, DENSITY_DOWN)
MORE_PAGES = "The file has several pages: only the first one is used."


@dataclass(frozen=True)
class _Page:
    """The first page. Its segments are the tiles, or strips of the whole width, row by row."""

    directory: Directory
    width: int
    height: int
    bits: int
    samples: int
    photometric: int
    is_planar: bool  # each sample has segments of its own, one sample after the other
    is_tiled: bool
    segment_width: int
    segment_height: int
    segments: list[bytes]

    @property
    def across(self) -> int:
        return -(-self.width // self.segment_width)

    @property
    def down(self) -> int:
        return -(-self.height // self.segment_height)

    @property
    def samples_of_segment(self) -> int:
        return 1 if self.is_planar else self.samples

    @property
    def pixel_bytes(self) -> int:
        """Of one pixel in a segment."""
        return self.samples_of_segment * self.bits // 8


def size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels as stored, from the first directory."""
    directory = tiff_directory.read(data)
    return directory.get(WIDTH, 0), directory.get(HEIGHT, 0)


def orientation(data: bytes) -> int:
    """The orientation, 1..8, with EXIF's numbers."""
    return _orientation(tiff_directory.read(data))


def omitted(data: bytes) -> tuple[str, ...]:
    """`MORE_PAGES` if there are several."""
    return (MORE_PAGES,) if tiff_directory.read(data).has_more_pages else ()


def read(data: bytes, max_pixels: int) -> Opened:
    """L, LA, RGB, RGBA or CMYK. 16 bits are rounded to 8."""
    page = _parse(data, max_pixels)
    directory = page.directory
    return Opened(
        _image(_pixels(page), page),
        directory.profile,
        _orientation(directory),
        (MORE_PAGES,) if directory.has_more_pages else (),
        dpi=_dpi(directory),
        exif=data,  # a TIFF file is what an EXIF block is
    )


def strip_metadata(data: bytes, max_pixels: int) -> bytes:
    """The first page with only the tags that define its pixels, orientation, density and colours.

    Compressed strips and tiles are copied unchanged.
    """
    page = _parse(data, max_pixels)
    directory = page.directory
    values = {tag: directory.values[tag] for tag in _DISPLAY if tag in directory.values}
    if _dpi(directory) is not None:
        values |= {tag: directory.values[tag] for tag in _DENSITY}
        values[DENSITY_UNIT] = (directory.get(DENSITY_UNIT, 2),)
    values |= {
        WIDTH: (page.width,),
        HEIGHT: (page.height,),
        SAMPLES: (page.samples,),
        PLANES: (2 if page.is_planar else 1,),
    }
    if page.is_tiled:
        values |= {TILE_WIDTH: (page.segment_width,), TILE_HEIGHT: (page.segment_height,)}
    else:
        values[ROWS_PER_STRIP] = (page.segment_height,)
    profile = icc.essential(directory.profile or b"")
    return tiff_directory.write(directory.order, values, profile, page.segments)


def _parse(data: bytes, max_pixels: int) -> _Page:
    directory = tiff_directory.read(data)
    width, height = directory.get(WIDTH, 0), directory.get(HEIGHT, 0)
    check_size(width, height, max_pixels)
    photometric = directory.get(PHOTOMETRIC, -1)
    samples = directory.get(SAMPLES, 1)
    bits = directory.values.get(BITS, (1,))
    _check_kind(directory, photometric, samples, bits)
    is_tiled = TILE_WIDTH in directory.values
    if is_tiled:
        segment_width, segment_height = directory.get(TILE_WIDTH, 0), directory.get(TILE_HEIGHT, 0)
    else:
        segment_width, segment_height = width, min(height, directory.get(ROWS_PER_STRIP, height))
    if not segment_width or not segment_height:
        raise damaged_picture("the size of its strips or tiles is not valid")
    is_planar = samples > 1 and directory.get(PLANES, 1) == 2
    page = _Page(
        directory, width, height, bits[0], samples, photometric, is_planar, is_tiled, segment_width,
        segment_height, [],
    )  # fmt: skip
    # Tiles are padded: one that is far larger than the page would be a way around the limit of its size.
    if is_tiled and segment_width * segment_height * page.pixel_bytes > _TILE_BYTES_MAX:
        raise damaged_picture("its tiles are too large")
    page.segments.extend(_segments(data, page))
    return page


def _check_kind(directory: Directory, photometric: int, samples: int, bits: tuple[int, ...]) -> None:
    """Raises `UnreadablePicture` for a page of a kind that is not read."""
    if directory.get(COMPRESSION, 1) not in _COMPRESSIONS:
        raise damaged_picture("its TIFF compression is not supported; save it with LZW or ZIP, or without")
    if len(set(bits)) != 1 or bits[0] not in (8, 16):
        raise damaged_picture("a TIFF must have 8 or 16 bits a sample")
    is_integer = set(directory.values.get(SAMPLE_FORMAT, (1,))) == {1}
    is_known = photometric in _COLORS and directory.get(INK_SET, 1) == 1
    if not is_integer or not is_known or (photometric == _PALETTE and bits[0] != 8):
        raise damaged_picture("its TIFF pixels are not grey, RGB, CMYK or 8 bits with a palette")
    if not _COLORS[photometric] <= samples <= _SAMPLES_MAX or directory.get(FILL_ORDER, 1) != 1:
        raise damaged_picture("its directory is damaged")
    if directory.get(PREDICTOR, 1) not in (1, 2):  # 3 is for floating point
        raise damaged_picture("its TIFF predictor is not supported")
    if photometric == _PALETTE and len(directory.values.get(COLOR_MAP, ())) != 3 * 256:
        raise damaged_picture("its palette is missing")


def _segments(data: bytes, page: _Page) -> Iterator[bytes]:
    values = page.directory.values
    offsets = values.get(TILE_OFFSETS if page.is_tiled else STRIP_OFFSETS, ())
    counts = values.get(TILE_COUNTS if page.is_tiled else STRIP_COUNTS, ())
    is_raw = page.directory.get(COMPRESSION, 1) == 1
    raw_bytes = page.segment_width * page.segment_height * page.pixel_bytes
    number = page.across * page.down * (page.samples if page.is_planar else 1)
    if not counts and len(offsets) == 1 == number and is_raw:
        counts = (raw_bytes,)  # old writers leave it out
    if min(len(offsets), len(counts)) < number:
        raise damaged_picture("its strips or tiles are missing")
    segments = list(zip(offsets[:number], counts[:number], strict=True))
    if any(offset + count > len(data) or not count for offset, count in segments):
        raise damaged_picture("it is cut short")
    # Otherwise a small file could name the same bytes a hundred thousand times.
    if sum(counts[:number]) > len(data):
        raise damaged_picture("its strips or tiles overlap")
    for offset, count in segments:
        # Uncompressed rows have a known length, and what is behind them is not shown.
        yield data[offset : offset + (min(count, raw_bytes) if is_raw else count)]


def _pixels(page: _Page) -> Pixels:
    """H x W x samples, of which all beyond colour and alpha are left out."""
    kept = min(page.samples, _COLORS[page.photometric] + 1)
    pixels: Pixels = np.empty((page.height, page.width, kept), np.uint8)
    row_bytes = page.across * page.segment_width * page.segment_height * page.pixel_bytes
    segments_at_once = max(1, _BLOCK_BYTES // row_bytes)
    for plane in range(kept if page.is_planar else 1):
        channels = slice(plane, plane + 1) if page.is_planar else slice(0, kept)
        for first in range(0, page.down, segments_at_once):
            rows = _rows(page, plane, first, min(segments_at_once, page.down - first))
            top = first * page.segment_height
            pixels[top : top + len(rows), :, channels] = _in_8_bits(
                rows[..., : channels.stop - channels.start]
            )
    return pixels


def _rows(page: _Page, plane: int, first: int, count: int) -> NDArray[np.integer]:
    """`count` rows of strips or tiles from `first`: H x W x samples of a segment."""
    start = (plane * page.down + first) * page.across
    segments = page.segments[start : start + count * page.across]
    height = min(page.height - first * page.segment_height, count * page.segment_height)
    raw = _decompressed(page, segments, height)
    samples = raw.view(f"{page.directory.order}u{page.bits // 8}")
    samples = samples.reshape(height, page.width, page.samples_of_segment)
    is_predicted = page.directory.get(COMPRESSION, 1) in _PREDICTING and page.directory.get(PREDICTOR, 1) == 2
    if is_predicted:
        samples = _without_prediction(samples, page.segment_width)
    return samples


def _in_8_bits(samples: NDArray[np.integer]) -> Pixels:
    """16 bits are rounded: v / 257."""
    if samples.dtype.itemsize == 1:
        return samples.astype(np.uint8, copy=False)
    import cv2

    native = np.ascontiguousarray(samples, np.uint16)
    rounded: Pixels = cv2.convertScaleAbs(native, alpha=1 / 257).reshape(samples.shape)
    return rounded


def _decompressed(page: _Page, segments: list[bytes], height: int) -> Pixels:
    """The bytes of these rows, as the page has them: H x (W x bytes of a pixel)."""
    values = {
        WIDTH: (page.width * page.pixel_bytes,),
        HEIGHT: (height,),
        BITS: (8,),
        COMPRESSION: (page.directory.get(COMPRESSION, 1),),
        PHOTOMETRIC: (_BLACK_IS_ZERO,),
        SAMPLES: (1,),
    }
    if page.is_tiled:
        values[TILE_WIDTH] = (page.segment_width * page.pixel_bytes,)
        values[TILE_HEIGHT] = (page.segment_height,)
    else:
        values[ROWS_PER_STRIP] = (page.segment_height,)
    content = tiff_directory.write("<", values, None, segments)
    image: Image.Image = Image.open(io.BytesIO(content), formats=["TIFF"])
    image.load()
    if image.mode != "L":
        raise damaged_picture("its strips or tiles are damaged")
    return np.asarray(image)


def _without_prediction(samples: NDArray[np.integer], segment_width: int) -> NDArray[np.integer]:
    """Each sample is stored as the difference from the one to its left in the same strip or tile."""
    answer = np.empty(samples.shape, samples.dtype.newbyteorder("="))
    for left in range(0, samples.shape[1], segment_width):
        part = samples[:, left : left + segment_width]
        np.cumsum(part, axis=1, dtype=answer.dtype, out=answer[:, left : left + segment_width])
    return answer


def _image(pixels: Pixels, page: _Page) -> Image.Image:
    colors = _COLORS[page.photometric]
    extra = page.directory.values.get(EXTRA_SAMPLES, (2,))[0]
    alpha = pixels[..., colors] if pixels.shape[2] > colors and extra in _ALPHAS else None
    pixels = pixels[..., :colors]
    if page.photometric == _WHITE_IS_ZERO:
        pixels = 255 - pixels
    elif page.photometric == _PALETTE:
        pixels = _palette(page.directory)[pixels[..., 0]]
    if page.photometric == _CMYK:
        return Image.frombytes("CMYK", (page.width, page.height), np.ascontiguousarray(pixels).tobytes())
    if alpha is None:
        return _as_image(pixels)
    if extra == _PREMULTIPLIED:
        pixels = _unmultiplied(pixels, alpha)
    return _as_image(np.dstack([pixels, alpha]))


def _as_image(pixels: Pixels) -> Image.Image:
    """L, LA, RGB or RGBA by the number of channels."""
    channels = pixels.shape[2]
    pixels = np.ascontiguousarray(pixels[..., 0] if channels == 1 else pixels)
    return Image.fromarray(pixels)


def _palette(directory: Directory) -> Pixels:
    """256 x 3. Writers multiply 8-bit values by 256 or 257, and some not at all."""
    colors = np.array(directory.values[COLOR_MAP], np.uint16).reshape(3, 256).T
    palette: Pixels = (colors if colors.max() < 256 else colors >> 8).astype(np.uint8)
    return palette


def _unmultiplied(pixels: Pixels, alpha: NDArray[np.uint8]) -> Pixels:
    """Straight colours from those that were multiplied with alpha."""
    divisor = np.maximum(alpha, 1)[..., None].astype(np.uint16)
    straight = (pixels.astype(np.uint16) * 255 + divisor // 2) // divisor
    answer: Pixels = np.minimum(straight, 255).astype(np.uint8)
    return answer


def _orientation(directory: Directory) -> int:
    value = directory.get(ORIENTATION, 1)
    return value if 1 <= value <= 8 else 1


def _dpi(directory: Directory) -> tuple[float, float] | None:
    inch = _INCHES.get(directory.get(DENSITY_UNIT, 2))
    found = [directory.values.get(tag, ()) for tag in _DENSITY]
    if inch is None or any(len(each) != 2 or not all(each) for each in found):
        return None
    across, down = (numerator / denominator * inch for numerator, denominator in found)
    return across, down
