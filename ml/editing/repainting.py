"""Inpainting and outpainting of pictures of any size with a diffusion network.

The network processes a window around the masked part, with context, at about its training size. Its output is
resized to the picture's resolution and blended in by the mask, so that the rest of the picture does not
change. A border larger than a window is painted window by window, outwards.
"""

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ml.editing import replacing, windows
from ml.editing.windows import Window
from ml.engines.resizing import resize_for_network
from ml.imaging import matching
from ml.imaging.pyramid import Region
from ml.pixels import Mask, Pixels
from ml.progress import ReportProgress, part_of

if TYPE_CHECKING:
    from ml.engines.diffusion import Inpainter, PromptOptions

# A window is this many times as wide and high as the painted part: the rest is context.
_CONTEXT = 1.75
# Networks were not trained on more elongated shapes.
_MAX_ASPECT = 2.0
# Windows of a border are at least this share of the canvas's longer side, so that there are few.
_WINDOW_SHARE = 0.5
# The depth painted beyond known pixels, as a share of a window's side.
_REACH_SHARE = 0.5
# Width of the fade between windows.
_SEAM_PIXELS = 12
# Denoising strength for borders, which start from a first guess.
_STRENGTH_OUTWARD = 0.9


def repaint(
    pixels: Pixels, blend: Mask, engine: "Inpainter", options: "PromptOptions", step: ReportProgress
) -> Pixels:
    """Inpaint `pixels` (H x W x 3|4) where `blend` (H x W, not all 0) is above 0, blended by it.

    Where `blend` is 0, pixels do not change. `step` is called with the fraction done, 0..1, and may raise.
    Raises as `Inpainter.repaint` does.
    """
    painted = blend > 0
    window = _around(painted, engine.side_pixels)
    colors = np.ascontiguousarray(pixels[..., :3])
    generated = colors.copy()
    generated[window] = _inpaint_window(colors[window], painted[window], engine, options, step)
    return replacing.blend_colors(pixels, generated, blend)


def outpaint(
    canvas: Pixels,
    guess: Pixels,
    hole: Region,
    blend: Mask,
    engine: "Inpainter",
    options: "PromptOptions",
    step: ReportProgress,
) -> Pixels:
    """Paint `hole` in `canvas` (H x W x 3|4), from the picture's edge outwards.

    `guess` (the same shape) contains a first fill of the hole. The result is blended by `blend`, which is 255
    in the hole; where it is 0, pixels do not change. `step` and errors are as in `repaint`.
    """
    if options.strength is None:
        options = replace(options, strength=_STRENGTH_OUTWARD)
    work = np.ascontiguousarray(guess[..., :3]).copy()
    side = max(engine.side_pixels, math.ceil(max(hole.shape) * _WINDOW_SHARE))
    plan = list(windows.outward(hole, side, side * _REACH_SHARE))
    for number, (window, painted) in enumerate(plan):
        window_options = replace(options, seed=(options.seed + number) % 2**32)
        window_step = part_of(step, number, len(plan))
        wide, seam = _with_seam(painted)
        generated = _inpaint_window(work[window], wide, engine, window_options, window_step)
        work[window] = replacing.blend_colors(work[window], generated, seam)
    return replacing.blend_colors(canvas, work, blend)


def _inpaint_window(
    shown: Pixels, painted: Region, engine: "Inpainter", options: "PromptOptions", step: ReportProgress
) -> Pixels:
    """One window (H x W x 3) with `painted` regenerated, its tint and grain matched to the surroundings."""
    height, width = painted.shape
    size = network_size((width, height), engine.side_pixels, engine.multiple)
    small = resize_for_network(shown, *size)
    coarse = cv2.resize(painted.astype(np.uint8) * np.uint8(255), size, interpolation=cv2.INTER_AREA)
    mask: Mask = np.where(coarse > 0, np.uint8(255), np.uint8(0))
    generated = engine.repaint(small, mask, options, step)
    generated = matching.match_tint(generated, small, mask > 0)
    large = resize_for_network(generated, width, height)
    return matching.match_grain(large, shown, painted, options.seed)


def network_size(size: tuple[int, int], side_pixels: int, multiple: int) -> tuple[int, int]:
    """Width and height for the network: the shape of `size`, about the area of `side_pixels` squared."""
    scale = side_pixels / math.sqrt(size[0] * size[1])
    most = int(_MAX_ASPECT * side_pixels)
    width, height = (max(multiple, round(side * scale / multiple) * multiple) for side in size)
    return min(width, most), min(height, most)


def _around(painted: Region, side_pixels: int) -> Window:
    """A window around `painted` with context, at least as large as the network's input."""
    height, width = painted.shape
    box = cv2.boundingRect(painted.astype(np.uint8))
    wide, high = (max(side_pixels, math.ceil(_CONTEXT * side)) for side in box[2:])
    wide, high = max(wide, math.ceil(high / _MAX_ASPECT)), max(high, math.ceil(wide / _MAX_ASPECT))
    return windows.around(box, (wide, high), (height, width))


def _with_seam(painted: Region) -> tuple[Region, Mask]:
    """`painted` grown slightly over known pixels, and its blend mask, which falls from 255 to 0."""
    distance = np.asarray(cv2.distanceTransform((~painted).astype(np.uint8), cv2.DIST_L2, 5), np.float32)
    share = np.clip((_SEAM_PIXELS - distance) / np.float32(_SEAM_PIXELS), 0, 1)
    return share > 0, np.asarray(np.rint(share * 255), np.uint8)
