"""ICC colour profiles (ICC.1:2022), reduced to the tags that define colours.

A profile can carry anything: tags of its maker, gaps between tags, bytes after the last. Only known tags are
copied into a new profile, each as long as its own type says. What a curve or a lookup table contains cannot
be checked: bytes hidden there are kept, like those hidden in the pixels.
"""

import struct
from collections.abc import Callable

from ml.imaging.formats.opened import MAX_PROFILE_BYTES

_HEADER_BYTES = 128
_ID = slice(84, 100)  # a checksum of the profile
_RESERVED = slice(100, 128)
_TAGS_MAX = 100  # real profiles have up to about 40
_TEXT_BYTES_MAX = 8 * 1024  # a name in forty languages is half as long
_TAGS = {
    b"desc", b"cprt", b"wtpt", b"bkpt", b"chad", b"chrm", b"cicp", b"gamt",
    b"rXYZ", b"gXYZ", b"bXYZ", b"rTRC", b"gTRC", b"bTRC", b"kTRC",
    b"A2B0", b"A2B1", b"A2B2", b"A2B3", b"B2A0", b"B2A1", b"B2A2", b"B2A3",
}  # fmt: skip
_TRANSLATIONS_MAX = 100
_FUNCTION_PARAMETERS = {0: 1, 1: 3, 2: 4, 3: 5, 4: 7}


def essential(profile: bytes) -> bytes | None:
    """The profile with only the tags that define colours, each cut to its length; None if it is not valid.

    Bytes after the profile's own end are ignored. A profile without anything else is returned unchanged.
    """
    try:
        (size, count) = struct.unpack_from(">I124xI", profile)
        if not _HEADER_BYTES < size <= min(len(profile), MAX_PROFILE_BYTES) or profile[36:40] != b"acsp":
            return None
        if count > _TAGS_MAX:
            return None
        entries = [struct.unpack_from(">4sII", profile, 132 + 12 * number) for number in range(count)]
    except struct.error:
        return None
    used: dict[bytes, tuple[int, int]] = {}
    for name, start, length in entries:
        if name in _TAGS and start + length <= size:
            used.setdefault(name, (start, length))  # readers use the first of a name
    places = set(used.values())
    # Tags may share their content, but overlapping ones would multiply the size, and the time to check it.
    if sum(length for _, length in places) > 2 * size:
        return None
    found = {(start, length): _cleaned(profile[start : start + length]) for start, length in places}
    tags = [
        (place[0], name, content) for name, place in used.items() if (content := found[place]) is not None
    ]
    if not tags:
        return None
    joined = _joined(profile[:size], tags)
    return joined if len(joined) <= MAX_PROFILE_BYTES else None


def _joined(profile: bytes, tags: list[tuple[int, bytes, bytes]]) -> bytes:
    """A profile of `tags`: where each began, its name and its content. Those that began together share it."""
    begin = 132 + 12 * len(tags)
    body = bytearray()
    places: dict[tuple[int, bytes], int] = {}
    for start, _, content in sorted(tags):
        if (start, content) not in places:
            body += bytes(-len(body) % 4)
            places[start, content] = begin + len(body)
            body += content
    table = b"".join(
        struct.pack(">4sII", name, places[start, content], len(content)) for start, name, content in tags
    )
    # Some writers pad the last tag, others do not.
    padding = bytes(-len(body) % 4 if len(profile) % 4 == 0 else 0)
    header = bytearray(profile[:_HEADER_BYTES])
    header[:4] = struct.pack(">I", begin + len(body) + len(padding))
    header[_RESERVED] = bytes(28)
    answer = bytes(header) + struct.pack(">I", len(tags)) + table + bytes(body) + padding
    if answer == profile:
        return answer
    header[_ID] = bytes(16)
    return bytes(header) + answer[_HEADER_BYTES:]


