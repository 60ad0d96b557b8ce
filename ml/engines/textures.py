"""Local mean colour and texture of a picture, for choosing patches."""

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.imaging.pyramid import Level
from ml.pixels import Mask

# Weight of differences between neighbours relative to colours.
_TEXTURE_WEIGHT = 2.0
_TEXTURE_WINDOW = 5
# Local means that differ by less (of 255) count as equal.
_SAME_LOOK = 6.0
_MAX_RIM_PLACES = 400


def measure_texture(level: Level) -> Mask:
    """How much neighbouring pixels differ around each pixel (H x W), excluding the hole's rim.

    Distinguishes areas of equal colour, such as grass and a blurred lawn.
    """
    grey = cv2.cvtColor(np.ascontiguousarray(level.colors), cv2.COLOR_RGB2GRAY)
    steps = np.zeros(grey.shape, np.float32)
    steps[:, :-1] += cv2.absdiff(grey[:, 1:], grey[:, :-1])
    steps[:-1] += cv2.absdiff(grey[1:], grey[:-1])
    rim = cv2.dilate(level.hole.astype(np.uint8), np.ones((3, 3), np.uint8))
    apart = (rim == 0).astype(np.float32)
    window = (_TEXTURE_WINDOW, _TEXTURE_WINDOW)
    share = np.maximum(cv2.blur(apart, window), np.float32(1e-3))
    busy = cv2.blur(steps * apart, window) / share
    answer: Mask = np.clip(busy * _TEXTURE_WEIGHT, 0, 255).astype(np.uint8)
    return answer


def strangeness(level: Level, radius: int) -> NDArray[np.float32]:
    """How different each place is from everything at the hole's rim (H x W, 0..255).

    The smallest difference between the mean colour and texture within `radius` pixels of the place and of any
    place at the rim.
    """
    window = (2 * radius + 1, 2 * radius + 1)
    picture = np.dstack([level.colors, measure_texture(level)])
    means = cv2.blur(picture, window, borderType=cv2.BORDER_REFLECT_101).astype(np.float32)
    inner, outer = (
        cv2.dilate(level.hole.astype(np.uint8), np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)) > 0
        for reach in (radius, 2 * radius)
    )
    at_rim = means[outer & ~inner & level.usable]
    if not len(at_rim):
        return np.zeros(level.hole.shape, np.float32)
    answer = np.full(level.hole.shape, 255, np.float32)
    for mean in at_rim[:: 1 + len(at_rim) // _MAX_RIM_PLACES]:
        np.minimum(answer, np.abs(means - mean).mean(axis=2), out=answer)
    return np.asarray(np.maximum(answer - _SAME_LOOK, 0), np.float32)
