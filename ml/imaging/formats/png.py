"""PNG; of an APNG the still picture."""

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ml.imaging.formats import cicp, exif, icc, png16, png_gamma
from ml.imaging.formats.display_profile import Chromaticities, Chromaticity
from ml.imaging.formats.opened import ANIMATED, MAX_PROFILE_BYTES, Opened, check_size, damaged_picture
from ml.imaging.transparency import without_hidden_colors
from ml.pixels import Pixels

# Writers flush 8 KiB and more at a time; files of only tiny chunks would occupy a worker.
_MAX_CHUNKS = 100_000
_GREY, _RGB, _PALETTE, _RGBA = 0, 2, 3, 6  # colour types
_PIXELS = {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS"}
# Chunks that define how pixels are displayed, each at most once.
_APPEARANCE = {
    b"iCCP", b"cICP", b"sRGB", b"gAMA", b"cHRM", b"sBIT", b"bKGD", b"pHYs", b"mDCV", b"cLLI"
}  # fmt: skip
# Bytes that these chunks can have; longer ones carry something else.
_CHUNK_BYTES_MAX = {
    b"PLTE": 768, b"tRNS": 256, b"cICP": 4, b"sRGB": 1, b"gAMA": 4, b"cHRM": 32, b"sBIT": 4, b"bKGD": 6,
    b"pHYs": 9, b"mDCV": 24, b"cLLI": 8,
}  # fmt: skip
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_END = b"\0\0\0\0IEND\xaeB`\x82"
_HEADER_END = 33  # signature and IHDR
_PARTS = 100_000  # gAMA and cHRM are in hundred thousandths
_INCH = 0.0254  # metres
# For encoding.
_UP_FILTER = 2
# Of ISA-L's levels 0 to 3, higher ones gain less than a hundredth. Repetitions in photos are mostly runs: a
# window of 512 bytes gives shorter distances and files up to a tenth smaller than one of 32 KiB.
_DEFLATE_LEVEL = 1
_WINDOW_BITS = 9
# These fit into the CPU cache.
_STRIP_BYTES = 1 << 19
NO_END = "The file lacks its end chunk; the image is complete."


@dataclass
class _Parts:
    width: int = 0
    height: int = 0
    depth: int = 0  # bits a channel
    colors: int = 0  # the colour type
    kept: list[bytes] = field(default_factory=lambda: [_SIGNATURE])
    names: set[bytes] = field(default_factory=set)
    transparency: bytes | None = None
    icc_profile: bytes | None = None
    gamma: float | None = None  # of the file: 1 / that of the display
    chromaticities: Chromaticities | None = None
    dpi: tuple[float, float] | None = None
    exif: bytes | None = None
    frames: int = 1  # of an animation


def size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels as stored, from the header."""
    if data[12:16] != b"IHDR" or len(data) < 24:
        raise damaged_picture("it does not begin with its header")
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def orientation(data: bytes) -> int:
    """EXIF's orientation, 1..8."""
    for chunk in _chunks(data):
        if chunk.name == b"eXIf":
            return exif.orientation(data[chunk.start + 8 : chunk.end - 4])
    return 1


def omitted(data: bytes) -> tuple[str, ...]:
    """`ANIMATED` if there are several frames."""
    parts = _Parts()
    for chunk in _chunks(data):
        if chunk.name == b"acTL":
            _note(parts, chunk.name, data[chunk.start + 8 : chunk.end - 4])
    return (ANIMATED,) if parts.frames > 1 else ()


def read(data: bytes, max_pixels: int) -> Opened:
    """L, LA, RGB or RGBA. 16 bits are rounded to 8 exactly; sRGB is assumed where nothing else is stated.

    Colours stated by gAMA and cHRM are sRGB already.

    A file that lacks only its end chunk is read with a warning.
    """
    parts = _parse(data, max_pixels)
    warnings: tuple[str, ...] = ()
    if b"IEND" not in parts.names:
        parts.kept.append(_END)
        warnings = (NO_END,)
    if parts.frames > 1:
        warnings = (*warnings, ANIMATED)
    return Opened(
        _load(parts),
        parts.icc_profile,
        exif.orientation(parts.exif),
        warnings,
        dpi=parts.dpi,
        exif=parts.exif,
    )


def strip_metadata(data: bytes, max_pixels: int) -> bytes:
    """Remove text, EXIF except the orientation, animation, unknown chunks and trailing bytes.

    Nothing is decoded: compressed rows and display properties are copied unchanged.
    """
    kept, seen, orientation_value = [_SIGNATURE], set[bytes](), 1
    for chunk in _chunks(data):
        payload = slice(chunk.start + 8, chunk.end - 4)
        is_first = chunk.name not in seen
        seen.add(chunk.name)
        if chunk.name == b"IHDR":
            _read_header(_Parts() if is_first else _Parts(names={b"IHDR"}), data[payload], max_pixels)
        elif chunk.name == b"eXIf" and is_first:
            orientation_value = exif.orientation(data[payload])
        is_oversized = chunk.end - chunk.start - 12 > _CHUNK_BYTES_MAX.get(chunk.name, chunk.end)
        if is_oversized and chunk.name in _PIXELS:
            raise damaged_picture("a chunk is too long")
        is_shown = chunk.name in _APPEARANCE and is_first and not is_oversized
        if chunk.name == b"iCCP":
            profile = icc.essential(_inflate_profile(data[payload]) or b"") if is_shown else None
            if profile is not None:
                kept.append(_chunk_bytes(b"iCCP", b"ICC profile\0\0" + zlib.compress(profile, 9)))
        elif chunk.name in _PIXELS or is_shown:
            kept.append(data[chunk.start : chunk.end])
    if b"IDAT" not in seen:
        raise damaged_picture("a part of it is missing")
    if orientation_value != 1:
        kept.insert(2, _chunk_bytes(b"eXIf", exif.orientation_only(orientation_value)))
    return b"".join(kept)


@dataclass(frozen=True)
class _Chunk:
    """The position of a chunk in the file, from its length to its checksum."""

    name: bytes
    start: int
    end: int


def _chunks(data: bytes) -> Iterator[_Chunk]:
    """Up to and including the end chunk, or to where it is missing. Raises `UnreadablePicture`."""
    position, has_rows = 8, False
    for _ in range(_MAX_CHUNKS):
        is_cut = position + 12 > len(data)
        length, name = struct.unpack_from(">I4s", data, position) if position + 8 <= len(data) else (0, b"")
        end = position + 12 + length
        if is_cut or end > len(data):
            if has_rows and is_cut and _END.startswith(data[position:]):
                return
            raise damaged_picture("it is cut short")
        if position == 8 and name != b"IHDR":
            raise damaged_picture("it does not begin with its header")
        yield _Chunk(name, position, end)
        if name == b"IEND":
            return
        has_rows = has_rows or name == b"IDAT"
        position = end
    raise damaged_picture(f"it has more than {_MAX_CHUNKS} chunks")


def _chunk_bytes(name: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + name + payload + struct.pack(">I", zlib.crc32(name + payload))


def _parse(data: bytes, max_pixels: int) -> _Parts:
    parts = _Parts()
    for chunk in _chunks(data):
        name, position, end = chunk.name, chunk.start, chunk.end
        payload = data[position + 8 : end - 4]
        is_needed = name in _PIXELS
        if is_needed and zlib.crc32(name + payload) != struct.unpack_from(">I", data, end - 4)[0]:
            raise damaged_picture("a checksum is wrong")
        if name == b"IHDR":
            _read_header(parts, payload, max_pixels)
        _note(parts, name, payload)
        if is_needed and not (name == b"tRNS" and parts.colors != _PALETTE):
            parts.kept.append(data[position:end])
    if b"IDAT" not in parts.names or (parts.colors == _PALETTE and b"PLTE" not in parts.names):
        raise damaged_picture("a part of it is missing")
    return parts


def _read_header(parts: _Parts, payload: bytes, max_pixels: int) -> None:
    if parts.names or len(payload) != 13:
        raise damaged_picture("its header is damaged")
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
    elif name == b"gAMA" and len(payload) == 4:
        parts.gamma = struct.unpack(">I", payload)[0] / _PARTS
    elif name == b"cHRM" and len(payload) == 32:
        numbers = [number / _PARTS for number in struct.unpack(">8I", payload)]
        pairs = (Chromaticity(*numbers[at : at + 2]) for at in range(0, 8, 2))
        parts.chromaticities = Chromaticities(*pairs)
    elif name == b"acTL" and len(payload) == 8:
        parts.frames = struct.unpack_from(">I", payload)[0]
    elif name == b"pHYs" and len(payload) == 9:
        parts.dpi = _dpi(payload)
    elif name == b"cICP" and len(payload) == 4:  # by the standard it takes precedence over iCCP
        parts.icc_profile = cicp.icc_profile(payload[0], payload[1])


def _conversion(parts: _Parts) -> png_gamma.Conversion | None:
    """What gAMA and cHRM ask for. By the standard cICP, iCCP and sRGB take precedence over them.

    cHRM means nothing without gAMA.
    """
    if parts.gamma is None or parts.names & {b"cICP", b"iCCP", b"sRGB"}:
        return None
    return png_gamma.conversion(parts.gamma, parts.chromaticities)


def _dpi(payload: bytes) -> tuple[float, float] | None:
    """Of a pHYs chunk, if it states pixels a metre."""
    across, down, unit = struct.unpack(">IIB", payload)
    return (across * _INCH, down * _INCH) if unit == 1 and across and down else None


def display_chunks(dpi: tuple[float, float] | None, exif_block: bytes | None = None) -> bytes:
    """The chunks that tag a picture as sRGB and, if given, state its density and EXIF. They follow IHDR."""
    tagged = _chunk_bytes(b"sRGB", b"\0")
    if exif_block is not None:
        tagged += _chunk_bytes(b"eXIf", exif_block)
    if dpi is None:
        return tagged
    across, down = (max(1, round(value / _INCH)) for value in dpi)
    return tagged + _chunk_bytes(b"pHYs", struct.pack(">IIB", across, down, 1))


def encode_fast(pixels: Pixels) -> bytes:
    """H x W x 3|4 with one row filter (up) and ISA-L's deflate; colour under transparent pixels is zeroed.

    A cut-out of 9 megapixels takes 0.07 s. libpng with run-length compression took 0.23 s for a file a tenth
    larger.
    """
    from isal import isal_zlib

    height, width, channels = pixels.shape
    row_bytes = width * channels
    color_type = _RGBA if channels == 4 else _RGB
    header = struct.pack(">IIBBBBB", width, height, 8, color_type, 0, 0, 0)
    compressed: list[bytes] = []
    compressor = isal_zlib.compressobj(_DEFLATE_LEVEL, wbits=_WINDOW_BITS)
    rows_at_once = min(height, max(1, _STRIP_BYTES // row_bytes))
    # The first byte of each row names its filter.
    filtered = np.full((rows_at_once, 1 + row_bytes), _UP_FILTER, np.uint8)
    above = np.zeros(row_bytes, np.uint8)
    for top in range(0, height, rows_at_once):
        strip = np.ascontiguousarray(pixels[top : top + rows_at_once])
        if channels == 4:
            strip = without_hidden_colors(strip)
        rows = strip.reshape(len(strip), row_bytes)
        np.subtract(rows[0], above, out=filtered[0, 1:])
        np.subtract(rows[1:], rows[:-1], out=filtered[1 : len(rows), 1:])
        above = rows[-1]
        compressed.append(compressor.compress(filtered[: len(rows)]))
    compressed.append(compressor.flush())
    chunks = [_chunk_bytes(b"IDAT", part) for part in compressed if part]
    return b"".join([_SIGNATURE, _chunk_bytes(b"IHDR", header), *chunks, _END])


def add_chunks(content: bytes, chunks: bytes) -> bytes:
    """A PNG file with `chunks` after its header."""
    return content[:_HEADER_END] + chunks + content[_HEADER_END:]


def _inflate_profile(payload: bytes) -> bytes | None:
    """Name, 0, method 0, zlib stream; None if it is damaged or too large."""
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
    conversion = _conversion(parts)
    if parts.depth == 16:
        return png16.load(content, key, conversion)
    image: Image.Image = Image.open(io.BytesIO(content), formats=["PNG"])
    image.load()
    if parts.colors == _PALETTE:
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    elif image.mode == "1":
        image = image.convert("L")
    if key is not None:
        # Pillow expands grey of 1, 2 and 4 bits to 8; the transparent colour has the file's depth, and higher
        # bits must be ignored.
        largest = (1 << parts.depth) - 1
        key = (key & largest) * (255 // largest)
        pixels = np.atleast_3d(np.asarray(image))
        image.putalpha(Image.fromarray(png16.alpha_of_color(pixels, key)))
    if conversion is not None:
        conversion.apply_to_image(image)
    return image


def _transparent_color(parts: _Parts) -> NDArray[np.int64] | None:
    """The one colour that is transparent, 1 or 3 values of the file's depth; None if there is none."""
    if parts.transparency is None or parts.colors not in (_GREY, _RGB):
        return None
    count = 1 if parts.colors == _GREY else 3
    if len(parts.transparency) < 2 * count:
        raise damaged_picture("its transparency is damaged")
    return np.array(struct.unpack_from(f">{count}H", parts.transparency), dtype=np.int64)
