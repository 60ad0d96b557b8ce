"""Extends a picture beyond its edges."""

import cv2
import numpy as np

from ml.imaging.pyramid import Region
from ml.pixels import Mask, Matte, Pixels

# (left, top, right, bottom): pixels added on each side.
Margins = tuple[int, int, int, int]

# Costs of copying from the foreground and from the place farthest from the new area, in levels of 255.
_FOREGROUND_CHARGE = 30.0
_DISTANCE_CHARGE = 15.0
# The blended strip leaves the middle half of the shorter side untouched.
_MAX_OVERLAP_SHARE = 0.25


def source_costs(canvas_hole: Region, margins: Margins, foreground: Matte | None) -> Matte:
    """The cost of copying each pixel into the new area `canvas_hole`, in levels of 255.

    Far places are expensive, and so is `foreground` (any size, 0..1), or the main object would be duplicated.
    """
    left, top, right, bottom = margins
    height, width = canvas_hole.shape
    distance = _distance(canvas_hole)
    costs = distance * np.float32(_DISTANCE_CHARGE / max(1.0, float(distance.max())))
    if foreground is not None:
        inside = np.s_[top : height - bottom, left : width - right]
        size = width - left - right, height - top - bottom
        costs[inside] += cv2.resize(foreground, size) * np.float32(_FOREGROUND_CHARGE)
    return costs


def extend_canvas(pixels: Pixels, margins: Margins) -> tuple[Pixels, Region]:
    """`pixels` on a canvas extended by (left, top, right, bottom) pixels, and the region of these.

    The new pixels repeat the picture's edge.
    """
    left, top, right, bottom = margins
    canvas = cv2.copyMakeBorder(pixels, top, bottom, left, right, cv2.BORDER_REPLICATE)
    hole = np.ones(canvas.shape[:2], np.bool_)
    hole[top : top + pixels.shape[0], left : left + pixels.shape[1]] = False
    return canvas, hole


def blend_mask(pixels: Pixels, hole: Region, overlap: int) -> Mask:
    """255 in the new area `hole` around `pixels`, falling to 0 over `overlap` pixels of their edge."""
    overlap = min(overlap, int(min(pixels.shape[:2]) * _MAX_OVERLAP_SHARE))
    if overlap == 0:
        return np.asarray(hole * np.uint8(255), np.uint8)
    share = np.clip((overlap - _distance(hole)) / np.float32(overlap), 0, 1)
    return np.asarray(np.rint(share * 255), np.uint8)


def _distance(hole: Region) -> Matte:
    """Distance of each pixel to the new area."""
    return np.asarray(cv2.distanceTransform((~hole).astype(np.uint8), cv2.DIST_L2, 5), np.float32)
