"""JPEG, and the first picture of MPO and of JPEGs with a gain map."""

import io
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from PIL import Image, ImageChops

from ml.imaging.formats import exif, icc
from ml.imaging.formats.opened import MAX_PROFILE_BYTES, Opened, check_size, damaged_picture, search

# Cameras write tens of segments, panoramas with large XMP some hundreds.
_MAX_SEGMENTS = 10_000
# Progressive files have about ten scans. Each costs a pass over all coefficients, so a small file with
# thousands of empty scans would occupy a worker for minutes.
_MAX_SCANS = 100

_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
_APP0, _APP1, _APP2, _APP14 = 0xE0, 0xE1, 0xE2, 0xEE
_FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
_LOSSLESS = {0xC3, 0xC7, 0xCB, 0xCF}
_DIFFERENTIAL = {
    0xC5,
    0xC6,
    0xCD,
    0xCE,
}  # a smaller picture and what it lacks, "hierarchical" in the standard
# Besides frames and scans: tables of codes and of quantisation, restart interval, number of lines, end.
_TABLES = {0xC4, 0xCC, 0xDB}
_TWO_BYTES = {0xDC, 0xDD}  # the number of lines, the restart interval
_BARE = {0x00, 0x01, *range(0xD0, 0xD8), _SOI}  # no length follows
# Between segments, markers may be preceded by any number of FF, and some writers leave junk.
_ANY_MARKER = re.compile(rb"\xff[^\xff]")
# Inside a scan FF00 is a literal FF and FFD0..FFD7 are restart marks; anything else ends the scan.
_NEXT_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")

_JFIF_BYTES = 14  # without its thumbnail
_ADOBE_BYTES = 12
_PROFILE = b"ICC_PROFILE\0"
_PROFILE_BYTES_OF_SEGMENT = 65_533 - len(_PROFILE) - 2
_END = b"\xff\xd9"
# Bits that no encoder writes after the last row; see `_load_unended`.
_OTHER_BITS = b"\xaa\x55" * 64
_BITS = 8  # a channel
_MAX_STEP = 255  # of quantisation, with 8 bits a channel
NO_END = "The file lacks its end marker; the image is complete."


@dataclass
class _Segment:
    marker: int
    payload: bytes
    start: int
    end: int  # of a scan: after its compressed data


@dataclass
class _Parts:
    size: tuple[int, int] | None = None
    kept: list[bytes] = field(default_factory=lambda: [b"\xff\xd8"])
    exif: bytes | None = None
    profile_parts: dict[int, bytes] = field(default_factory=dict)
    profile_count: int = 0
    scans: int = 0
    has_end: bool = False
    has_jfif: bool = False
    #: Of each component, how many low bits of each of its 64 coefficients are still missing.
    missing_bits: dict[int, list[int]] = field(default_factory=dict)


def size(data: bytes) -> tuple[int, int]:
    """Stored width and height in pixels, from the frame header."""
    for segment in _segments(data):
        if segment.marker in _FRAMES:
            return _frame_size(segment.payload)
    raise damaged_picture("it is cut short before the first row")


def orientation(data: bytes) -> int:
    """EXIF's orientation, 1..8."""
    for segment in _segments(data):
        if _is_exif(segment):
            return exif.orientation(segment.payload)
        if segment.marker == _SOS:
            break
    return 1


def omitted(data: bytes) -> tuple[str, ...]:
    """Nothing: further pictures of MPO are other views of the same, not frames."""
    del data
    return ()


def read(data: bytes, max_pixels: int) -> Opened:
    """The first picture, L, RGB or CMYK with 255 = full ink.

    CMYK is assumed to be stored inverted, as by Adobe, also without Adobe's marker, as in browsers. A file
    that lacks only its end marker is read with a warning.
    """
    parts = _parse(data, max_pixels)
    warnings: tuple[str, ...] = ()
    if parts.has_end:
        image = _load(b"".join(parts.kept))
    else:
        image = _load_unended(parts)
        warnings = (NO_END,)
    return Opened(
        image,
        _profile(parts),
        exif.orientation(parts.exif),
        warnings,
        _tables(image),
        _dpi(image),
        parts.exif,
    )


