"""Small holes that a network closes, found by the colour of a plain background that shows through them."""

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.imaging.matting import band
from ml.imaging.matting.growing import Region, dilated, grown
from ml.pixels import Mask, Matte, Pixels

Floats = NDArray[np.float32]

# Holes are found at this size.
_MAX_SIDE = 640
# The background near an object is compared, within this share of the longer side.
_NEAR = 1 / 10
# The background's colours vary slowly, so they are averaged at a fraction of that size.
_REDUCTION = 8
# Standard deviation, in levels, up to which a background counts as plain.
_PLAIN = 8.0
# A JPEG's blocks ring and bleed in a small hole, though not on a plain background far from edges.
_LEAST_SPREAD = 3.0
# The colour in a hole differs from the background's by at most this many levels and half the standard
# deviation on average, and from that of the object around it by at least `_OTHER`.
_SAME = 2.5
_OTHER = 25.0
# A hole takes at most this share of the object, and at least so many pixels; ISNet sees larger ones.
_LARGEST = 0.03
_SMALLEST_PIXELS = 20
# The square around the largest circle in a hole takes at least this share of its area: letters are thinner.
_COMPACT = 0.5
# More spots than these are a pattern, such as dots in the background's colour.
_MOST = 12


def open_holes(picture: Pixels, matte: Matte, largest_share: float = _LARGEST) -> Matte:
    """`matte`, of any size, with 0 in the holes of the object in `picture` (H x W x 3).

    A hole takes at most `largest_share` of the object with its holes.
    """
    size = (
        min(matte.shape[1], picture.shape[1], _MAX_SIDE),
        min(matte.shape[0], picture.shape[0], _MAX_SIDE),
    )
    small = band.reduced(picture, size).astype(np.float32)
    opacity = cv2.resize(matte, size, interpolation=cv2.INTER_AREA)
    holes = _holes(small, opacity, largest_share)
    if not holes.any():
        return matte
    shape = (matte.shape[1], matte.shape[0])
    closed = cv2.resize(1 - holes.astype(np.float32), shape, interpolation=cv2.INTER_LINEAR)
    answer: Matte = matte * closed
    return answer


def _holes(picture: Floats, opacity: Matte, largest_share: float) -> Region:
    nothing: Region = np.zeros(opacity.shape, bool)
    inside = (opacity > 0.5).astype(np.uint8)
    visible = cv2.inRange(opacity, 0.02, np.inf)
    # Not the pixels at the edge, which a matte misses by one or two.
    around = cv2.subtract(dilated(visible, round(max(opacity.shape) * _NEAR)), dilated(visible, 3))
    if cv2.countNonZero(around) < _SMALLEST_PIXELS or not inside.any():
        return nothing
    expected = _continued(picture, around)
    spread = max(_LEAST_SPREAD, _spread(cv2.subtract(picture, expected), around))
    if spread > _PLAIN:
        return nothing
    core = cv2.erode(inside, np.ones((5, 5), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0
    apart = cv2.split(cv2.absdiff(cv2.blur(picture, (3, 3)), expected))
    distance = cv2.max(cv2.max(apart[0], apart[1]), apart[2])
    similar = (core & (distance < _SAME + 2 * spread)).astype(np.uint8)
    count, labels = cv2.connectedComponents(similar, connectivity=4)
    if count == 1:
        return nothing
    areas = np.bincount(labels.ravel())
    holes = [
        label
        for label in range(1, count)
        if _SMALLEST_PIXELS <= areas[label] <= largest_share * inside.sum()
        and _is_hole(labels == label, picture, expected, spread)
    ]
    if not 0 < len(holes) <= _MOST:
        return nothing
    # The blur and the erosion above leave out a hole's rim.
    answer: Region = grown(np.isin(labels, holes), 1)
    return answer


def _is_hole(spot: Region, picture: Floats, expected: Floats, spread: float) -> bool:
    difference = (picture - expected)[spot]
    if np.abs(difference.mean(axis=0)).max() > _SAME + 0.5 * spread:
        return False
    if float(difference.std()) > 1.5 * spread + 1:
        return False
    radius = float(cv2.distanceTransform(np.pad(spot, 1).astype(np.uint8), cv2.DIST_L2, 3).max())
    if (2 * radius) ** 2 < _COMPACT * spot.sum():
        return False
    rim = grown(spot, 6) & ~grown(spot, 2)
    contrast = np.abs(picture - expected).max(axis=2)[rim]
    # All around, or it is a gradient or a gap between two things.
    return bool(np.quantile(contrast, 0.05) > _OTHER)


def _spread(values: Floats, mask: Mask) -> float:
    """The standard deviation of all channels together where `mask` is not 0."""
    means, deviations = cv2.meanStdDev(values, mask=mask)
    squares = np.square(means) + np.square(deviations)
    return float(np.sqrt(max(0.0, squares.mean() - means.mean() ** 2)))


def _continued(picture: Floats, known: Mask) -> Floats:
    """The colours of `known` places (not 0), averaged over wide windows and continued everywhere."""
    height, width = known.shape
    size = (max(1, width // _REDUCTION), max(1, height // _REDUCTION))
    share = cv2.resize((known > 0).astype(np.float32), size, interpolation=cv2.INTER_AREA)
    colors = cv2.resize(cv2.copyTo(picture, known), size, interpolation=cv2.INTER_AREA)
    sigma = max(size) * _NEAR
    total = cv2.GaussianBlur(share, (0, 0), sigma)[..., None]
    mean = np.array(cv2.mean(picture, known)[:3])
    averaged = (cv2.GaussianBlur(colors, (0, 0), sigma) + 1e-6 * mean) / (total + 1e-6)
    answer: Floats = cv2.resize(averaged.astype(np.float32), (width, height))
    return answer
