"""Shadows of a cut-out: a soft one beside it, or a narrow one where it stands."""

import math

import cv2
import numpy as np

from ml.imaging import compositing
from ml.imaging.framing import object_box
from ml.imaging.geometry import Box
from ml.params import Length
from ml.pixels import Mask, Pixels

Color = tuple[int, int, int, int]

# Percentages are of the object's size, which is the square root of its box's area.
_RIGHT, _DOWN = Length(value=1.5, percent=True), Length(value=3.5, percent=True)
_BLUR = Length(value=5, percent=True)  # twice the standard deviation
_CONTACT_BLUR = Length(value=3, percent=True)
# An object stands on the part of its outline that is at most this share of its height above its lowest point.
_FOOT = 0.08
# Height of the shadow under it, as a share of its width.
_FLATNESS = 0.1


def drop_shadow(
    alpha: Mask,
    opacity_percent: int,
    right: Length | None = None,
    down: Length | None = None,
    blur: Length | None = None,
) -> Mask:
    """The shadow's opacity (H x W) for an object of this alpha (H x W).

    Without `right` and `down`, the object is lit from the upper left.
    """
    box = object_box(alpha)
    if box is None:
        return np.zeros_like(alpha)
    height, width = alpha.shape
    across, along = (_pixels(length, box) for length in (right or _RIGHT, down or _DOWN))
    shift = np.array([[1, 0, across], [0, 1, along]], np.float64)
    # An object that the canvas cuts off continues beyond it, and so does its shadow.
    moved = cv2.warpAffine(
        alpha, shift, (width, height), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE
    )
    return _soft(np.asarray(moved, np.uint8), _pixels(blur or _BLUR, box), opacity_percent)


def contact_shadow(alpha: Mask, opacity_percent: int, blur: Length | None = None) -> Mask:
    """The opacity (H x W) of a flat shadow where an object of this alpha (H x W) stands."""
    box = object_box(alpha)
    shadow = np.zeros_like(alpha)
    if box is None:
        return shadow
    foot = alpha[box.bottom - max(1, round(_FOOT * box.height)) : box.bottom]
    columns = np.flatnonzero((foot > 127).any(axis=0))
    left, right = (columns[0], columns[-1]) if columns.size else (box.left, box.right - 1)
    half_width = (right - left + 1) / 2
    half_height = max(1.0, _FLATNESS * half_width)
    center = (round((left + right) / 2), round(box.bottom - half_height / 2))
    cv2.ellipse(shadow, center, (max(1, round(half_width)), round(half_height)), 0, 0, 360, 255, cv2.FILLED)
    return _soft(shadow, _pixels(blur or _CONTACT_BLUR, box), opacity_percent)


def add_shadow(background: Pixels | None, shadow: Mask, color: Color = (0, 0, 0, 255)) -> Pixels:
    """`background` (H x W x 3|4, or nothing) with a `shadow` (H x W) of this colour on it."""
    colors = np.broadcast_to(np.array(color[:3], np.uint8), (*shadow.shape, 3))
    visible = shadow if color[3] == 255 else cv2.convertScaleAbs(shadow, alpha=color[3] / 255)
    return compositing.composite(colors, np.asarray(visible, np.uint8), background)


def _soft(shadow: Mask, blur_pixels: int, opacity_percent: int) -> Mask:
    soft = compositing.feather(shadow, blur_pixels)
    answer: Mask = cv2.convertScaleAbs(soft, alpha=opacity_percent / 100)
    return answer


def _pixels(length: Length, box: Box) -> int:
    return length.pixels(round(math.sqrt(box.width * box.height)))
