"""Fills a hole whose surroundings are smooth, such as a clear sky or a studio's backdrop.

Copies of patches do not fit there: a gradient has each colour only once. A quadratic surface is fitted to the
rim; what the rim deviates from it is continued by a membrane, and the rim's grain is added.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.imaging import pyramid, seams
from ml.imaging.pyramid import Level, Region
from ml.pixels import Pixels

Floats = NDArray[np.float32]

# The rim's width: this share of the hole's depth, within these pixels.
_RIM_SHARE, _NARROWEST_RIM, _WIDEST_RIM = 0.5, 6, 48
_SAMPLES = 4_000
_MIN_SAMPLES = 100
# Of the rim's pixels: the root mean square of what they deviate from the surface, and the largest deviation
# but for one in a hundred, in levels. Noise of 4 levels passes, texture and edges do not.
_MAX_DEVIATION = 5.0
_MAX_OUTLIER = 14.0
# Of the deviations averaged over 9 x 9 pixels: noise averages out, folds and clouds do not.
_MAX_SMOOTH_DEVIATION = 2.5
_AVERAGED = 9
_MAX_MEMBRANE_PIXELS = 250_000
_ZERO = 128


def fill(level: Level, painted: Region, random: np.random.Generator) -> Pixels | None:
    """The colours (H x W x 3) with `painted` filled; None if its surroundings are not smooth all around.

    Holes at the border of the picture are not filled, because a surface is unreliable beyond its rim.
    """
    if painted[0].any() or painted[-1].any() or painted[:, 0].any() or painted[:, -1].any():
        return None
    depth = float(pyramid.depths(painted).max(initial=0))
    width = round(min(max(_RIM_SHARE * depth, _NARROWEST_RIM), _WIDEST_RIM))
    part = _part_around(painted, width + _AVERAGED)
    filled = _filled(level.colors[part], level.usable[part], painted[part], width, random)
    if filled is None:
        return None
    answer = level.colors.copy()
    answer[part][painted[part]] = filled
    return answer


def _part_around(painted: Region, reach: int) -> tuple[slice, slice]:
    """The part of the picture within `reach` pixels of `painted`, which is all that matters."""
    left, top, width, height = cv2.boundingRect(painted.astype(np.uint8))
    rows = slice(max(0, top - reach), top + height + reach)
    return rows, slice(max(0, left - reach), left + width + reach)


def _filled(
    colors: Pixels, usable: Region, painted: Region, width: int, random: np.random.Generator
) -> Pixels | None:
    """The colours (N x 3) of `painted`, by a rim of `width` pixels; None if that is not smooth."""
    inside = painted.astype(np.uint8)
    rim = (cv2.dilate(inside, np.ones((2 * width + 1, 2 * width + 1), np.uint8)) > 0) & ~painted
    if np.count_nonzero(rim) < _MIN_SAMPLES or not usable[rim].all():
        return None
    surface = _surface(colors, rim, random)
    deviations = colors.astype(np.float32) - surface
    if not _is_smooth(deviations, rim):
        return None
    slow, grain = _split(deviations, rim)
    filled = surface[painted] + _continued(slow, painted)[painted]
    filled += grain[random.integers(len(grain), size=len(filled))]
    answer: Pixels = np.rint(np.clip(filled, 0, 255)).astype(np.uint8)
    return answer


def _surface(colors: Pixels, rim: Region, random: np.random.Generator) -> Floats:
    """The quadratic surface (H x W x 3) through the colours at `rim`."""
    rows, columns = np.nonzero(rim)
    chosen = random.choice(len(rows), min(len(rows), _SAMPLES), replace=False)
    height, width = rim.shape
    places = _terms(rows[chosen] / height, columns[chosen] / width)
    values = colors[rows[chosen], columns[chosen]].astype(np.float64)
    weights, *_ = np.linalg.lstsq(places, values, rcond=None)
    down, across = np.arange(height) / height, np.arange(width) / width
    answer = np.zeros((height, width, 3), np.float32)
    for weight, (first, second) in zip(weights, _POWERS, strict=True):
        answer += (down[:, None, None] ** first * across[None, :, None] ** second * weight).astype(np.float32)
    return answer


_POWERS = ((0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2))


def _terms(down: NDArray[np.float64], across: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([down**first * across**second for first, second in _POWERS], axis=1)


def _is_smooth(deviations: Floats, rim: Region) -> bool:
    values = deviations[rim]
    if float(np.sqrt(np.square(values).mean(axis=0)).max()) > _MAX_DEVIATION:
        return False
    if float(np.quantile(np.abs(values).max(axis=1), 0.99)) > _MAX_OUTLIER:
        return False
    averages = _averages(deviations, rim)[rim]
    return float(np.sqrt(np.square(averages).mean(axis=0)).max()) <= _MAX_SMOOTH_DEVIATION


def _averages(deviations: Floats, rim: Region) -> Floats:
    """The mean of the deviations near each pixel, of those in `rim` only."""
    shares = rim.astype(np.float32)
    window = (_AVERAGED, _AVERAGED)
    sums = cv2.blur(deviations * shares[..., None], window)
    answer: Floats = sums / np.maximum(cv2.blur(shares, window), 1e-6)[..., None]
    return answer


def _split(deviations: Floats, rim: Region) -> tuple[Floats, Floats]:
    """What deviates slowly (H x W x 3), and the rim's grain (N x 3)."""
    averages = _averages(deviations, rim)
    return averages, (deviations - averages)[rim]


def _continued(slow: Floats, painted: Region) -> Floats:
    """The slow deviations, continued through `painted`."""
    height, width = painted.shape
    scale = min(1.0, (_MAX_MEMBRANE_PIXELS / int(np.count_nonzero(painted))) ** 0.5)
    size = (max(2, round(width * scale)), max(2, round(height * scale)))
    hole = cv2.resize(painted.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    # In eighths of a level, as bytes.
    scaled = np.clip(cv2.resize(slow, size, interpolation=cv2.INTER_LINEAR) * 8 + _ZERO, 0, 255)
    smooth = seams.membrane(scaled.astype(np.uint8), hole).astype(np.float32)
    answer: Floats = (cv2.resize(smooth, (width, height)) - _ZERO) / 8
    return answer
