"""Painting by words into a part of a picture, whatever the picture's size.

The network sees a window around the part, with context, at about the size it was trained on. What it paints
is brought back to the picture's size and laid on by the mask: the rest of the picture is never touched, and
keeps its resolution. A border larger than a window is painted window after window, outwards.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ml.editing import replacing
from ml.engines.resizing import resize_for_network
from ml.imaging import matching
from ml.imaging.pyramid import Region
from ml.pixels import Mask, Pixels

if TYPE_CHECKING:
    from ml.engines.diffusion import Inpainter, PromptOptions

# A window is this many times as wide and high as what is painted in it: the rest is context.
_CONTEXT = 1.75
# Longer shapes than this are not what networks were trained on.
_MAX_ASPECT = 2.0
# A border is painted in windows of this share of the canvas's longer side at least, so that there are few.
_WINDOW_SHARE = 0.5
# Of its window's side, what is painted beyond what is known, and what neighbouring windows overlap.
_REACH_SHARE = 0.5
_STRIDE_SHARE = 0.75
# Where one window's work meets another's they fade into each other.
_SEAM_PIXELS = 12
# Beyond the edge there is a first guess already, which the network goes on from.
_STRENGTH_OUTWARD = 0.9

Step = Callable[[float], None]
Window = tuple[slice, slice]


def repaint(pixels: Pixels, blend: Mask, engine: "Inpainter", options: "PromptOptions", step: Step) -> Pixels:
    """`pixels` (H x W x 3|4) with what `options` say laid on by `blend` (H x W, not all 0).

    Where `blend` is 0 every pixel stays as it is, to the bit. `step` is told the fraction done, 0..1, and
    may raise. Raises as `Inpainter.repaint` does.
    """
    painted = blend > 0
    window = _around(painted, engine.side_pixels)
    colors = np.ascontiguousarray(pixels[..., :3])
    made = colors.copy()
    made[window] = _painted(colors[window], painted[window], engine, options, step)
    return replacing.blend_colors(pixels, made, blend)


def outpaint(
    canvas: Pixels,
    guess: Pixels,
    hole: Region,
    blend: Mask,
    engine: "Inpainter",
    options: "PromptOptions",
    step: Step,
) -> Pixels:
    """`canvas` (H x W x 3|4) with `hole` painted by `options`, from the picture's edge outwards.

    `guess` (the same shape) has a first idea of the hole. The answer is laid on by `blend`, which is 255 in
    the hole; where it is 0 every pixel stays. `step` and errors are as in `repaint`.
    """
    if options.strength is None:
        options = replace(options, strength=_STRENGTH_OUTWARD)
    work = np.ascontiguousarray(guess[..., :3]).copy()
    plan = list(_outward_windows(hole, engine.side_pixels))
    for number, (window, painted) in enumerate(plan):
        own_words = replace(options, seed=(options.seed + number) % 2**32)
        own_step = _share_of(step, number, len(plan))
        wide, seam = _with_seam(painted)
        made = _painted(work[window], wide, engine, own_words, own_step)
        work[window] = replacing.blend_colors(work[window], made, seam)
    return replacing.blend_colors(canvas, work, blend)


def _painted(
    shown: Pixels, painted: Region, engine: "Inpainter", options: "PromptOptions", step: Step
) -> Pixels:
    """One window (H x W x 3) with `painted` made anew, alike in tint and grain to what is around it."""
    height, width = painted.shape
    size = network_size((width, height), engine.side_pixels, engine.multiple)
    small = resize_for_network(shown, *size)
    coarse = cv2.resize(painted.astype(np.uint8) * np.uint8(255), size, interpolation=cv2.INTER_AREA)
    mask: Mask = np.where(coarse > 0, np.uint8(255), np.uint8(0))
    made = engine.repaint(small, mask, options, step)
    made = matching.match_tint(made, small, mask > 0)
    large = resize_for_network(made, width, height)
    return matching.match_grain(large, shown, painted, options.seed)


def network_size(size: tuple[int, int], side_pixels: int, multiple: int) -> tuple[int, int]:
    """Width and height for the network: the shape of `size`, about the area of `side_pixels` squared."""
    scale = side_pixels / math.sqrt(size[0] * size[1])
    most = int(_MAX_ASPECT * side_pixels)
    width, height = (max(multiple, round(side * scale / multiple) * multiple) for side in size)
    return min(width, most), min(height, most)


def _around(painted: Region, side_pixels: int) -> Window:
    """A window around all of `painted`, as large as the network sees or larger, with context."""
    height, width = painted.shape
    left, top, across, along = cv2.boundingRect(painted.astype(np.uint8))
    wide, high = (max(side_pixels, math.ceil(_CONTEXT * side)) for side in (across, along))
    wide, high = max(wide, math.ceil(high / _MAX_ASPECT)), max(high, math.ceil(wide / _MAX_ASPECT))
    return _placed(top + along / 2, high, height), _placed(left + across / 2, wide, width)


def _placed(middle: float, length: int, most: int) -> slice:
    """So long a stretch about `middle`, moved to lie within 0..`most`, or all of that."""
    start = max(0, min(round(middle - length / 2), most - length))
    return slice(start, min(most, start + length))


def _outward_windows(hole: Region, side_pixels: int) -> Iterator[tuple[Window, Region]]:
    """Windows and what is to be painted in each, so that each has something known to go on from."""
    height, width = hole.shape
    side = max(side_pixels, math.ceil(max(height, width) * _WINDOW_SHARE))
    unknown = hole.copy()
    while unknown.any():
        distance = cv2.distanceTransform(unknown.astype(np.uint8), cv2.DIST_L2, 5)
        band = unknown & (distance <= side * _REACH_SHARE)
        for rows in _stretches(height, side):
            for columns in _stretches(width, side):
                window = rows, columns
                painted = band[window].copy()
                if painted.any():
                    band[window] = False
                    unknown[window] &= ~painted
                    yield window, painted


def _stretches(length: int, side: int) -> list[slice]:
    """Stretches of `side` that cover `length`, evenly and overlapping."""
    if length <= side:
        return [slice(0, length)]
    count = 1 + math.ceil((length - side) / (side * _STRIDE_SHARE))
    starts = np.rint(np.linspace(0, length - side, count)).astype(int)
    return [slice(int(start), int(start) + side) for start in starts]


def _with_seam(painted: Region) -> tuple[Region, Mask]:
    """`painted` grown a little over what is known, and how it is laid on there: falling from 255 to 0."""
    distance = np.asarray(cv2.distanceTransform((~painted).astype(np.uint8), cv2.DIST_L2, 5), np.float32)
    share = np.clip((_SEAM_PIXELS - distance) / np.float32(_SEAM_PIXELS), 0, 1)
    return share > 0, np.asarray(np.rint(share * 255), np.uint8)


def _share_of(step: Step, number: int, count: int) -> Step:
    return lambda fraction: step((number + fraction) / count)
