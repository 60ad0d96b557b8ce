"""Blending a filled hole into its picture."""

import cv2
import numpy as np

from ml.editing import filling
from ml.editing.filling import BEHIND, FillPenalties, Step
from ml.imaging.pyramid import Region
from ml.pixels import Mask, Matte, Pixels

# Colours under more transparency than this are not seen, so they are not copied either.
_MIN_VISIBLE = 128


def fill_and_blend(
    pixels: Pixels,
    hole: Region,
    blend: Mask,
    *,
    reluctance: Matte | None = None,
    penalties: FillPenalties = BEHIND,
    seed: int = 0,
    step: Step = lambda _: None,
) -> Pixels:
    """`pixels` (H x W x 3|4) with `hole` filled from its surroundings and laid on by `blend` (H x W).

    Where `blend` is 0, every pixel is the source's; between the hole and there the copies fade into the
    picture. Transparency stays as it is. The rest is as in `filling.fill`.
    """
    colors = np.ascontiguousarray(pixels[..., :3])
    usable = pixels[..., 3] >= _MIN_VISIBLE if pixels.shape[2] == 4 else None
    painted = blend > 0
    filled = filling.fill(
        colors,
        hole & painted,
        painted=painted,
        usable=usable,
        reluctance=reluctance,
        penalties=penalties,
        seed=seed,
        step=step,
    )
    return blend_colors(pixels, filled, blend)


def blend_colors(pixels: Pixels, filled: Pixels, blend: Mask) -> Pixels:
    """`pixels` (H x W x 3|4) with the colours of `filled` (H x W x 3) laid on by `blend` (H x W).

    Where `blend` is 0, every pixel stays as it is, to the bit; so does transparency.
    """
    answer = pixels.copy()
    left, top, across, along = cv2.boundingRect((blend > 0).astype(np.uint8))
    for row in range(top, top + along):
        columns = np.flatnonzero(blend[row, left : left + across]) + left
        share = blend[row, columns, None].astype(np.float32) / 255
        mixed = filled[row, columns] * share + pixels[row, columns, :3] * (1 - share)
        answer[row, columns, :3] = np.rint(mixed)
    return answer
