"""GIF, the first frame."""

import io
import struct
from contextlib import suppress
from dataclasses import dataclass

from PIL import Image

from ml.errors import UnreadablePicture
from ml.imaging.formats.opened import ANIMATED, MAX_SIDE_PIXELS, Opened, check_size, damaged_picture

# Compressed data is in pieces of up to 255 bytes: the largest upload has about 100,000 of them.
_MAX_PIECES = 400_000
_HEADER_BYTES = 13
_FRAME, _EXTENSION, _END = 0x2C, 0x21, 0x3B
_CONTROL = 0xF9  # the extension with a frame's transparent colour
_HAS_PALETTE, _IS_INTERLACED = 0x80, 0x40


@dataclass(frozen=True)
class _Frame:
    """The first frame: its box on the canvas, palette, transparent colour and compressed pixels."""

    box: tuple[int, int, int, int]  # left, top, width, height
    is_interlaced: bool
    palette: bytes  # 3 bytes a colour; empty if there is none
    transparent: int | None
    compressed: bytes  # with the length of codes before and the empty piece behind
    end: int  # where the next block begins


def size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels of the canvas; if the first frame exceeds it, of both."""
    return _canvas(data, _first_frame_at(data, _Blocks(data))[0])


def orientation(data: bytes) -> int:
    """GIF has none."""
    del data
    return 1


def omitted(data: bytes) -> tuple[str, ...]:
    """`ANIMATED` if another frame follows."""
    return (ANIMATED,) if _has_another_frame(data, _parse(data, MAX_SIDE_PIXELS**2)[1].end) else ()


def read(data: bytes, max_pixels: int) -> Opened:
    """RGB, or RGBA where a colour is transparent or the frame does not fill the canvas."""
    canvas, frame = _parse(data, max_pixels)
    left, top, *sides = frame.box
    image: Image.Image = Image.open(io.BytesIO(_file((sides[0], sides[1]), (0, 0), frame)), formats=["GIF"])
    image.load()
    if frame.transparent is None and image.size == canvas:
        image = image.convert("RGB")
    else:
        image = image.convert("RGBA")
    if image.size != canvas:
        whole = Image.new("RGBA", canvas)
        whole.paste(image, (left, top))
        image = whole
    return Opened(image, warnings=(ANIMATED,) if _has_another_frame(data, frame.end) else ())


def strip_metadata(data: bytes, max_pixels: int) -> bytes:
    """The first frame on its canvas, without comments, other extensions, frames and trailing bytes."""
    canvas, frame = _parse(data, max_pixels)
    return _file(canvas, frame.box[:2], frame)


def _file(canvas: tuple[int, int], place: tuple[int, int], frame: _Frame) -> bytes:
    """A GIF of this frame alone."""
    control = b""
    if frame.transparent is not None:
        control = struct.pack("<BBBBHBB", _EXTENSION, _CONTROL, 4, 1, 0, frame.transparent, 0)
    flags = _IS_INTERLACED if frame.is_interlaced else 0
    if frame.palette:
        flags |= _HAS_PALETTE | (len(frame.palette) // 3).bit_length() - 2
    return b"".join(
        [
            struct.pack("<6sHHBBB", b"GIF89a", *canvas, 0, 0, 0),
            control,
            struct.pack("<BHHHHB", _FRAME, *place, *frame.box[2:], flags),
            frame.palette,
            frame.compressed,
            bytes([_END]),
        ]
    )


def _parse(data: bytes, max_pixels: int) -> tuple[tuple[int, int], _Frame]:
    """The size of the canvas, and the first frame."""
    blocks = _Blocks(data)
    at, transparent = _first_frame_at(data, blocks)
    canvas = _canvas(data, at)
    check_size(*canvas, max_pixels)
    left, top, width, height, flags = struct.unpack_from("<HHHHB", data, at + 1)
    if not width or not height:
        raise damaged_picture("its first frame has no pixels")
    palette, at = _palette(data, at + 10, flags)
    if not palette:
        palette, _ = _palette(data, _HEADER_BYTES, data[10])
    end = blocks.end_of_pieces(at + 1)
    if end > len(data):
        raise damaged_picture("it is cut short")
    frame = _Frame(
        (left, top, width, height),
        bool(flags & _IS_INTERLACED),
        palette,
        transparent,
        data[at:end],
        end,
    )
    return canvas, frame


def _canvas(data: bytes, frame_at: int) -> tuple[int, int]:
    width, height = struct.unpack_from("<HH", data, 6)
    left, top, frame_width, frame_height = struct.unpack_from("<HHHH", data, frame_at + 1)
    return max(width, left + frame_width), max(height, top + frame_height)


def _palette(data: bytes, at: int, flags: int) -> tuple[bytes, int]:
    """The palette at `at`, if the flags announce one, and where it ends."""
    end = at + (3 << (flags & 7) + 1 if flags & _HAS_PALETTE else 0)
    if end > len(data):
        raise damaged_picture("it is cut short")
    return data[at:end], end


def _first_frame_at(data: bytes, blocks: "_Blocks") -> tuple[int, int | None]:
    """Where the first frame's descriptor is, and its transparent colour."""
    if len(data) < _HEADER_BYTES:
        raise damaged_picture("it is cut short before the first row")
    _, at = _palette(data, _HEADER_BYTES, data[10])
    transparent = None
    while at + 10 <= len(data):
        if data[at] == _FRAME:
            return at, transparent
        if data[at] != _EXTENSION:
            break
        if data[at + 1] == _CONTROL and data[at + 2] == 4:
            transparent = data[at + 6] if data[at + 3] & 1 else None
        at = blocks.end_of_pieces(at + 2)
    raise damaged_picture("it is cut short before the first row")


def _has_another_frame(data: bytes, at: int) -> bool:
    """Whether a frame follows at `at`. What is damaged there does not matter."""
    blocks = _Blocks(data)
    with suppress(UnreadablePicture):
        while at < len(data) and data[at] == _EXTENSION:
            at = blocks.end_of_pieces(at + 2)
    return data[at : at + 1] == bytes([_FRAME])


class _Blocks:
    """Finds the ends of blocks. All blocks of a file together have a limited number of pieces."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._pieces = 0

    def end_of_pieces(self, at: int) -> int:
        """Where the next block begins: after the pieces at `at` and the empty one that ends them."""
        while at < len(self._data):
            self._pieces += 1
            if self._pieces > _MAX_PIECES:
                raise damaged_picture(f"it has more than {_MAX_PIECES} pieces")
            length = self._data[at]
            at += 1 + length
            if not length:
                return at
        return len(self._data) + 1  # the empty piece is missing
