"""Colour profiles (ICC 4.3) made by hand, whose effect can be computed apart from any library."""

import struct

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

#: Columns are red, green and blue as XYZ under D50, the profile connection space's light.
SRGB: Matrix = np.array(
    [[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]]
)
ADOBE_RGB: Matrix = np.array(
    [[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]]
)
# By the definition of their primaries, adapted from D65 to D50 by Bradford's method.
DISPLAY_P3: Matrix = np.array(
    [[0.51510, 0.29196, 0.15715], [0.24118, 0.69224, 0.06658], [-0.00105, 0.04188, 0.78438]]
)
BT_2020: Matrix = np.array(
    [[0.67346, 0.16566, 0.12510], [0.27903, 0.67534, 0.04563], [-0.00193, 0.02998, 0.79716]]
)
_D50 = (0.9642, 1.0, 0.8249)


def rgb_profile(primaries: Matrix, gamma: float | None) -> bytes:
    """A display profile of three primaries; `gamma` None means sRGB's own curve."""
    if gamma is None:
        curve = (
            b"para\0\0\0\0"
            + struct.pack(">HH", 3, 0)
            + _fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
        )
    else:
        curve = b"para\0\0\0\0" + struct.pack(">HH", 0, 0) + _fixed(gamma)
    tags = {name: _xyz(*primaries[:, i]) for i, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
    tags |= {b"rTRC": curve, b"gTRC": curve, b"bTRC": curve}
    return profile(b"mntr", b"RGB ", b"XYZ ", tags)


def grey_profile(gamma: float) -> bytes:
    return profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": _curve(0, gamma)})


def cmyk_profile_where_cyan_prints_red() -> bytes:
    """A press whose first ink is sRGB's red; the other inks darken. No real one does that."""
    white, red, black = (100.0, 0.0, 0.0), (54.29, 80.81, 69.89), (0.0, 0.0, 0.0)
    grid = b""
    for corner in range(16):  # cyan is the slowest of the four
        color = white if corner == 0 else red if corner == 0b1000 else black
        grid += bytes([round(color[0] * 2.55), round(color[1]) + 128, round(color[2]) + 128])
    identity = bytes(range(256))
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + _fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    table += identity * 4 + grid + identity * 3
    return profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": table})


def to_srgb(pixels: NDArray[np.uint8], primaries: Matrix, gamma: float | None) -> NDArray[np.float64]:
    """What pixels of such a profile are in sRGB, 0..255, by the definition of both."""
    curved = pixels / 255.0
    if gamma is None:
        light = np.where(curved <= 0.04045, curved / 12.92, ((curved + 0.055) / 1.055) ** 2.4)
    else:
        light = curved**gamma
    xyz = light @ primaries.T
    linear = np.clip(xyz @ np.linalg.inv(SRGB).T, 0, 1)
    curved = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.asarray(curved * 255)


def _fixed(*values: float) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def _curve(kind: int, *parameters: float) -> bytes:
    return b"para\0\0\0\0" + struct.pack(">HH", kind, 0) + _fixed(*parameters)


def _xyz(x: float, y: float, z: float) -> bytes:
    return b"XYZ \0\0\0\0" + _fixed(x, y, z)


def _text(text: str) -> bytes:
    content = text.encode("utf-16-be")
    return b"mluc\0\0\0\0" + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(content), 28) + content


def profile(kind: bytes, colors: bytes, space: bytes, tags: dict[bytes, bytes]) -> bytes:
    """A profile of this device class, colour space and connection space: `tags` and the usual ones."""
    tags = {b"desc": _text("made by hand"), b"cprt": _text("none"), b"wtpt": _xyz(*_D50), **tags}
    table, body, start = b"", b"", 132 + 12 * len(tags)
    for name, content in tags.items():
        padded = content + b"\0" * (-len(content) % 4)
        table += struct.pack(">4sII", name, start + len(body), len(content))
        body += padded
    size = start + len(body)
    header = struct.pack(">I4sI4s4s4s", size, b"\0" * 4, 0x04300000, kind, colors, space)
    header += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + b"\0" * 28 + _fixed(*_D50)
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body
