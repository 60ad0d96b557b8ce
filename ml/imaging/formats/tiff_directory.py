"""The first directory of a TIFF file, which says where the first page's rows are and what they mean.

Only the tags that this project needs are read, each with a limited number of values, and never a directory
inside another. So neither EXIF nor anything else that a file may carry is parsed.
"""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from ml.imaging.formats.opened import MAX_PROFILE_BYTES, damaged_picture

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
FILL_ORDER, STRIP_OFFSETS, ORIENTATION, SAMPLES, ROWS_PER_STRIP, STRIP_COUNTS = 266, 273, 274, 277, 278, 279
DENSITY_ACROSS, DENSITY_DOWN, PLANES, DENSITY_UNIT, PREDICTOR, COLOR_MAP = 282, 283, 284, 296, 317, 320
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS = 322, 323, 324, 325
INK_SET, EXTRA_SAMPLES, SAMPLE_FORMAT, ICC_PROFILE = 332, 338, 339, 34675
_SUBFILE_TYPE, _DNG_VERSION = 254, 50706

#: 50 megapixels in tiles of 16 x 16 pixels.
SEGMENTS_MAX = 200_000
_SAMPLES_MAX = 8
_VALUES_MAX = {
    STRIP_OFFSETS: SEGMENTS_MAX,
    STRIP_COUNTS: SEGMENTS_MAX,
    TILE_OFFSETS: SEGMENTS_MAX,
    TILE_COUNTS: SEGMENTS_MAX,
    ICC_PROFILE: MAX_PROFILE_BYTES,
    COLOR_MAP: 3 * 256,
    **dict.fromkeys((BITS, EXTRA_SAMPLES, SAMPLE_FORMAT), _SAMPLES_MAX),
    **dict.fromkeys(
        (
            WIDTH, HEIGHT, COMPRESSION, PHOTOMETRIC, FILL_ORDER, ORIENTATION, SAMPLES, ROWS_PER_STRIP,
            DENSITY_ACROSS, DENSITY_DOWN, PLANES, DENSITY_UNIT, PREDICTOR, TILE_WIDTH, TILE_HEIGHT, INK_SET,
            _SUBFILE_TYPE,
        ),
        1,
    ),
    _DNG_VERSION: 4,
}  # fmt: skip
_BYTE, _SHORT, _LONG, _RATIONAL, _UNDEFINED = 1, 3, 4, 5, 7
_VALUE_BYTES = {_BYTE: 1, _SHORT: 2, _LONG: 4, _RATIONAL: 8, _UNDEFINED: 1}
_ENTRY_BYTES = 12
_IS_REDUCED = 1  # a bit of the subfile type: a preview of another page


@dataclass(frozen=True)
class Directory:
    """`values` has the integers of each tag; of a rational, numerator and denominator."""

    order: str  # "<" or ">", as `struct` has it
    values: dict[int, tuple[int, ...]]
    profile: bytes | None
    has_more_pages: bool

    def get(self, tag: int, default: int) -> int:
        """The first value of this tag."""
        return self.values.get(tag, (default,))[0]


def read(data: bytes) -> Directory:
    """Raises `UnreadablePicture`, also for the raw files of cameras, whose first page is a preview."""
    order = "<" if data[:2] == b"II" else ">"
    entries, next_at = _entries(data, order, _unpack(order + "I", data, 4)[0])
    if _DNG_VERSION in entries or data[8:10] == b"CR":
        raise damaged_picture("it is a camera's raw file, which is not supported")
    values = {tag: _values(data, order, *entry) for tag, entry in entries.items() if tag != ICC_PROFILE}
    if values.get(_SUBFILE_TYPE, (0,))[0] & _IS_REDUCED:
        raise damaged_picture("its first page is a preview, as in a camera's raw file; this is not supported")
    profile = None
    if ICC_PROFILE in entries:
        _, count, at = entries[ICC_PROFILE]
        profile = data[at : at + count]
    return Directory(order, values, profile, _has_page(data, order, next_at))


