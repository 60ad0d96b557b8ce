"""Reads the orientation from EXIF, and nothing else."""

import struct

from PIL import Image

_ORIENTATION = 0x0112
_SHORT = 3
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def orientation(exif: bytes | None) -> int:
    """EXIF orientation 1..8; 1 where there is none or the block is damaged.

    Reads only the fixed-size entries of the first directory. A general EXIF parser would follow up to 65,535
    entries to data elsewhere in the block, which a malicious file can expand to gigabytes.
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


def orientation_only(orientation: int) -> bytes:
    """A TIFF block with this orientation (1..8) and nothing else."""
    return struct.pack(">2sHIHHHIHHI", b"MM", 42, 8, 1, _ORIENTATION, _SHORT, 1, orientation, 0, 0)


def apply_orientation(image: Image.Image, orientation: int) -> Image.Image:
    """Rotate and flip the stored picture upright."""
    turn = _TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)
