"""A larger canvas, continued beyond the picture's edges."""

import cv2
import numpy as np

from ml.editing import replacing
from ml.editing.filling import BEYOND, Step
from ml.imaging.pyramid import Region
from ml.pixels import Mask, Matte, Pixels

# What copying costs, in steps of 255: of the foreground, and of what lies farthest from the new area. Without
# them the picture's main thing would appear twice.
_FOREGROUND_CHARGE = 30.0
_FARNESS_CHARGE = 15.0
# The blended strip leaves the middle half of the shorter side untouched.
_MAX_OVERLAP_SHARE = 0.25


def expand(
    pixels: Pixels,
    margins: tuple[int, int, int, int],
    overlap: int,
    foreground: Matte | None,
    *,
    seed: int,
    step: Step,
) -> Pixels:
    """`pixels` (H x W x 3|4) with (left, top, right, bottom) pixels more, which continue it.

    The new area is blended into the picture over `overlap` pixels of its edge, at most a quarter of the
    shorter side; what is farther inside is the source's. `foreground` (any size, 0..1) is what had better not
    be copied. Transparency goes on as it is at the edge.
    """
    left, top, _, _ = margins
    height, width = pixels.shape[:2]
    canvas, hole = extend_canvas(pixels, margins)
    inside = np.s_[top : top + height, left : left + width]
    distance = _distance(hole)
    reluctance = distance * np.float32(_FARNESS_CHARGE / max(1.0, float(distance.max())))
    if foreground is not None:
        reluctance[inside] += cv2.resize(foreground, (width, height)) * np.float32(_FOREGROUND_CHARGE)
    return replacing.fill_and_blend(
        canvas,
        hole,
        blend_mask(pixels, hole, overlap),
        reluctance=reluctance,
        penalties=BEYOND,
        seed=seed,
        step=step,
    )


def extend_canvas(pixels: Pixels, margins: tuple[int, int, int, int]) -> tuple[Pixels, Region]:
    """`pixels` on a canvas with (left, top, right, bottom) pixels more, and where these are.

    They have the nearest colour and transparency of the picture's edge.
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
    """Of each pixel to the nearest one of the new area."""
    return np.asarray(cv2.distanceTransform((~hole).astype(np.uint8), cv2.DIST_L2, 5), np.float32)
