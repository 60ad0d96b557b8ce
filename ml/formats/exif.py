"""The one fact that is read from EXIF: which side of the stored picture is up."""

import struct

_ORIENTATION = 0x0112
_SHORT = 3


def orientation(exif: bytes | None) -> int:
    """EXIF orientation 1..8; 1 where there is none or the block is damaged.

    Only the first directory's fixed-size entries are looked at. A general EXIF parser would follow each of up
    to 65,535 entries to data elsewhere in the block, which a hostile file turns into gigabytes.
    """
    if exif is None:
        return 1
    block = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    try:
        if order is None:
            return 1
        (directory,) = struct.unpack_from(order + "I", block, 4)
        (count,) = struct.unpack_from(order + "H", block, directory)
        for entry in range(count):
            tag, kind, length, value = struct.unpack_from(order + "HHIH", block, directory + 2 + 12 * entry)
            if tag == _ORIENTATION:
                return value if kind == _SHORT and length == 1 and 1 <= value <= 8 else 1
    except struct.error:
        return 1
    return 1
