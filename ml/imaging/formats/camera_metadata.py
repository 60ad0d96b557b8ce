"""The part of EXIF that says how, when and by whom a photo was made: read and written on request.

Only the tags listed here are kept, so position, serial numbers, thumbnails and makers' notes never are. The
tags and types are those of Exif 2.32 (CIPA DC-008).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_ASCII, _SHORT, _LONG, _RATIONAL, _SIGNED_RATIONAL = 2, 3, 4, 5, 10
#: The size in bytes and the struct code of a value's parts, and how many parts a value has.
_TYPES = {
    _ASCII: ("B", 1),
    _SHORT: ("H", 1),
    _LONG: ("I", 1),
    _RATIONAL: ("I", 2),
    _SIGNED_RATIONAL: ("i", 2),
}

_DETAILS = 0x8769  # points to the directory of the exposure
_TEXTS = frozenset({_ASCII})
_NUMBERS = frozenset({_SHORT, _LONG, _RATIONAL, _SIGNED_RATIONAL})
_IN_FIRST = {
    0x010E: _TEXTS,  # ImageDescription
    0x010F: _TEXTS,  # Make
    0x0110: _TEXTS,  # Model
    0x0132: _TEXTS,  # DateTime
    0x013B: _TEXTS,  # Artist
    0x8298: _TEXTS,  # Copyright
}
_IN_DETAILS = {
    0x829A: _NUMBERS,  # ExposureTime
    0x829D: _NUMBERS,  # FNumber
    0x8822: _NUMBERS,  # ExposureProgram
    0x8827: _NUMBERS,  # PhotographicSensitivity
    0x9003: _TEXTS,  # DateTimeOriginal
    0x9004: _TEXTS,  # DateTimeDigitized
    0x9011: _TEXTS,  # OffsetTimeOriginal
    0x9201: _NUMBERS,  # ShutterSpeedValue
    0x9202: _NUMBERS,  # ApertureValue
    0x9204: _NUMBERS,  # ExposureBiasValue
    0x9207: _NUMBERS,  # MeteringMode
    0x9209: _NUMBERS,  # Flash
    0x920A: _NUMBERS,  # FocalLength
    0xA402: _NUMBERS,  # ExposureMode
    0xA403: _NUMBERS,  # WhiteBalance
    0xA405: _NUMBERS,  # FocalLengthIn35mmFilm
    0xA432: _NUMBERS,  # LensSpecification
    0xA433: _TEXTS,  # LensMake
    0xA434: _TEXTS,  # LensModel
}
_MAX_TEXT_BYTES = 1_000
_MAX_NUMBERS = 4
_MAX_ENTRIES = 500
_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT, _INCH = 0x011A, 0x011B, 0x0128, 2
_RESOLUTION_SCALE = 100
#: In pixels an inch; larger values are mistakes.
MAX_DENSITY = 10_000
_OF_DENSITY = {
    _X_RESOLUTION: frozenset({_RATIONAL}),
    _Y_RESOLUTION: frozenset({_RATIONAL}),
    _RESOLUTION_UNIT: frozenset({_SHORT}),
}


@dataclass(frozen=True)
class ExifTag:
    """One tag; `value` is in big-endian order."""

    tag: int
    kind: int
    count: int
    value: bytes
    is_detail: bool = False


def read(block: bytes | None) -> tuple[ExifTag, ...]:
    """The kept tags of an EXIF block; those that are damaged or too long are left out."""
    return _tags(block, _IN_FIRST, _IN_DETAILS)


def _tags(
    block: bytes | None, in_first: dict[int, frozenset[int]], in_details: dict[int, frozenset[int]]
) -> tuple[ExifTag, ...]:
    if block is None:
        return ()
    block = block.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        return ()
    try:
        (first,) = struct.unpack_from(order + "I", block, 4)
        entries = dict(_directory(block, order, first, in_first, is_detail=False))
        details = _pointer(block, order, first) if in_details else None
        if details is not None:
            entries |= dict(_directory(block, order, details, in_details, is_detail=True))
    except struct.error:
        return ()
    return tuple(entries[tag] for tag in sorted(entries))


def _raw(block: bytes, order: str, start: int) -> Iterator[tuple[int, int, int, int]]:
    """Tag, type, count and the place of the four bytes that hold the value or its offset."""
    (count,) = struct.unpack_from(order + "H", block, start)
    for number in range(min(count, _MAX_ENTRIES)):
        at = start + 2 + 12 * number
        if at + 12 > len(block):
            return
        tag, kind, length = struct.unpack_from(order + "HHI", block, at)
        yield tag, kind, length, at + 8


def _pointer(block: bytes, order: str, first: int) -> int | None:
    for tag, kind, length, place in _raw(block, order, first):
        if (tag, kind, length) == (_DETAILS, _LONG, 1):
            return int(struct.unpack_from(order + "I", block, place)[0])
    return None


def _directory(
    block: bytes, order: str, start: int, wanted: dict[int, frozenset[int]], *, is_detail: bool
) -> Iterator[tuple[int, ExifTag]]:
    for tag, kind, length, place in _raw(block, order, start):
        if kind not in wanted.get(tag, frozenset()):
            continue
        most = _MAX_TEXT_BYTES if kind == _ASCII else _MAX_NUMBERS
        code, parts = _TYPES[kind]
        size = struct.calcsize(order + code) * parts * length
        if not 1 <= length <= most:
            continue
        at = place if size <= 4 else int(struct.unpack_from(order + "I", block, place)[0])
        if at + size > len(block):
            continue
        values = struct.unpack_from(f"{order}{parts * length}{code}", block, at)
        content = struct.pack(f">{parts * length}{code}", *values)
        if kind == _ASCII:
            content = _plain_text(content)
        elif parts == 2 and 0 in values[1::2]:
            continue  # a fraction with denominator 0
        if content:
            yield tag, ExifTag(tag, kind, len(content) if kind == _ASCII else length, content, is_detail)


def _plain_text(content: bytes) -> bytes:
    """The text up to its end, without control characters, ended by a NUL; empty if it is not UTF-8."""
    try:
        text = content.split(b"\0")[0].decode()
    except UnicodeDecodeError:
        return b""
    plain = "".join(character for character in text if character.isprintable()).strip()
    return plain.encode() + b"\0" if plain else b""


def density(block: bytes | None) -> tuple[float, float] | None:
    """The density that an EXIF block states, in pixels an inch, across and down; None if it states none."""
    tags = {tag.tag: tag.value for tag in _tags(block, _OF_DENSITY, {})}
    unit = {2: 1.0, 3: 2.54}.get(int.from_bytes(tags.get(_RESOLUTION_UNIT, b"\0\2"), "big"))
    if unit is None or not {_X_RESOLUTION, _Y_RESOLUTION} <= tags.keys():
        return None
    across, down = (struct.unpack(">II", tags[tag]) for tag in (_X_RESOLUTION, _Y_RESOLUTION))
    values = (across[0] / across[1] * unit, down[0] / down[1] * unit)
    return values if all(1 <= value <= MAX_DENSITY for value in values) else None


def density_tags(dpi: tuple[float, float]) -> tuple[ExifTag, ...]:
    """The tags that state a density in pixels an inch, across and down."""
    values = [
        struct.pack(">II", max(1, round(value * _RESOLUTION_SCALE)), _RESOLUTION_SCALE) for value in dpi
    ]
    return (
        ExifTag(_X_RESOLUTION, _RATIONAL, 1, values[0]),
        ExifTag(_Y_RESOLUTION, _RATIONAL, 1, values[1]),
        ExifTag(_RESOLUTION_UNIT, _SHORT, 1, struct.pack(">H", _INCH)),
    )


def block(entries: tuple[ExifTag, ...]) -> bytes:
    """A TIFF block with `entries`, without the prefix that JPEG needs."""
    first = sorted((entry for entry in entries if not entry.is_detail), key=lambda entry: entry.tag)
    details = sorted((entry for entry in entries if entry.is_detail), key=lambda entry: entry.tag)
    start = 8
    if not details:
        return _HEADER + _packed(first, start)
    pointer = ExifTag(_DETAILS, _LONG, 1, struct.pack(">I", start + _size([*first, _PLACEHOLDER])))
    first = sorted([*first, pointer], key=lambda entry: entry.tag)
    return _HEADER + _packed(first, start) + _packed(details, start + _size(first))


_HEADER = struct.pack(">2sHI", b"MM", 42, 8)
_PLACEHOLDER = ExifTag(_DETAILS, _LONG, 1, bytes(4))


def _padded(value: bytes) -> bytes:
    return value + b"\0" * (len(value) % 2)


def _size(entries: list[ExifTag]) -> int:
    outside = sum(len(_padded(entry.value)) for entry in entries if len(entry.value) > 4)
    return 2 + 12 * len(entries) + 4 + outside


def _packed(entries: list[ExifTag], start: int) -> bytes:
    """A directory that begins at `start`, and its values."""
    directory, values = [struct.pack(">H", len(entries))], b""
    values_start = start + 2 + 12 * len(entries) + 4
    for entry in entries:
        if len(entry.value) <= 4:
            place = entry.value.ljust(4, b"\0")
        else:
            place = struct.pack(">I", values_start + len(values))
            values += _padded(entry.value)
        directory.append(struct.pack(">HHI", entry.tag, entry.kind, entry.count) + place)
    return b"".join([*directory, bytes(4), values])
