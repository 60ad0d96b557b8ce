"""Removes JPEG's block edges and sensor noise before a picture is enlarged.

The picture is compressed again with its blocks at several other places, and the results are averaged
(Nosratinia, "Enhancement of JPEG-compressed images by re-application of JPEG", 2001). What depends on the
place of the blocks is averaged out, edges stay. With tables made for a standard deviation of noise, this is
translation-invariant denoising by thresholds of cosine transforms.
"""

import io
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ml.pixels import Pixels

#: The luminance's and the colours' 64 quantisation steps.
Tables = tuple[tuple[int, ...], ...]

# The two grids whose blocks lie farthest apart, then those between: twice as many gain 0.05 dB more.
_SHIFTS = ((0, 0), (4, 4), (2, 6), (6, 2), (0, 4), (4, 0), (2, 2), (6, 6))
_BLOCK = 8
_ROWS_AT_ONCE = 1024
# Finer tables, of qualities above about 94, leave no visible blocks.
_VISIBLE_STEP = 2.5
_LOW_FREQUENCIES = (0, 1, 2, 8, 9, 16)
# In standard deviations of the noise. 4 gave the best enlargements for 3 to 15 levels.
_NOISE_STEP = 4
_MAX_STEP = 255
#: From this standard deviation on, in levels, networks enlarge the noise so much that plain resampling is
#: closer to the truth.
NOISY = 4.0
# Noise is measured in the flattest of these squares.
_SQUARE = 16
_FLATTEST_SHARE = 0.3
_MIN_SQUARES = 20
# Averaged over 2 x 2 pixels, noise is half as strong, and texture hardly weaker. Photos with grey noise
# measured 0.5 to 0.6, grass, gravel, coins and pages of text 0.66 and more.
_AVERAGED_NOISE_MAX = 0.62
# Fine patterns (cloth, hatching, dithering) nearly vanish in the average, 0 to 0.33; noise is 0.47 and more.
_AVERAGED_NOISE_MIN = 0.4
# What is stronger, in levels, is drawn.
_STRONGEST_NOISE = 50.0
# Standard deviations of the luminance and of a difference of channels, for independent noise of 1 in each.
_GREY_NOISE, _DIFFERENCE_NOISE = 0.668, 2**0.5


def has_visible_blocks(tables: Tables) -> bool:
    """Whether a JPEG with these tables can show block edges."""
    return float(np.mean([tables[0][place] for place in _LOW_FREQUENCIES])) > _VISIBLE_STEP


def noise_tables(deviation: float) -> Tables:
    """The tables that remove noise of this standard deviation, in levels."""
    step = max(1, min(_MAX_STEP, round(_NOISE_STEP * deviation)))
    return ((step,) * 64,)


def noise_deviation(pixels: Pixels) -> float:
    """The standard deviation of the noise in `pixels` (H x W x 3), in levels; 0 where it cannot be measured.

    Measured by a second difference that is 0 on slopes (Immerkaer 1996), where the picture is flattest, in
    the luminance and in the differences of the channels: texture is in all channels alike, the noise of
    sensors is not. The smallest counts, because noise that is kept does less harm than texture that is
    removed. Averaging distinguishes grey noise, as in scans of film, from texture, and all noise from fine
    patterns, whose pixels alternate.
    """
    height, width = (side // _SQUARE for side in pixels.shape[:2])
    if height * width < _MIN_SQUARES:
        return 0.0
    whole = pixels[: height * _SQUARE, : width * _SQUARE]
    red, green, blue = cv2.split(whole)
    luminance = cv2.cvtColor(whole, cv2.COLOR_RGB2GRAY)
    half = (whole.shape[1] // 2, whole.shape[0] // 2)
    averaged = cv2.resize(luminance.astype(np.float32), half, interpolation=cv2.INTER_AREA)
    in_luminance, in_average, *in_differences = (
        _plane_deviation(plane, (width, height))
        for plane in (
            luminance,
            averaged,
            cv2.subtract(red, green, dtype=cv2.CV_32F),
            cv2.subtract(blue, green, dtype=cv2.CV_32F),
        )
    )
    if in_average < _AVERAGED_NOISE_MIN * in_luminance:
        return 0.0
    in_colours = min(in_luminance / _GREY_NOISE, min(in_differences) / _DIFFERENCE_NOISE)
    # Noise that all channels share counts unless it may be texture.
    in_grey = in_luminance if in_average < _AVERAGED_NOISE_MAX * in_luminance else 0.0
    deviation = max(in_colours, in_grey)
    return deviation if deviation <= _STRONGEST_NOISE else 0.0


def _plane_deviation(plane: NDArray[Any], squares: tuple[int, int]) -> float:
    mask = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    energy = np.square(cv2.filter2D(plane, cv2.CV_32F, mask))
    means = cv2.resize(energy, squares, interpolation=cv2.INTER_AREA)
    return float(np.sqrt(np.quantile(means, _FLATTEST_SHARE) / np.square(mask).sum()))


def reduce(pixels: Pixels, tables: Tables, on_step: Callable[[float], None]) -> Pixels:
    """`pixels` (H x W x 3) without what these tables quantise away at most places of the blocks.

    Flat areas keep their value, greys stay grey. `on_step` is called with the fraction done and may raise.
    """
    # The mean of a block is kept exactly: quantised, it would move flat areas.
    used = [[1, *table[1:]] for table in (tables[0], tables[1] if len(tables) > 1 else tables[0])]
    height = pixels.shape[0]
    answer = np.empty_like(pixels)
    for top in range(0, height, _ROWS_AT_ONCE):
        bottom = min(height, top + _ROWS_AT_ONCE)
        first, last = max(0, top - 2 * _BLOCK), min(height, bottom + 2 * _BLOCK)
        part = pixels[first:last]
        total = np.zeros(part.shape, np.uint16)
        for number, shift in enumerate(_SHIFTS):
            on_step((top + (bottom - top) * number / len(_SHIFTS)) / height)
            total += _reencoded(part, used, shift)
        mean = (total + len(_SHIFTS) // 2) // len(_SHIFTS)
        answer[top:bottom] = mean[top - first : bottom - first].astype(np.uint8)
    return answer


def _reencoded(pixels: Pixels, tables: list[list[int]], shift: tuple[int, int]) -> NDArray[np.uint8]:
    """`pixels` compressed and decompressed with the blocks' corner at `shift`, (x, y)."""
    height, width = pixels.shape[:2]
    left, top = shift
    right, bottom = -(left + width) % _BLOCK, -(top + height) % _BLOCK
    # Continued as it ends, so that no edge of the padding spreads into the picture.
    padded = cv2.copyMakeBorder(pixels, top, bottom, left, right, cv2.BORDER_REPLICATE)
    content = io.BytesIO()
    Image.fromarray(padded).save(content, "JPEG", qtables=tables, subsampling="4:4:4")
    image = Image.open(content, formats=["JPEG"])
    return np.asarray(image)[top : top + height, left : left + width]