def write(
    order: str, given: Mapping[int, tuple[int, ...]], profile: bytes | None, rows: list[bytes]
) -> bytes:
    """A file of one directory with the `given` values, whose strips or tiles are `rows`.

    The offsets and lengths of the strips or tiles are set here.
    """
    offsets, counts = (TILE_OFFSETS, TILE_COUNTS) if TILE_WIDTH in given else (STRIP_OFFSETS, STRIP_COUNTS)
    values = {**given, offsets: (0,) * len(rows), counts: tuple(map(len, rows))}
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    tags = sorted([*values, *([ICC_PROFILE] if profile is not None else [])])
    body_at = len(head) + 2 + _ENTRY_BYTES * len(tags) + 4
    lengths = {tag: len(_packed(order, tag, values[tag])[1]) for tag in values}
    lengths[ICC_PROFILE] = len(profile or b"")
    rows_at = body_at + sum((lengths[tag] + 1) // 2 * 2 for tag in tags if lengths[tag] > 4)
    values[offsets] = tuple(_starts(rows_at, rows))
    entries, body = [struct.pack(order + "H", len(tags))], []
    for tag in tags:
        kind, content = (
            (_UNDEFINED, profile or b"") if tag == ICC_PROFILE else _packed(order, tag, values[tag])
        )
        count = len(content) // _VALUE_BYTES[kind]
        entry = struct.pack(order + "HHI", tag, kind, count)
        if len(content) <= 4:
            entries.append(entry + content.ljust(4, b"\0"))
            continue
        entries.append(entry + struct.pack(order + "I", body_at))
        body.append(content + b"\0" * (len(content) % 2))
        body_at += len(body[-1])
    return b"".join([head, *entries, b"\0\0\0\0", *body, *rows])


def _starts(at: int, rows: Iterable[bytes]) -> Iterable[int]:
    for each in rows:
        yield at
        at += len(each)


def _packed(order: str, tag: int, values: tuple[int, ...]) -> tuple[int, bytes]:
    """The type of a tag's values, and their bytes."""
    if tag in (DENSITY_ACROSS, DENSITY_DOWN):
        return _RATIONAL, struct.pack(order + "2I", *values)
    is_long = tag in (
        WIDTH, HEIGHT, ROWS_PER_STRIP, STRIP_OFFSETS, STRIP_COUNTS, TILE_OFFSETS, TILE_COUNTS, TILE_WIDTH,
        TILE_HEIGHT,
    )  # fmt: skip
    kind = _LONG if is_long else _SHORT
    return kind, np.array(values, f"{order}u{_VALUE_BYTES[kind]}").tobytes()


def _entries(data: bytes, order: str, at: int) -> tuple[dict[int, tuple[int, int, int]], int]:
    """Type, number and place of the values of each known tag, and where the next directory is."""
    (count,) = _unpack(order + "H", data, at)
    end = at + 2 + _ENTRY_BYTES * count
    (next_at,) = _unpack(order + "I", data, end)
    entries: dict[int, tuple[int, int, int]] = {}
    for start in range(at + 2, end, _ENTRY_BYTES):
        tag, kind, number, place = struct.unpack_from(order + "HHII", data, start)
        if tag not in _VALUES_MAX or tag in entries:
            continue
        if tag == ICC_PROFILE and number > MAX_PROFILE_BYTES:
            continue  # as in all formats
        size_bytes = _VALUE_BYTES.get(kind, 0) * number
        at_value = place if size_bytes > 4 else start + 8
        if not size_bytes or number > _VALUES_MAX[tag] or at_value + size_bytes > len(data):
            raise damaged_picture("its directory is damaged")
        entries[tag] = (kind, number, at_value)
    return entries, next_at


def _values(data: bytes, order: str, kind: int, number: int, at: int) -> tuple[int, ...]:
    if kind == _RATIONAL:
        return _unpack(order + "2I", data, at)
    numbers = np.frombuffer(data, f"{order}u{_VALUE_BYTES[kind]}", number, at)
    return tuple(numbers.tolist())


def _has_page(data: bytes, order: str, at: int) -> bool:
    """Whether there is another page at `at`, and not only a preview of the first one."""
    if not 8 <= at <= len(data) - 6:
        return False
    (count,) = _unpack(order + "H", data, at)
    for start in range(at + 2, min(at + 2 + _ENTRY_BYTES * count, len(data) - _ENTRY_BYTES), _ENTRY_BYTES):
        tag, kind = struct.unpack_from(order + "HH", data, start)
        if tag == _SUBFILE_TYPE:
            value: int = struct.unpack_from(order + ("H" if kind == _SHORT else "I"), data, start + 8)[0]
            return not value & _IS_REDUCED
    return count > 0


def _unpack(form: str, data: bytes, at: int) -> tuple[int, ...]:
    try:
        return struct.unpack_from(form, data, at)
    except struct.error:
        raise damaged_picture("it is cut short before the first row") from None
