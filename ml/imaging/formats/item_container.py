"""AVIF and HEIC files as containers (ISO/IEC 14496-12 and 23008-12), parsed without a decoder.

A file is a list of boxes. `meta` describes items: the picture, its tiles, its transparency, EXIF, XMP and
thumbnails. `iloc` contains the file offset of each item, so nothing is moved here: unneeded bytes are
overwritten with zeros in place.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from ml.imaging.formats import icc
from ml.imaging.formats.opened import check_size, damaged_picture

# Real files have about ten boxes; a picture of tiles has an item for each.
_MAX_BOXES = 20_000
_MAX_EXTENTS = 100_000
_MAX_HOLDERS = 16  # boxes that contain pixels
_FTYP_BYTES = 256
#: Item types of pictures, coded or derived from others.
_PICTURES = {b"av01", b"hvc1", b"grid", b"iden", b"iovl"}
_META_KEPT = {b"hdlr", b"pitm", b"iinf", b"iloc", b"iref", b"iprp", b"idat"}
# Properties that define how pixels are decoded and displayed, with the most bytes that their content has.
_PROPERTIES = {
    b"ispe": 12, b"pixi": 32, b"colr": 1 << 32, b"av1C": 512, b"hvcC": 4096, b"irot": 1, b"imir": 1,
    b"clap": 32, b"pasp": 8, b"auxC": 256, b"a1op": 1, b"lsel": 2, b"a1lx": 13, b"clli": 8, b"mdcv": 24,
}  # fmt: skip
_PROFILES = (b"prof", b"rICC")
_CODE_POINTS_BYTES = 11  # of a `colr` box without a profile
# A sequence is stored as the still picture that it also holds.
_STILL_BRANDS = {b"avis": b"avif", b"msf1": b"mif1", b"hevc": b"heic", b"hevx": b"heix"}


@dataclass(frozen=True)
class _Box:
    name: bytes
    start: int
    body: int  # where its content begins
    end: int


@dataclass
class _Item:
    place: _Box  # of its entry in `iinf`
    kind: bytes = b""
    name_at: int = 0
    extents: list[tuple[int, int]] = field(default_factory=list)  # (start, end) in the file


class _Unusual(Exception):
    """A valid layout that this module does not support."""


def strip_metadata(data: bytes, max_pixels: int) -> bytes | None:
    """The same picture without EXIF, XMP, thumbnails, names, further pictures and trailing bytes.

    Nothing is decoded: compressed pixels and display properties are unchanged. None for an unsupported
    layout, such as a sequence without a still picture, which has to be re-encoded. Raises
    `UnreadablePicture`, and `PictureTooLarge` for the size that the container claims.
    """
    try:
        return _stripped(data, max_pixels)
    except _Unusual:
        return None
    except (struct.error, IndexError):
        raise damaged_picture("its container is damaged") from None


def has_sequence(data: bytes) -> bool:
    """Whether a track of frames (`moov`) belongs to the file."""
    return any(box.name == b"moov" for box in _top_boxes(data))


def _stripped(data: bytes, max_pixels: int) -> bytes:
    top = list(_top_boxes(data))
    metas = [box for box in top if box.name == b"meta"]
    if not top or top[0].name != b"ftyp" or top[0].end > _FTYP_BYTES:
        raise damaged_picture("it does not begin with its type")
    if len(metas) != 1:
        raise _Unusual
    meta = metas[0]
    out = bytearray(len(data))
    _copy_type(data, top[0], out)
    inner = {box.name: box for box in _boxes(data, meta.body + 4, meta.end)}
    if not {b"pitm", b"iinf", b"iloc"} <= set(inner):
        raise _Unusual
    if b"iprp" in inner:
        _check_sizes(data, inner[b"iprp"], max_pixels)
    items = _items(data, inner[b"iinf"])
    _find_extents(data, inner, items)
    kept = _needed_items(data, inner, items)
    _copy_meta(data, meta, inner, items, kept, out)
    end = max(top[0].end, meta.end, _copy_pixels(data, top, inner.get(b"idat"), items, kept, out))
    for box in top[1:]:
        if box.end <= end and box is not meta and box.name != b"mdat":
            _blank(data, box, out)
    return bytes(out[:end])


def _top_boxes(data: bytes) -> Iterator[_Box]:
    """Boxes up to the first invalid one, which excludes data appended to the file."""
    position = 0
    for _ in range(_MAX_BOXES):
        box = _box_at(data, position, len(data))
        if box is None:
            return
        yield box
        position = box.end


def _boxes(data: bytes, start: int, end: int) -> Iterator[_Box]:
    for _ in range(_MAX_BOXES):
        if start >= end:
            return
        box = _box_at(data, start, end)
        if box is None:
            raise damaged_picture("its container is damaged")
        yield box
        start = box.end
    raise damaged_picture(f"it has more than {_MAX_BOXES} boxes")


def _box_at(data: bytes, start: int, limit: int) -> _Box | None:
    if start + 8 > limit:
        return None
    size, name = struct.unpack_from(">I4s", data, start)
    body = start + 8
    if size == 1 and start + 16 <= limit:
        (size,) = struct.unpack_from(">Q", data, body)
        body += 8
    elif size == 0:
        size = limit - start
    end = start + size
    return _Box(name, start, body, end) if body <= end <= limit else None


def _copy_type(data: bytes, box: _Box, out: bytearray) -> None:
    out[: box.end] = data[: box.end]
    for at in (box.body, *range(box.body + 8, box.end - 3, 4)):
        brand = data[at : at + 4]
        out[at : at + 4] = _STILL_BRANDS.get(brand, brand)


def _items(data: bytes, iinf: _Box) -> dict[int, _Item]:
    version = data[iinf.body]
    entries = _boxes(data, iinf.body + (6 if version == 0 else 8), iinf.end)
    items: dict[int, _Item] = {}
    for entry in entries:
        entry_version = data[entry.body]
        if entry.name != b"infe" or entry_version not in (2, 3):
            raise _Unusual
        at = entry.body + 4
        number, at = _number(data, at, 2 if entry_version == 2 else 4)
        items[number] = _Item(entry, data[at + 2 : at + 6], at + 6)
    return items


def _find_extents(data: bytes, inner: dict[bytes, _Box], items: dict[int, _Item]) -> None:
    iloc = inner[b"iloc"]
    version, sizes = data[iloc.body], struct.unpack_from(">BB", data, iloc.body + 4)
    offset_bytes, length_bytes = sizes[0] >> 4, sizes[0] & 15
    base_bytes, index_bytes = sizes[1] >> 4, (sizes[1] & 15 if version else 0)
    if version > 2:
        raise _Unusual
    id_bytes = 4 if version == 2 else 2
    count, at = _number(data, iloc.body + 6, id_bytes)
    total, extents_seen = 0, 0
    for _ in range(count):
        number, at = _number(data, at, id_bytes)
        method = 0
        if version:
            method, at = _number(data, at, 2)
        data_reference, at = _number(data, at, 2)
        base, at = _number(data, at, base_bytes)
        extents, at = _number(data, at, 2)
        extents_seen += extents
        if at > iloc.end or extents_seen > _MAX_EXTENTS:
            raise damaged_picture("its container is damaged")
        for _ in range(extents):
            _, at = _number(data, at, index_bytes)
            offset, at = _number(data, at, offset_bytes)
            length, at = _number(data, at, length_bytes)
            item = items.get(number)
            if item is None:
                continue
            if data_reference or method not in (0, 1) or (method == 1 and b"idat" not in inner):
                raise _Unusual
            start = base + offset + (inner[b"idat"].body if method == 1 else 0)
            if not length:
                raise _Unusual
            if start + length > len(data):
                raise damaged_picture("it is cut short")
            item.extents.append((start, start + length))
            total += length
    if total > 2 * len(data):
        raise damaged_picture("its items overlap")


def _needed_items(data: bytes, inner: dict[bytes, _Box], items: dict[int, _Item]) -> set[int]:
    """The primary picture, the items it is derived from, and its auxiliary pictures such as alpha."""
    pitm = inner[b"pitm"]
    primary, _ = _number(data, pitm.body + 4, 4 if data[pitm.body] else 2)
    made_of: dict[int, list[int]] = {}
    if b"iref" in inner:
        iref = inner[b"iref"]
        id_bytes = 4 if data[iref.body] else 2
        for box in _boxes(data, iref.body + 4, iref.end):
            source, at = _number(data, box.body, id_bytes)
            count, at = _number(data, at, 2)
            if at + count * id_bytes > box.end:
                raise damaged_picture("its container is damaged")
            targets = [_number(data, at + place * id_bytes, id_bytes)[0] for place in range(count)]
            if box.name == b"dimg":
                made_of.setdefault(source, []).extend(targets)
            elif box.name == b"auxl":
                for target in targets:
                    made_of.setdefault(target, []).append(source)
    needed: set[int] = set()
    waiting = [primary]
    while waiting:
        number = waiting.pop()
        if number in needed:
            continue
        if number not in items or items[number].kind not in _PICTURES:
            raise _Unusual
        needed.add(number)
        waiting += made_of.get(number, [])
    return needed


def _copy_meta(
    data: bytes,
    meta: _Box,
    inner: dict[bytes, _Box],
    items: dict[int, _Item],
    kept: set[int],
    out: bytearray,
) -> None:
    out[meta.start : meta.body + 4] = data[meta.start : meta.body + 4]
    for box in _boxes(data, meta.body + 4, meta.end):
        if box.name not in _META_KEPT or box != inner[box.name]:
            _blank(data, box, out)
            continue
        # Of `idat`, only the bytes of kept items are copied later.
        stop = box.body if box.name == b"idat" else box.end
        out[box.start : stop] = data[box.start : stop]
        if box.name == b"hdlr":
            _zero(out, box.body + 24, box.end)  # a name
        elif box.name == b"iprp":
            _blank_properties(data, box, out)
    for number, item in items.items():
        if number not in kept:
            out[item.name_at - 4 : item.name_at] = b"skip"
        _zero(out, item.name_at, item.place.end)


def _check_sizes(data: bytes, iprp: _Box, max_pixels: int) -> None:
    for box in _boxes(data, iprp.body, iprp.end):
        if box.name == b"ipco":
            for one in _boxes(data, box.body, box.end):
                if one.name == b"ispe":
                    width, height = struct.unpack_from(">II", data, one.body + 4)
                    check_size(width, height, max_pixels)


def _blank_properties(data: bytes, iprp: _Box, out: bytearray) -> None:
    """Properties are referenced by index, so unneeded ones are blanked in place."""
    for box in _boxes(data, iprp.body, iprp.end):
        if box.name == b"ipco":
            for one in _boxes(data, box.body, box.end):
                if one.end - one.body > _PROPERTIES.get(one.name, -1):
                    _blank(data, one, out)
                elif one.name == b"colr":
                    _clean_profile(data, one, out)
        elif box.name != b"ipma":
            _blank(data, box, out)


def _clean_profile(data: bytes, colr: _Box, out: bytearray) -> None:
    """Replace the profile by its essential part, followed by zeros."""
    begin = colr.body + 4
    if data[colr.body : begin] in _PROFILES:
        profile = icc.essential(data[begin : colr.end])
        if profile is not None and len(profile) <= colr.end - begin:
            _zero(out, begin, colr.end)
            out[begin : begin + len(profile)] = profile
            return
    elif colr.end - colr.body <= _CODE_POINTS_BYTES:
        return
    _blank(data, colr, out)


def _copy_pixels(
    data: bytes,
    top: list[_Box],
    idat: _Box | None,
    items: dict[int, _Item],
    kept: set[int],
    out: bytearray,
) -> int:
    """The bytes of the kept items; the end of the last box that holds any."""
    holders = [box for box in top if box.name == b"mdat"]
    if idat is not None:
        holders.append(idat)
    for box in holders:
        out[box.start : box.body] = data[box.start : box.body]
    if len(holders) > _MAX_HOLDERS:
        raise _Unusual
    end = 0
    for number in kept:
        for start, stop in items[number].extents:
            holder = next((box for box in holders if box.body <= start and stop <= box.end), None)
            if holder is None:
                raise _Unusual
            out[start:stop] = data[start:stop]
            is_open = data[holder.start : holder.start + 4] == bytes(4)  # it extends to the end of the file
            end = max(end, stop if is_open else holder.end)
    return end


def _blank(data: bytes, box: _Box, out: bytearray) -> None:
    """Replace a box by a `free` box of the same size, which readers skip."""
    out[box.start : box.body] = data[box.start : box.body]
    out[box.start + 4 : box.start + 8] = b"free"
    _zero(out, box.body, box.end)


def _zero(out: bytearray, start: int, end: int) -> None:
    out[start:end] = bytes(max(0, end - start))


def _number(data: bytes, at: int, size_bytes: int) -> tuple[int, int]:
    """A big-endian number of `size_bytes` (0 is allowed), and the position after it."""
    if at + size_bytes > len(data):
        raise damaged_picture("it is cut short")
    return int.from_bytes(data[at : at + size_bytes], "big"), at + size_bytes