def _dpi(image: Image.Image) -> tuple[float, float] | None:
    """The density that the JFIF segment states, in pixels an inch."""
    across, down = image.info.get("jfif_density", (0, 0))
    inch = {1: 1.0, 2: 2.54}.get(image.info.get("jfif_unit", 0))
    return (across * inch, down * inch) if inch is not None and across and down else None


def _tables(image: Image.Image) -> tuple[tuple[int, ...], ...] | None:
    """The quantisation steps of luminance and colour, row by row; None if they exceed 8 bits."""
    tables = [tuple(table) for _, table in sorted(getattr(image, "quantization", {}).items())][:2]
    is_usable = tables and all(len(table) == 64 and max(table) <= _MAX_STEP for table in tables)
    return tuple(tables) if is_usable else None


def strip_metadata(data: bytes, max_pixels: int) -> bytes:
    """The same picture without comments, thumbnails, EXIF except the orientation, XMP and trailing bytes.

    Nothing is decoded, so the compressed data is copied with any bytes between its last row and the next
    marker, which only a decoder could find. Of the colour profile, `icc.essential` is kept.
    """
    parts = _parse(data, max_pixels)
    blocks = []
    orientation_value = exif.orientation(parts.exif)
    if orientation_value != 1:
        blocks.append(_segment_bytes(_APP1, b"Exif\0\0" + exif.orientation_only(orientation_value)))
    profile = icc.essential(_profile(parts) or b"")
    if profile is not None:
        blocks += _profile_segments(profile)
    place = 2 if _is_app0(parts.kept[1]) else 1
    return b"".join([*parts.kept[:place], *blocks, *parts.kept[place:]])


def _load(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content), formats=["JPEG"])
    image.load()
    return image


def _load_unended(parts: _Parts) -> Image.Image:
    """The picture of a file without end marker. Raises `UnreadablePicture` if more is missing.

    libjpeg fills in missing data, so the file is decoded twice with different bits appended. If the pixels
    differ, some of them depend on those bits.
    """
    if not parts.missing_bits or any(map(any, parts.missing_bits.values())):
        raise damaged_picture("it is cut short")
    content = b"".join(parts.kept).rstrip(b"\xff")
    image, other = _load(content + _END), _load(content + _OTHER_BITS + _END)
    if ImageChops.difference(image, other).getbbox() is not None:
        raise damaged_picture("it is cut short")
    return image


def _parse(data: bytes, max_pixels: int) -> _Parts:
    parts = _Parts()
    for segment in _segments(data):
        if segment.marker in _FRAMES:
            if parts.size is not None:
                raise damaged_picture("it has two frame headers")
            parts.size = _frame_size(segment.payload)
            check_size(*parts.size, max_pixels)
            _check_kind(segment)
            parts.missing_bits = {number: [16] * 64 for number in segment.payload[6::3]}
        elif segment.marker == _SOS:
            parts.scans += 1
            if parts.scans > _MAX_SCANS:
                raise damaged_picture(f"it has more than {_MAX_SCANS} scans")
            _note_scan(parts, segment.payload)
        elif segment.marker == _EOI:
            parts.has_end = True
        kept = _needed(parts, segment, data)
        if kept is not None:
            parts.kept.append(kept)
    if parts.size is None or not parts.scans:
        raise damaged_picture("it is cut short before the first row")
    return parts


def _note_scan(parts: _Parts, payload: bytes) -> None:
    """Record the components, coefficients and bits that this scan contains."""
    count = payload[0] if payload else 0
    if len(payload) < 4 + 2 * count:
        raise damaged_picture("a scan's header is damaged")
    first, last, bits = payload[1 + 2 * count : 4 + 2 * count]
    for number in payload[1 : 1 + 2 * count : 2]:
        missing = parts.missing_bits.get(number)
        if missing is not None and first <= last < 64:
            missing[first : last + 1] = [bits & 15] * (last + 1 - first)


