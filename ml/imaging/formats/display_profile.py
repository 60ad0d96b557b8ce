"""Makes ICC profiles of displays: three primaries and one curve. They are the same bytes each time."""

import functools
import struct
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Xyz = tuple[float, float, float]


class Chromaticity(NamedTuple):
    x: float
    y: float


class Chromaticities(NamedTuple):
    white: Chromaticity
    red: Chromaticity
    green: Chromaticity
    blue: Chromaticity


SRGB = Chromaticities(
    Chromaticity(0.3127, 0.3290), Chromaticity(0.64, 0.33), Chromaticity(0.30, 0.60), Chromaticity(0.15, 0.06)
)
_D50 = (0.9642, 1.0, 0.8249)
# Cone responses of Bradford's chromatic adaptation.
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
# Real primaries are below 1.3.
_LARGEST_XYZ = 4


def build(primaries: tuple[Xyz, Xyz, Xyz], gamma: float | None = None, name: str = "RGB") -> bytes:
    """A profile of red, green and blue as XYZ under D50, shown as `name`.

    `gamma` is the display's; None means sRGB's curve.
    """
    if gamma is None:
        curve = b"para\0\0\0\0\0\3\0\0" + _fixed(*_SRGB_CURVE)
    else:
        curve = b"para\0\0\0\0\0\0\0\0" + _fixed(gamma)
    tags = [(b"desc", _text(name)), (b"cprt", _text("None")), (b"wtpt", _xyz(_D50))]
    for letter, color in zip((b"r", b"g", b"b"), primaries, strict=True):
        tags += [(letter + b"XYZ", _xyz(color)), (letter + b"TRC", curve)]
    table, body, start = b"", b"", 132 + 12 * len(tags)
    for tag, content in tags:
        table += struct.pack(">4sII", tag, start + len(body), len(content))
        body += content
    header = struct.pack(">I4sI", start + len(body), b"", 0x04300000) + b"mntrRGB XYZ " + b"\0" * 12 + b"acsp"
    header += b"\0" * 28 + _fixed(*_D50)
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


@functools.cache
def srgb() -> bytes:
    """A profile of sRGB."""
    primaries = primaries_under_d50(SRGB)
    assert primaries is not None
    return build(primaries, name="sRGB")


def primaries_under_d50(colors: Chromaticities) -> tuple[Xyz, Xyz, Xyz] | None:
    """Red, green and blue as XYZ, adapted to D50; None if such a display cannot exist."""
    if min(color.y for color in colors) <= 0:
        return None
    white, *others = (np.array([color.x, color.y, 1 - color.x - color.y]) / color.y for color in colors)
    columns = np.column_stack(others)
    if abs(np.linalg.det(columns)) < 1e-6:
        return None
    display = columns * np.linalg.solve(columns, white)
    found_white, wanted_white = _BRADFORD @ white, _BRADFORD @ np.array(_D50)
    if found_white.min() <= 0:
        return None
    adapted: NDArray[np.float64] = (
        np.linalg.inv(_BRADFORD) @ np.diag(wanted_white / found_white) @ _BRADFORD @ display
    )
    if not np.abs(adapted).max() < _LARGEST_XYZ:
        return None
    red, green, blue = (tuple(map(float, column)) for column in adapted.T)
    return (red[0], red[1], red[2]), (green[0], green[1], green[2]), (blue[0], blue[1], blue[2])


def _text(text: str) -> bytes:
    content = text.encode("utf-16-be")
    record = b"mluc\0\0\0\0" + struct.pack(">II4sII", 1, 12, b"enUS", len(content), 28) + content
    return record + bytes(-len(record) % 4)


def _xyz(color: Xyz) -> bytes:
    return b"XYZ \0\0\0\0" + _fixed(*color)


def _fixed(*values: float) -> bytes:
    """ICC's s15Fixed16 numbers."""
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))
