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

    colors = mean(picture)
    opacity = mean(matte)
    together = mean(picture * matte[..., None]) - colors * opacity[..., None]
    rr, rg, rb, gg, gb, bb = (
        mean(picture[..., i] * picture[..., j]) - colors[..., i] * colors[..., j]
        for i in range(3)
        for j in range(i, 3)
    )
    rr, gg, bb = rr + _REGULARISATION, gg + _REGULARISATION, bb + _REGULARISATION
    # The inverse of the symmetric 3 x 3 covariance by its cofactors: numpy's solver takes ten times as long.
    cofactors = (
        (gg * bb - gb * gb, rb * gb - rg * bb, rg * gb - rb * gg),
        (rb * gb - rg * bb, rr * bb - rb * rb, rg * rb - rr * gb),
        (rg * gb - rb * gg, rg * rb - rr * gb, rr * gg - rg * rg),
    )
    determinant = rr * cofactors[0][0] + rg * cofactors[0][1] + rb * cofactors[0][2]
    answer = np.empty((*matte.shape, 4), np.float32)
    for row in range(3):
        slope = sum(cofactors[row][column] * together[..., column] for column in range(3))
        answer[..., row] = slope / determinant
    answer[..., 3] = opacity - np.einsum("hwc,hwc->hw", answer[..., :3], colors)
    return mean(answer)
