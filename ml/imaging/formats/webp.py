"""WebP, still or the first frame of an animation."""

import io
import struct
from collections.abc import Iterator

from PIL import Image

from ml.imaging.formats import exif, icc
from ml.imaging.formats.opened import ANIMATED, MAX_PROFILE_BYTES, Opened, check_size, damaged_picture

# A long animation has a few thousand frames; EXIF may follow them.
_MAX_CHUNKS = 20_000
_HAS_PROFILE, _HAS_EXIF, _HAS_XMP = 0x20, 0x08, 0x04
_PIXELS = {b"VP8 ", b"VP8L", b"ALPH", b"ANIM"}
_FRAME_HEADER_BYTES = 16


def size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels as stored, from the first chunk."""
    name, payload = next(_chunks(data), (b"", b""))
    return _canvas_size(payload) if name == b"VP8X" else _still_size(name, payload)


def orientation(data: bytes) -> int:
    """EXIF's orientation, 1..8."""
    return next((exif.orientation(payload) for name, payload in _chunks(data) if name == b"EXIF"), 1)


def omitted(data: bytes) -> tuple[str, ...]:
    """`ANIMATED` if there are several frames."""
    return (ANIMATED,) if sum(name == b"ANMF" for name, _ in _chunks(data)) > 1 else ()


def strip_metadata(data: bytes, max_pixels: int) -> bytes:
    """The same picture without EXIF except the orientation, XMP, unknown chunks and trailing bytes.

    Of an animation only the first frame. Nothing is decoded: pixel data is copied unchanged.
    """
    _check_length(data)
    check_size(*size(data), max_pixels)
    kept: list[bytes] = []
    canvas, orientation_value = b"", 1
    profile: bytes | None = None
    has_frame = False
    for name, payload in _chunks(data[: 8 + int.from_bytes(data[4:8], "little")]):
        if name == b"VP8X" and not canvas:
            canvas = payload
        elif name == b"ICCP" and profile is None:
            profile = icc.essential(payload)
        elif name == b"EXIF":
            orientation_value = exif.orientation(payload)
        elif name == b"ANMF" and not has_frame:
            has_frame = True
            kept.append(_chunk(name, _stripped_frame(payload)))
        elif name in _PIXELS:
            kept.append(_chunk(name, payload))
    if canvas:
        flags = canvas[0] & ~(_HAS_PROFILE | _HAS_EXIF | _HAS_XMP)
        if profile is not None:
            flags |= _HAS_PROFILE
            kept.insert(0, _chunk(b"ICCP", profile))
        if orientation_value != 1:
            flags |= _HAS_EXIF
            kept.append(_chunk(b"EXIF", exif.orientation_only(orientation_value)))
        kept.insert(0, _chunk(b"VP8X", bytes([flags]) + b"\0\0\0" + canvas[4:10]))
    else:
        del kept[1:]  # a simple file is one chunk
    return _file(kept)


def _stripped_frame(payload: bytes) -> bytes:
    """A frame of an animation with its header and pixel data only."""
    inner = _chunks(payload, _FRAME_HEADER_BYTES)
    kept = [_chunk(name, content) for name, content in inner if name in _PIXELS]
    return payload[:_FRAME_HEADER_BYTES] + b"".join(kept)


def _check_length(data: bytes) -> None:
    if int.from_bytes(data[4:8], "little") + 8 > len(data) + 1:  # the last padding byte may be missing
        raise damaged_picture("it is cut short")


def read(data: bytes, max_pixels: int) -> Opened:
    """RGB or RGBA; an animation's first frame on its whole, transparent canvas."""
    _check_length(data)
    check_size(*size(data), max_pixels)
    kept: list[bytes] = []
    extra: dict[bytes, bytes] = {}
    frames = 0
    for name, payload in _chunks(data):
        frames += name == b"ANMF"
        if name == b"VP8X" and not kept:
            flags = payload[0] & ~(_HAS_PROFILE | _HAS_EXIF | _HAS_XMP)
            kept.append(_chunk(name, bytes([flags]) + payload[1:]))
        elif name in _PIXELS or (name == b"ANMF" and frames == 1):
            kept.append(_chunk(name, payload))
        elif name in (b"ICCP", b"EXIF") and len(payload) <= MAX_PROFILE_BYTES:
            extra.setdefault(name, payload)
    image = Image.open(io.BytesIO(_file(kept)), formats=["WEBP"])
    check_size(*image.size, max_pixels)
    # The copy releases the decoder, which holds two canvases.
    block = extra.get(b"EXIF")
    warnings = (ANIMATED,) if frames > 1 else ()
    return Opened(image.copy(), extra.get(b"ICCP"), exif.orientation(block), warnings, exif=block)


def _file(chunks: list[bytes]) -> bytes:
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _chunks(data: bytes, position: int = 12) -> Iterator[tuple[bytes, bytes]]:
    for _ in range(_MAX_CHUNKS):
        if position + 8 > len(data):
            return
        name, length = struct.unpack_from("<4sI", data, position)
        yield name, data[position + 8 : position + 8 + length]
        position += 8 + length + (length & 1)


def _chunk(name: bytes, payload: bytes) -> bytes:
    return name + struct.pack("<I", len(payload)) + payload + b"\0" * (len(payload) & 1)


def _canvas_size(payload: bytes) -> tuple[int, int]:
    if len(payload) < 10:
        raise damaged_picture("its header is damaged")
    return 1 + int.from_bytes(payload[4:7], "little"), 1 + int.from_bytes(payload[7:10], "little")


def _still_size(name: bytes, payload: bytes) -> tuple[int, int]:
    """Size of a simple file, from the first bytes of its only chunk (RFC 9649, sections 2.5 and 3.4)."""
    if name == b"VP8 " and len(payload) >= 10:
        width, height = struct.unpack_from("<HH", payload, 6)
        return width & 0x3FFF, height & 0x3FFF
    if name == b"VP8L" and len(payload) >= 5:
        bits = int.from_bytes(payload[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    raise damaged_picture("its header is damaged")
