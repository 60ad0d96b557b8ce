"""An outline around a cut-out, as around a sticker."""

import math

import cv2
import numpy as np

from ml.imaging import compositing
from ml.imaging.framing import object_box
from ml.params import Length
from ml.pixels import Mask, Pixels

Color = tuple[int, int, int, int]

_INSIDE = 127


def add_outline(colors: Pixels, alpha: Mask, width: Length, color: Color) -> tuple[Pixels, Mask]:
    """The cut-out (H x W x 3 and H x W) with an outline: its colours and its alpha.

    A percentage is of the object's size, the square root of its box's area. The outline ends at the picture's
    border.
    """
    box = object_box(alpha)
    if box is None:
        return colors, alpha
    pixels = max(1, width.pixels(round(math.sqrt(box.width * box.height))))
    outside = np.where(alpha > _INSIDE, np.uint8(0), np.uint8(255))
    away = cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # Half a pixel more, because distances are from centre to centre.
    shares = np.clip(pixels + np.float32(0.5) - away, 0, 1) * np.float32(color[3])
    outline = np.empty((*alpha.shape, 4), np.uint8)
    outline[..., :3] = color[:3]
    outline[..., 3] = np.rint(shares)
    answer = compositing.composite(colors, alpha, outline)
    return answer[..., :3], np.ascontiguousarray(answer[..., 3])