def _segments(data: bytes) -> Iterator[_Segment]:
    """Up to and including the end of the first picture; a missing end is left to the caller."""
    position = 2
    for _ in range(_MAX_SEGMENTS):
        found = search(_ANY_MARKER, data, position)
        if found is None:
            return
        start, marker = found.start(), data[found.start() + 1]
        if marker in _BARE:
            position = start + 2
            continue
        if marker == _EOI:
            yield _Segment(marker, b"", start, start + 2)
            return
        payload = _payload(data, start)
        position = start + 4 + len(payload)
        if marker == _SOS:
            following = search(_NEXT_MARKER, data, position)
            position = following.start() if following else len(data)
        yield _Segment(marker, payload, start, position)
    raise damaged_picture(f"it has more than {_MAX_SEGMENTS} segments")


def _payload(data: bytes, position: int) -> bytes:
    if position + 4 > len(data):
        raise damaged_picture("it is cut short")
    (length,) = struct.unpack_from(">H", data, position + 2)
    end = position + 2 + length
    if length < 2 or end > len(data):
        raise damaged_picture("it is cut short or a segment is damaged")
    return data[position + 4 : end]


def _segment_bytes(marker: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def _frame_size(payload: bytes) -> tuple[int, int]:
    if len(payload) < 6:
        raise damaged_picture("its frame header is damaged")
    height, width = struct.unpack_from(">HH", payload, 1)
    return width, height


def _check_kind(frame: _Segment) -> None:
    """Raises `UnreadablePicture` for kinds of JPEG that libjpeg, as built for 8 bits, does not read."""
    bits = frame.payload[0]
    kind = ""
    if frame.marker in _LOSSLESS:
        kind = "lossless JPEG"
    elif frame.marker in _DIFFERENTIAL:
        kind = "hierarchical JPEG"
    elif bits != _BITS:
        kind = f"{bits}-bit JPEG"
    if kind:
        raise damaged_picture(
            f"it is a {kind}, which is not supported; save it as a JPEG of 8 bits a channel"
        )


def _is_exif(segment: _Segment) -> bool:
    return segment.marker == _APP1 and segment.payload.startswith(b"Exif\0\0")


def _needed(parts: _Parts, segment: _Segment, data: bytes) -> bytes | None:
    """The segment for the decoder; None if it has no pixel data. Records EXIF and ICC."""
    marker, payload = segment.marker, segment.payload
    if _is_exif(segment) and parts.exif is None:
        parts.exif = payload
    if marker == _APP2 and payload.startswith(_PROFILE) and len(payload) > 14:
        parts.profile_parts[payload[12]] = payload[14:]
        parts.profile_count = payload[13]
        return None
    if marker == _APP0 and payload.startswith(b"JFIF\0"):
        if parts.has_jfif:
            return None
        kept = _jfif(payload)
        parts.has_jfif = kept is not None
        return kept
    if marker == _APP14 and payload.startswith(b"Adobe"):
        return _segment_bytes(marker, payload[:_ADOBE_BYTES])
    if marker in _TWO_BYTES:
        return _segment_bytes(marker, payload[:2])
    if marker in _FRAMES or marker in _TABLES or marker in (_SOS, _EOI):
        return data[segment.start : segment.end]
    return None


def _is_app0(kept: bytes) -> bool:
    return kept[:2] == bytes([0xFF, _APP0])


def _jfif(payload: bytes) -> bytes | None:
    """Version and density, without the thumbnail."""
    if len(payload) < _JFIF_BYTES:
        return None
    return _segment_bytes(_APP0, payload[: _JFIF_BYTES - 2] + b"\0\0")


def _profile(parts: _Parts) -> bytes | None:
    numbers = range(1, parts.profile_count + 1)
    if not parts.profile_parts or any(number not in parts.profile_parts for number in numbers):
        return None
    profile = b"".join(parts.profile_parts[number] for number in numbers)
    return profile if len(profile) <= MAX_PROFILE_BYTES else None


def _profile_segments(profile: bytes) -> list[bytes]:
    size_bytes = _PROFILE_BYTES_OF_SEGMENT
    pieces = [profile[start : start + size_bytes] for start in range(0, len(profile), size_bytes)]
    return [
        _segment_bytes(_APP2, _PROFILE + bytes([number, len(pieces)]) + piece)
        for number, piece in enumerate(pieces, 1)
    ]
