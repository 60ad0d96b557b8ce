"""A matte as a local linear function of a picture's colours.

The colour guided filter of He, Sun and Tang (2010, PAMI 2013), in the fast form of He and Sun (2015): the
function is fitted at a small size, enlarged, and evaluated with full-size colours.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.pixels import Matte

Floats = NDArray[np.float32]

# Smooths the function where colours vary less than the square root of this (0..1).
_REGULARISATION = 1e-4


def coefficients(picture: Floats, matte: Matte, radius_pixels: int) -> Floats:
    """H x W x 4: `matte` is about a . (r, g, b) + b around each place of `picture` (H x W x 3, 0..1)."""
    window = (2 * radius_pixels + 1, 2 * radius_pixels + 1)

    def mean(values: Floats) -> Floats:
        blurred: Floats = cv2.blur(values, window, borderType=cv2.BORDER_REFLECT)
        return blurred

    channels = cv2.split(picture)
    colors = [mean(channel) for channel in channels]
    opacity = mean(matte)
    together = [
        mean(channel * matte) - color * opacity for channel, color in zip(channels, colors, strict=True)
    ]
    rr, rg, rb, gg, gb, bb = (
        mean(channels[i] * channels[j]) - colors[i] * colors[j] for i in range(3) for j in range(i, 3)
    )
    rr, gg, bb = rr + _REGULARISATION, gg + _REGULARISATION, bb + _REGULARISATION
    # The inverse of the symmetric 3 x 3 covariance by its cofactors: numpy's solver takes ten times as long.
    first, second, third = gg * bb - gb * gb, rb * gb - rg * bb, rg * gb - rb * gg
    cofactors = (
        (first, second, third),
        (second, rr * bb - rb * rb, rg * rb - rr * gb),
        (third, rg * rb - rr * gb, rr * gg - rg * rg),
    )
    scale = 1 / (rr * first + rg * second + rb * third)
    slopes = [
        (row[0] * together[0] + row[1] * together[1] + row[2] * together[2]) * scale for row in cofactors
    ]
    rest = opacity - slopes[0] * colors[0] - slopes[1] * colors[1] - slopes[2] * colors[2]
    return mean(cv2.merge([*slopes, rest]))
