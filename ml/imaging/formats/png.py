"""PNG; of an APNG the still picture that viewers without animation show."""

import io
import struct
import zlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ml.imaging.formats import cicp, exif, png16
from ml.imaging.formats.opened import MAX_PROFILE_BYTES, Opened, check_size, damaged

# Writers flush 8 KiB and more at a time; files of nothing but tiny chunks would keep a worker busy.
_MAX_CHUNKS = 100_000
_GREY, _RGB, _PALETTE = 0, 2, 3  # colour types without an alpha channel


@dataclass
class _Parts:
    width: int = 0
    height: int = 0
    depth: int = 0  # bits a channel
    colors: int = 0  # the colour type
    kept: list[bytes] = field(default_factory=lambda: [b"\x89PNG\r\n\x1a\n"])
    names: set[bytes] = field(default_factory=set)
    transparency: bytes | None = None
    icc_profile: bytes | None = None
    exif: bytes | None = None


def size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels as stored, from the header."""
    if data[12:16] != b"IHDR" or len(data) < 24:
        raise damaged("it does not begin with its header")
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def read(data: bytes, max_pixels: int) -> Opened:
    """L, LA, RGB or RGBA. 16 bits are rounded to 8 exactly; sRGB is assumed where there is no ICC profile."""
    parts = _take_apart(data, max_pixels)
    return Opened(_load(parts), parts.icc_profile, exif.orientation(parts.exif))


def _take_apart(data: bytes, max_pixels: int) -> _Parts:
    parts = _Parts()
    position = 8
    for _ in range(_MAX_CHUNKS):
        if position + 12 > len(data):
            raise damaged("it is cut short")
        length, name = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            raise damaged("it is cut short")
        if not parts.names and name != b"IHDR":
            raise damaged("it does not begin with its header")
        payload = data[position + 8 : end - 4]
        is_needed = name in (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS")
        if is_needed and zlib.crc32(name + payload) != struct.unpack_from(">I", data, end - 4)[0]:
            raise damaged("a checksum is wrong")
        if name == b"IHDR":
            _read_header(parts, payload, max_pixels)
        _note(parts, name, payload)
        if is_needed and not (name == b"tRNS" and parts.colors != _PALETTE):
            parts.kept.append(data[position:end])
        if name == b"IEND":
            break
        position = end
    else:
        raise damaged(f"it has more than {_MAX_CHUNKS} chunks")
    if b"IDAT" not in parts.names or (parts.colors == _PALETTE and b"PLTE" not in parts.names):
        raise damaged("a part of it is missing")
    return parts


def _read_header(parts: _Parts, payload: bytes, max_pixels: int) -> None:
    if parts.names or len(payload) != 13:
        raise damaged("its header is damaged")
    parts.width, parts.height, parts.depth, parts.colors = struct.unpack_from(">IIBB", payload)
    check_size(parts.width, parts.height, max_pixels)


def _note(parts: _Parts, name: bytes, payload: bytes) -> None:
    is_first = name not in parts.names
    parts.names.add(name)
    if not is_first:
        return
    if name == b"tRNS":
        parts.transparency = payload
    elif name == b"eXIf":
        parts.exif = payload
    elif name == b"iCCP" and b"cICP" not in parts.names:
        parts.icc_profile = _inflate_profile(payload)
    elif name == b"cICP" and len(payload) == 4:  # by the standard it wins over iCCP
        parts.icc_profile = cicp.icc_profile(payload[0], payload[1])


def _inflate_profile(payload: bytes) -> bytes | None:
    """Name, 0, method 0, zlib stream; None if it is damaged or grows beyond all real profiles."""
    _, _, rest = payload.partition(b"\0")
    inflater = zlib.decompressobj()
    try:
        profile = inflater.decompress(rest[1:], MAX_PROFILE_BYTES)
    except zlib.error:
        return None
    return profile if inflater.eof else None


def _load(parts: _Parts) -> Image.Image:
    content = b"".join(parts.kept)
    key = _transparent_color(parts)
    if parts.depth == 16:
        return png16.load(content, key)
    image: Image.Image = Image.open(io.BytesIO(content), formats=["PNG"])
    image.load()
    if parts.colors == _PALETTE:
        return image.convert("RGBA" if "transparency" in image.info else "RGB")
    if image.mode == "1":
        image = image.convert("L")
    if key is not None:
        # Pillow widens grey of 1, 2 and 4 bits to 8; the colour is given at the file's own depth.
        # Bits above that depth are to be ignored.
        largest = (1 << parts.depth) - 1
        key = (key & largest) * (255 // largest)
        pixels = np.atleast_3d(np.asarray(image))
        image.putalpha(Image.fromarray(png16.alpha_of_color(pixels, key)))
    return image


def _transparent_color(parts: _Parts) -> NDArray[np.int64] | None:
    """The one colour that is transparent, 1 or 3 values of the file's depth; None where none is."""
    if parts.transparency is None or parts.colors not in (_GREY, _RGB):
        return None
    count = 1 if parts.colors == _GREY else 3
    if len(parts.transparency) < 2 * count:
        raise damaged("its transparency is damaged")
    return np.array(struct.unpack_from(f">{count}H", parts.transparency), dtype=np.int64)
