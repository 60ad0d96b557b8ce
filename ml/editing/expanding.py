"""Extends a picture beyond its edges."""

import cv2
import numpy as np

from ml.editing import replacing
from ml.editing.filling import BEYOND
from ml.imaging.pyramid import Region
from ml.pixels import Mask, Matte, Pixels
from ml.progress import ReportProgress

# Costs of copying from the foreground and from the place farthest from the new area, in levels of 255.
# Without them the main object would be duplicated.
_FOREGROUND_CHARGE = 30.0
_DISTANCE_CHARGE = 15.0
# The blended strip leaves the middle half of the shorter side untouched.
_MAX_OVERLAP_SHARE = 0.25


def expand(
    pixels: Pixels,
    margins: tuple[int, int, int, int],
    overlap: int,
    foreground: Matte | None,
    *,
    seed: int,
    step: ReportProgress,
) -> Pixels:
    """Extend `pixels` (H x W x 3|4) by (left, top, right, bottom) pixels.

    The new area is blended into the picture over `overlap` pixels of its edge, at most a quarter of the
    shorter side; pixels farther inside equal the source. `foreground` (any size, 0..1) is expensive to copy
    from. Transparency is extended from the edge.
    """
    left, top, _, _ = margins
    height, width = pixels.shape[:2]
    canvas, hole = extend_canvas(pixels, margins)
    inside = np.s_[top : top + height, left : left + width]
    distance = _distance(hole)
    source_costs = distance * np.float32(_DISTANCE_CHARGE / max(1.0, float(distance.max())))
    if foreground is not None:
        source_costs[inside] += cv2.resize(foreground, (width, height)) * np.float32(_FOREGROUND_CHARGE)
    return replacing.fill_and_blend(
        canvas,
        hole,
        blend_mask(pixels, hole, overlap),
        source_costs=source_costs,
        penalties=BEYOND,
        seed=seed,
        step=step,
    )


def extend_canvas(pixels: Pixels, margins: tuple[int, int, int, int]) -> tuple[Pixels, Region]:
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
