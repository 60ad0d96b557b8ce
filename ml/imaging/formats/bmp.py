"""BMP, uncompressed: palettes, 16, 24 and 32 bits a pixel.

Only the sizes, the masks, the palette and the rows are taken from a file, and a new one is written from them.
So neither the decoder nor a stored upload has anything else in it, such as a profile or appended bytes.
"""

import io
import struct
from dataclasses import dataclass

from PIL import Image

from ml.imaging.formats.opened import Opened, check_size, damaged_picture

_FILE_HEADER_BYTES = 14
_CORE_HEADER_BYTES = 12  # of OS/2 and Windows 2: sides of 16 bits, palette entries of 3 bytes
_INFO_HEADER_BYTES = 40
# Of the versions of the header, all of which begin alike; the longer ones contain the masks.
_HEADER_BYTES = (_CORE_HEADER_BYTES, _INFO_HEADER_BYTES, 52, 56, 64, 108, 124)
_OS2_HEADER_BYTES = 64  # its compression 3 is another one, and there are no masks
_WRITTEN_HEADER_BYTES = 56  # has masks for four channels

_PLAIN, _MASKS, _MASKS_WITH_ALPHA = 0, 3, 6
_DEPTHS = (1, 4, 8, 16, 24, 32)
_INCH = 0.0254  # metres


@dataclass(frozen=True)
class _Parts:
    width: int
    height: int
    is_top_down: bool
    depth: int  # bits a pixel
    density: tuple[int, int]  # pixels a metre
    masks: tuple[int, int, int, int] | None  # red, green, blue, alpha
    palette: bytes  # 4 bytes a colour
    rows: bytes


def size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels, from the header."""
    width, height, *_ = _header(data)
    return width, abs(height)


def orientation(data: bytes) -> int:
    """BMP has none."""
    del data
    return 1


def omitted(data: bytes) -> tuple[str, ...]:
    """BMP has no further pictures."""
    del data
    return ()


def read(data: bytes, max_pixels: int) -> Opened:
    """L, RGB or RGBA. The fourth byte of a pixel is alpha only where a mask says so, as in browsers."""
    parts = _parse(data, max_pixels)
    image: Image.Image = Image.open(io.BytesIO(_written(parts)), formats=["BMP"])
    image.load()
    if image.mode not in ("L", "RGB", "RGBA"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    across, down = (value * _INCH for value in parts.density)
    return Opened(image, dpi=(across, down) if across > 0 and down > 0 else None)


def strip_metadata(data: bytes, max_pixels: int) -> bytes:
    """The same picture with nothing but its header, masks, palette and rows."""
    return _written(_parse(data, max_pixels))


def _header(data: bytes) -> tuple[int, int, int, int, int, int, int]:
    """Width, height (negative for top-down rows), depth, compression, density across and down, colours."""
    try:
        (length,) = struct.unpack_from("<I", data, _FILE_HEADER_BYTES)
        if length == _CORE_HEADER_BYTES:
            width, height, _, depth = struct.unpack_from("<HHHH", data, _FILE_HEADER_BYTES + 4)
            return width, height, depth, _PLAIN, 0, 0, 0
        fields = struct.unpack_from("<iiHHIIiiI", data, _FILE_HEADER_BYTES + 4)
    except struct.error:
        raise damaged_picture("it is cut short before the first row") from None
    width, height, _, depth, compression, _, across, down, colors = fields
    return width, height, depth, compression, across, down, colors


def _parse(data: bytes, max_pixels: int) -> _Parts:
    width, height, depth, compression, across, down, colors = _header(data)
    check_size(width, abs(height), max_pixels)
    header_bytes, first_row = _lengths(data)
    if depth not in _DEPTHS:
        raise damaged_picture("its number of bits a pixel is not one that BMP has")
    has_masks = compression in (_MASKS, _MASKS_WITH_ALPHA) and depth in (16, 32)
    if compression != _PLAIN and not (has_masks and header_bytes != _OS2_HEADER_BYTES):
        raise damaged_picture("it is a compressed BMP, which is not supported; save it uncompressed")
    masks = _masks(data, header_bytes, has_alpha=compression == _MASKS_WITH_ALPHA) if has_masks else None
    palette = b""
    if depth <= 8:
        palette = _palette(data, header_bytes, first_row, min(colors or 1 << depth, 1 << depth))
    rows_bytes = (width * depth + 31) // 32 * 4 * abs(height)
    rows = data[first_row : first_row + rows_bytes]
    if len(rows) < rows_bytes:
        raise damaged_picture("it is cut short")
    return _Parts(width, abs(height), height < 0, depth, (across, down), masks, palette, rows)


def _lengths(data: bytes) -> tuple[int, int]:
    """The length of the second header, and where the rows begin."""
    first_row, header_bytes = struct.unpack_from("<II", data, 10)
    end = _FILE_HEADER_BYTES + header_bytes
    if header_bytes not in _HEADER_BYTES or not end <= first_row:
        raise damaged_picture("its header is damaged")
    return header_bytes, first_row


def _masks(data: bytes, header_bytes: int, *, has_alpha: bool) -> tuple[int, int, int, int]:
    start = _FILE_HEADER_BYTES + _INFO_HEADER_BYTES  # in the header, or right after the shortest one
    count = 4 if has_alpha or header_bytes >= _WRITTEN_HEADER_BYTES else 3
    try:
        red, green, blue, *alpha = struct.unpack_from(f"<{count}I", data, start)
    except struct.error:
        raise damaged_picture("it is cut short before the first row") from None
    return red, green, blue, alpha[0] if alpha else 0


def _palette(data: bytes, header_bytes: int, first_row: int, colors: int) -> bytes:
    start = _FILE_HEADER_BYTES + header_bytes
    entry_bytes = 3 if header_bytes == _CORE_HEADER_BYTES else 4
    content = data[start : min(first_row, start + colors * entry_bytes)]
    entries = [content[at : at + 3] for at in range(0, len(content) - entry_bytes + 1, entry_bytes)]
    if not entries:
        raise damaged_picture("its palette is missing")
    return b"".join(entry + b"\0" for entry in entries)


def _written(parts: _Parts) -> bytes:
    """A file of these parts."""
    header_bytes = _INFO_HEADER_BYTES if parts.masks is None else _WRITTEN_HEADER_BYTES
    first_row = _FILE_HEADER_BYTES + header_bytes + len(parts.palette)
    header = struct.pack(
        "<IiiHHIIiiII",
        header_bytes,
        parts.width,
        -parts.height if parts.is_top_down else parts.height,
        1,
        parts.depth,
        _PLAIN if parts.masks is None else _MASKS,
        len(parts.rows),
        *parts.density,
        len(parts.palette) // 4,
        0,
    )
    masks = b"" if parts.masks is None else struct.pack("<4I", *parts.masks)
    start = struct.pack("<2sIHHI", b"BM", first_row + len(parts.rows), 0, 0, first_row)
    return b"".join([start, header, masks, parts.palette, parts.rows])
