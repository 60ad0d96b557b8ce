"""Fills a hole and blends it into its picture."""

import cv2
import numpy as np

from ml.editing import filling
from ml.editing.filling import BEHIND, FillPenalties
from ml.imaging.pyramid import Region
from ml.pixels import Mask, Matte, Pixels
from ml.progress import ReportProgress

# Pixels of lower alpha are not visible, so they are not copied.
_MIN_VISIBLE = 128


def fill_and_blend(
    pixels: Pixels,
    hole: Region,
    blend: Mask,
    *,
    source_costs: Matte | None = None,
    penalties: FillPenalties = BEHIND,
    seed: int = 0,
    step: ReportProgress = lambda _: None,
) -> Pixels:
    """Fill `hole` in `pixels` (H x W x 3|4) from its surroundings, blended by `blend` (H x W).

    Where `blend` is 0, pixels equal the source. Transparency does not change. Other parameters are those of
    `filling.fill`.
    """
    colors = np.ascontiguousarray(pixels[..., :3])
    usable = visible(pixels)
    painted = blend > 0
    filled = filling.fill(
        colors,
        hole & painted,
        painted=painted,
        usable=usable,
        source_costs=source_costs,
        penalties=penalties,
        seed=seed,
        step=step,
    )
    return blend_colors(pixels, filled, blend)


def visible(pixels: Pixels) -> Region | None:
    """The pixels of `pixels` (H x W x 3|4) that may be copied; None if all may."""
    return pixels[..., 3] >= _MIN_VISIBLE if pixels.shape[2] == 4 else None


def blend_colors(pixels: Pixels, filled: Pixels, blend: Mask) -> Pixels:
    """Blend the colours of `filled` (H x W x 3) over `pixels` (H x W x 3|4) by `blend` (H x W).

    Where `blend` is 0, pixels do not change at all; neither does transparency.
    """
    answer = pixels.copy()
    left, top, across, along = cv2.boundingRect((blend > 0).astype(np.uint8))
    for row in range(top, top + along):
        columns = np.flatnonzero(blend[row, left : left + across]) + left
        share = blend[row, columns, None].astype(np.float32) / 255
        mixed = filled[row, columns] * share + pixels[row, columns, :3] * (1 - share)
        answer[row, columns, :3] = np.rint(mixed)
    return answer
