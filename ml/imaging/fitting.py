"""Fitting a picture into a size of another aspect ratio."""

from typing import Literal

import numpy as np

from ml.imaging.geometry import Gravity, fractions, place
from ml.imaging.resampling import resize
from ml.pixels import Pixels

Fit = Literal["contain", "cover", "pad"]
Color = tuple[int, int, int, int]

_WHITE: Color = (255, 255, 255, 255)
_TRANSPARENT: Color = (0, 0, 0, 0)


def contain(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """All of H x W x 3|4, as large as fits into (width, height): it may be smaller in one direction."""
    return resize(pixels, contained_size((pixels.shape[1], pixels.shape[0]), size))


def contained_size(picture: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """The size of `contain`'s result for a picture of (width, height)."""
    scale = min(size[0] / picture[0], size[1] / picture[1])
    return max(1, round(picture[0] * scale)), max(1, round(picture[1] * scale))


def cover(pixels: Pixels, size: tuple[int, int], gravity: Gravity) -> Pixels:
    """As much of H x W x 3|4 as fills (width, height); `gravity` says which part is kept."""
    height, width = pixels.shape[:2]
    scale = max(size[0] / width, size[1] / height)
    # Fractional coordinates, because rounding would distort the picture slightly.
    part_width, part_height = min(size[0] / scale, width), min(size[1] / scale, height)
    across, down = fractions(gravity)
    left, top = (width - part_width) * across, (height - part_height) * down
    return resize(pixels, size, (left, top, left + part_width, top + part_height))


def pad(pixels: Pixels, size: tuple[int, int], gravity: Gravity, color: Color | None) -> Pixels:
    """All of H x W x 3|4 on a canvas of exactly (width, height).

    `color` None: transparent if the picture has transparency, else white. A colour that is not opaque makes
    the answer RGBA.
    """
    inner = contain(pixels, size)
    color = color or (_TRANSPARENT if inner.shape[2] == 4 else _WHITE)
    if inner.shape[2] == 3 and color[3] < 255:
        inner = np.dstack([inner, np.full(inner.shape[:2], 255, np.uint8)])
    height, width, channels = inner.shape
    canvas = np.empty((size[1], size[0], channels), np.uint8)
    canvas[:] = color[:channels]
    left, top = place((width, height), gravity, size)
    canvas[top : top + height, left : left + width] = inner
    return canvas
