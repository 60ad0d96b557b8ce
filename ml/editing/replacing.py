"""Fills a hole and blends it into its picture."""

import math

import cv2
import numpy as np

from ml.editing import filling
from ml.editing.filling import BEHIND, FillPenalties
from ml.errors import BadParameter
from ml.imaging.pyramid import Region
from ml.pixels import Mask, Matte, Pixels
from ml.progress import ReportProgress

# Pixels of lower alpha are not visible, so they are not copied.
_MIN_VISIBLE = 128
# If less than half of the picture is left, the result is mostly repetition, or the mask is inverted. With
# less than a twentieth there is nothing to continue.
_WARNING_SHARE = 0.5
LARGEST_SHARE = 0.95
_DRAWN = ("strokes", "points", "box")  # parameters other than masks, which may be inverted


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


def replaced_share(pixels: Pixels, hole: Region) -> float:
    """How much of what is visible of `pixels` (H x W x 3|4) is in `hole` (H x W), 0..1."""
    shown = visible(pixels)
    if shown is None or not shown.any():
        return float(hole.mean())
    return float(hole[shown].mean())


def warnings_of_share(pixels: Pixels, hole: Region, origin: str, grown: str | None = None) -> list[str]:
    """Warnings if most of `pixels` (H x W x 3|4) is in `hole` (H x W), which is filled from the rest.

    Raises `BadParameter` if too little is left to continue, for the form field `origin` that the hole comes
    from, or for `grown` that made it too large.
    """
    share = replaced_share(pixels, hole)
    picture = "image" if pixels.shape[2] == 3 else "image's visible part"
    if share > LARGEST_SHARE:
        covered = f"the whole {picture}" if share == 1 else f"{math.floor(100 * share)}% of the {picture}"
        after = "" if grown is None else f" after {grown}"
        hint = "" if origin in _DRAWN else ". White marks what is replaced"
        raise BadParameter(
            grown or origin,
            f"the area to replace covers {covered}{after}; a part must remain to be continued{hint}",
        )
    if share <= _WARNING_SHARE:
        return []
    hint = " If this was not intended: white marks what is replaced, black what is kept."
    return [
        f"{share:.0%} of the {picture} was replaced, more than was left to continue."
        f"{'' if origin in _DRAWN else hint}"
    ]


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
