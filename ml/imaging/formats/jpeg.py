"""JPEG, and the first picture of MPO and of JPEGs with a gain map."""

import io
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from PIL import Image

from ml.imaging.formats import exif
from ml.imaging.formats.opened import MAX_PROFILE_BYTES, Opened, check_size, damaged

# Cameras write tens of segments, panoramas with large XMP some hundreds.
_MAX_SEGMENTS = 10_000
# Progressive files have about ten scans. Each costs a pass over all coefficients, so a small file with
# thousands of empty scans would keep a worker busy for minutes.
_MAX_SCANS = 100

_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
_APP0, _APP1, _APP2, _APP14, _APP15, _COM = 0xE0, 0xE1, 0xE2, 0xEE, 0xEF, 0xFE
_FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
_BARE = {0x00, 0x01, *range(0xD0, 0xD8), _SOI}  # no length follows
# Between segments any number of FF may stand before a marker, and some writers leave junk.
_ANY_MARKER = re.compile(rb"\xff[^\xff]")
# Inside a scan FF00 is a literal FF and FFD0..FFD7 are restart marks; anything else ends the scan.
_NEXT_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")


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


def size(data: bytes) -> tuple[int, int]:
    """Stored width and height in pixels, from the frame header."""
    for segment in _segments(data):
        if segment.marker in _FRAMES:
            return _frame_size(segment.payload)
    raise damaged("it is cut short before the first row")


def read(data: bytes, max_pixels: int) -> Opened:
    """The first picture, L, RGB or CMYK with 255 = full ink.

    CMYK files are taken to be stored inverted, as Adobe's are; without Adobe's mark too, as browsers do.
    """
    parts = _take_apart(data, max_pixels)
    image = Image.open(io.BytesIO(b"".join(parts.kept)), formats=["JPEG"])
    image.load()
    return Opened(image, _profile(parts), exif.orientation(parts.exif))


def _take_apart(data: bytes, max_pixels: int) -> _Parts:
    parts = _Parts()
    for segment in _segments(data):
        if segment.marker in _FRAMES:
            if parts.size is not None:
                raise damaged("it has two frame headers")
            parts.size = _frame_size(segment.payload)
            check_size(*parts.size, max_pixels)
        elif segment.marker == _SOS:
            parts.scans += 1
            if parts.scans > _MAX_SCANS:
                raise damaged(f"it has more than {_MAX_SCANS} scans")
        if _is_needed(parts, segment):
            parts.kept.append(data[segment.start : segment.end])
    if parts.size is None or not parts.scans:
        raise damaged("it is cut short before the first row")
    return parts


def _segments(data: bytes) -> Iterator[_Segment]:
    """Up to and including the end of the first picture; a missing end is left to the decoder to judge."""
    position = 2
    for _ in range(_MAX_SEGMENTS):
        found = _ANY_MARKER.search(data, position)
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
            following = _NEXT_MARKER.search(data, position)
            position = following.start() if following else len(data)
        yield _Segment(marker, payload, start, position)
    raise damaged(f"it has more than {_MAX_SEGMENTS} segments")


def _payload(data: bytes, position: int) -> bytes:
    if position + 4 > len(data):
        raise damaged("it is cut short")
    (length,) = struct.unpack_from(">H", data, position + 2)
    end = position + 2 + length
    if length < 2 or end > len(data):
        raise damaged("it is cut short or a segment is damaged")
    return data[position + 4 : end]


def _frame_size(payload: bytes) -> tuple[int, int]:
    if len(payload) < 6:
        raise damaged("its frame header is damaged")
    height, width = struct.unpack_from(">HH", payload, 1)
    return width, height


def _is_needed(parts: _Parts, segment: _Segment) -> bool:
    """Whether the decoder needs this segment. EXIF and ICC are noted here and not passed on."""
    marker, payload = segment.marker, segment.payload
    if marker == _APP1 and payload.startswith(b"Exif\0\0") and parts.exif is None:
        parts.exif = payload
    if marker == _APP2 and payload.startswith(b"ICC_PROFILE\0") and len(payload) > 14:
        parts.profile_parts[payload[12]] = payload[14:]
        parts.profile_count = payload[13]
    if marker == _APP0:
        return payload.startswith(b"JFIF\0")
    if marker == _APP14:
        return payload.startswith(b"Adobe")
    return marker != _COM and not _APP1 <= marker <= _APP15


def _profile(parts: _Parts) -> bytes | None:
    numbers = range(1, parts.profile_count + 1)
    if not parts.profile_parts or any(number not in parts.profile_parts for number in numbers):
        return None
    profile = b"".join(parts.profile_parts[number] for number in numbers)
    return profile if len(profile) <= MAX_PROFILE_BYTES else None