def _cleaned(tag: bytes) -> bytes | None:
    """The tag without bytes after its content; None if its type is not a known one or it is not valid."""
    clean = _TYPES.get(tag[:4])
    try:
        answer = None if clean is None else clean(tag)
    except (struct.error, UnicodeDecodeError):
        return None
    return answer if answer is None or len(answer) <= len(tag) else None


def _of_length(tag: bytes, length: int) -> bytes | None:
    return tag[:4] + bytes(4) + tag[8:length] if len(tag) >= length else None


def _curve(tag: bytes) -> bytes | None:
    (count,) = struct.unpack_from(">I", tag, 8)
    return _of_length(tag, 12 + 2 * count)


def _function(tag: bytes) -> bytes | None:
    (kind,) = struct.unpack_from(">H", tag, 8)
    count = _FUNCTION_PARAMETERS.get(kind)
    return None if count is None else _of_length(tag, 12 + 4 * count)


def _table_of_8_bits(tag: bytes) -> bytes | None:
    inputs, outputs, steps = struct.unpack_from(">BBB", tag, 8)
    return _table(tag, 48, 256 * inputs, 256 * outputs, steps, inputs, outputs, 1)


def _table_of_16_bits(tag: bytes) -> bytes | None:
    inputs, outputs, steps = struct.unpack_from(">BBB", tag, 8)
    input_entries, output_entries = struct.unpack_from(">HH", tag, 48)
    return _table(tag, 52, input_entries * inputs, output_entries * outputs, steps, inputs, outputs, 2)


def _table(
    tag: bytes,
    header_bytes: int,
    input_values: int,
    output_values: int,
    steps: int,
    inputs: int,
    outputs: int,
    value_bytes: int,
) -> bytes | None:
    if not 1 <= inputs <= 16:
        return None
    values = input_values + steps**inputs * outputs + output_values
    return _of_length(tag, header_bytes + value_bytes * values)


def _plain_text(tag: bytes) -> bytes | None:
    return tag if _is_text(tag[8:].rstrip(b"\0").decode("latin-1")) else None


def _described(tag: bytes) -> bytes | None:
    """A text of version 2, without its translations."""
    (count,) = struct.unpack_from(">I", tag, 8)
    text = tag[12 : 12 + count]
    if len(text) < count or not _is_text(text.rstrip(b"\0").decode("latin-1")):
        return None
    return (tag[:4] + bytes(4) + tag[8 : 12 + count]).ljust(len(tag), b"\0")


def _translated(tag: bytes) -> bytes | None:
    count, record_bytes = struct.unpack_from(">II", tag, 8)
    texts_at = 16 + 12 * count
    if record_bytes != 12 or count > _TRANSLATIONS_MAX or texts_at > len(tag):
        return None
    records = [struct.unpack_from(">II", tag, 20 + 12 * number) for number in range(count)]
    texts = {(start, length) for length, start in records}  # several languages may share one
    if sum(length for _, length in texts) > len(tag):
        return None
    unused = bytearray(tag[texts_at:])
    for start, length in texts:
        text = tag[start : start + length]
        if start < texts_at or len(text) < length or length % 2:
            return None
        if not _is_text(text.decode("utf-16-be").rstrip("\0")):
            return None
        unused[start - texts_at : start - texts_at + length] = bytes(length)
    return None if any(unused) else tag


def _is_text(text: str) -> bool:
    return len(text) <= _TEXT_BYTES_MAX and "".join(text.split()).isprintable()


_TYPES: dict[bytes, Callable[[bytes], bytes | None]] = {
    b"XYZ ": lambda tag: _of_length(tag, 20),
    b"sf32": lambda tag: _of_length(tag, 44),
    b"chrm": lambda tag: _of_length(tag, 36),
    b"cicp": lambda tag: _of_length(tag, 12),
    b"curv": _curve,
    b"para": _function,
    b"mft1": _table_of_8_bits,
    b"mft2": _table_of_16_bits,
    b"mAB ": lambda tag: tag,
    b"mBA ": lambda tag: tag,
    b"text": _plain_text,
    b"desc": _described,
    b"mluc": _translated,
}
