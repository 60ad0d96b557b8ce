"""A soft shadow under a cut-out."""

import math

import cv2
import numpy as np

from ml.imaging import compositing
from ml.imaging.framing import crop_or_pad, object_box
from ml.imaging.geometry import Box
from ml.pixels import Mask, Pixels

# Shares of the object's size, which is the square root of its box's area.
_RIGHT, _DOWN = 0.015, 0.035
_BLUR = 0.025  # standard deviation


def drop_shadow(alpha: Mask, opacity_percent: int) -> Mask:
    """The shadow's opacity (H x W) for an object of this alpha (H x W), lit from the upper left."""
    box = object_box(alpha)
    if box is None:
        return np.zeros_like(alpha)
    height, width = alpha.shape
    size = math.sqrt(box.width * box.height)
    right, down = round(_RIGHT * size), round(_DOWN * size)
    moved = crop_or_pad(alpha, Box(-right, -down, width - right, height - down))
    soft = compositing.feather(moved, 2 * _BLUR * size)
    answer: Mask = cv2.convertScaleAbs(soft, alpha=opacity_percent / 100)
    return answer


def add_shadow(background: Pixels | None, shadow: Mask) -> Pixels:
    """`background` (H x W x 3|4, or nothing) with a black `shadow` (H x W) on it."""
    black = np.broadcast_to(np.uint8(0), (*shadow.shape, 3))
    return compositing.composite(black, shadow, background)
