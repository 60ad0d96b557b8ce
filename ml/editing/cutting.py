"""From a picture to the full-size alpha of its foreground.

The network runs again on small objects, and along thin lines that it is uncertain of.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ml.editing import foreground
from ml.errors import NothingFound
from ml.imaging import transparency
from ml.imaging.framing import FAINT_ALPHA
from ml.imaging.geometry import Box
from ml.pixels import Mask, Matte, Picture, Pixels

if TYPE_CHECKING:
    from ml.engines.matting import MattingEngine

# Small objects take few of the network's pixels, so it runs on their surroundings again. On larger objects a
# second run adds errors: it lacks the surroundings that separate the object from its background.
_CLOSER_LOOK_SHARE = 0.3
_MARGIN = 0.15  # times the longer side of the object's box
# Both runs must show the same object: intersection over union.
_MIN_AGREEMENT = 0.75
# With less, the closer one counts only if it is not less certain. From nearby, a wall in a key's ring was
# taken for the key (0.78, certainties of 0.60 and 0.33); a bicycle was found only then (0.79; 0.86 and 0.88).
_CLEAR_AGREEMENT = 0.9
# Agreement is measured at this size.
_COMPARED_SIDE = 256
# The closer look adds nothing where the first one shows nothing within so many of its pixels: a gap between
# letters was filled at 0.65 because of a line in the wall behind.
_ADDED_WITHIN = 8
_NOTHING = 0.1
# At most so many lines are followed, with one run of the network each.
_FOLLOWED_LINES = 2
# An uncertain band of this width around the edge halves the confidence; a share of the matte's longer side.
_HAZY_EDGE = 1 / 64
# Of a matte: less is haze around the object.
_VISIBLE = 0.25
# Where only the outline of something was found, refining leaves faint lines. The mean alpha of what is
# visible was 69 and 73 there; it is 115 for the faintest of 60 objects with known alpha.
_OUTLINE_ALPHA = 88
# A picture narrower than this shows an object only if at least this share of it is visible. Fragments of
# 12 x 2 and 10 x 1 pixels were cut out of strips of 500 x 2 and 500 x 1.
_STRIP_PIXELS = 3
_STRIP_SHARE = 0.1


@dataclass(frozen=True)
class Cut:
    """The alpha of a picture (H x W) and how far it can be trusted, 0..1."""

    alpha: Mask
    confidence: float
    is_kept: bool = False  # whether the alpha is the picture's own


def cut_out(
    engine: "MattingEngine", source: Picture, on_found: Callable[[], None], region: Box | None = None
) -> Cut:
    """The foreground of `source` or of its `region`; `on_found` is called between finding and refining it.

    The alpha of a picture that is a cut-out already is kept. Raises `NothingFound`.
    """
    is_cutout = source.has_alpha and transparency.is_cutout(source.pixels[..., 3])
    if region is not None:
        source = Picture(source.pixels[region.top : region.bottom, region.left : region.right], source.format)
    own = source.pixels[..., 3] if source.has_alpha else None
    if own is not None and is_cutout:
        on_found()
        return Cut(own.copy(), 1.0, is_kept=True)
    cut = _cut_out(engine, foreground.visible_colors(source), on_found, is_jpeg=source.format == "jpg")
    # Keep existing transparency. The minimum, because the product would thin soft edges.
    return cut if own is None else Cut(np.minimum(cut.alpha, own), cut.confidence)


def _cut_out(engine: "MattingEngine", visible: Pixels, on_found: Callable[[], None], *, is_jpeg: bool) -> Cut:
    from ml.imaging.matting import parts

    suspected = foreground.find_suspected(engine, visible)
    matte = parts.remove_uncertain(suspected)
    closer = _look_closer(engine, visible, matte)
    on_found()
    if closer is None:
        cut = Cut(_refine(visible, matte, is_jpeg), certainty(matte))
    else:
        box, near, agreement = closer
        alpha = np.zeros(visible.shape[:2], np.uint8)
        alpha[box.top : box.bottom, box.left : box.right] = _refine(_window(visible, box), near, is_jpeg)
        cut = Cut(alpha, certainty(near) * agreement)
    _follow_thin_lines(engine, visible, suspected, cut.alpha, is_jpeg)
    if _is_mere_outline(cut.alpha) or _is_fragment_of_strip(cut.alpha):
        raise NothingFound("No foreground was found in this image.")
    return cut


def _window(picture: Pixels, box: Box) -> Pixels:
    return np.ascontiguousarray(picture[box.top : box.bottom, box.left : box.right])


def _follow_thin_lines(
    engine: "MattingEngine", visible: Pixels, matte: Matte, alpha: Mask, is_jpeg: bool
) -> None:
    """Add to `alpha` the lines that lead from the object and that the network shows from nearby."""
    from ml.imaging.matting import thin_lines

    height, width = alpha.shape
    for line in thin_lines.find(matte, (width, height), _FOLLOWED_LINES):
        near = engine.matte(_window(visible, line.window))
        region = thin_lines.corridor(line, near, (width, height))
        if region is None:
            continue
        box = line.window
        refined = _refine(_window(visible, box), near, is_jpeg)
        part = alpha[box.top : box.bottom, box.left : box.right]
        np.maximum(part, refined, out=part, where=region)


def _refine(picture: Pixels, matte: Matte, is_jpeg: bool) -> Mask:
    from ml.imaging.matting import holes, parts, refinement

    small = refinement.reduced(picture, matte)
    opened = holes.open_holes(small, matte)
    crisp_within = refinement.JPEG_CRISP_WITHIN if is_jpeg else refinement.CRISP_WITHIN
    return parts.remove_islands(refinement.refine(picture, opened, small, crisp_within=crisp_within), opened)


def _is_mere_outline(alpha: Mask) -> bool:
    import cv2

    return bool(cv2.mean(alpha, (alpha >= FAINT_ALPHA).astype(np.uint8))[0] < _OUTLINE_ALPHA)


def _is_fragment_of_strip(alpha: Mask) -> bool:
    return min(alpha.shape) < _STRIP_PIXELS and float((alpha >= FAINT_ALPHA).mean()) < _STRIP_SHARE


def certainty(matte: Matte) -> float:
    """How certain the network is of the object, 0..1.

    The product of two: the width of the uncertain band around the edge, and the mean opacity of the object.
    """
    import cv2

    inside = (matte > 0.5).astype(np.uint8)
    edge_pixels = int((inside - cv2.erode(inside, np.ones((3, 3), np.uint8))).sum())
    uncertain_pixels = float((4 * matte * (1 - matte)).sum())
    width = uncertain_pixels / max(1, edge_pixels) / max(matte.shape)
    visible = matte > _VISIBLE
    opacity = float(matte[visible].mean()) if visible.any() else 0.0
    return float(_HAZY_EDGE / (_HAZY_EDGE + width)) * opacity


def _look_closer(engine: "MattingEngine", visible: Pixels, matte: Matte) -> tuple[Box, Matte, float] | None:
    """The object's surroundings, its matte there and the agreement of both runs; None to keep the first."""
    from ml.imaging.matting import parts

    height, width = visible.shape[:2]
    found = foreground.matte_box(matte, (width, height))
    if found.width * found.height > _CLOSER_LOOK_SHARE * width * height:
        return None
    margin = round(_MARGIN * max(found.width, found.height)) + 1
    box = Box(
        max(0, found.left - margin),
        max(0, found.top - margin),
        min(width, found.right + margin),
        min(height, found.bottom + margin),
    )
    near = parts.remove_uncertain(engine.matte(_window(visible, box)))
    first = _part_of(matte, box, (width, height), (_COMPARED_SIDE, _COMPARED_SIDE))
    agreement = _agreement(first, near)
    if agreement < _MIN_AGREEMENT:
        return None
    if agreement < _CLEAR_AGREEMENT and certainty(near) < certainty(matte):
        return None
    return box, _without_additions(near, matte, box, (width, height)), agreement


def _without_additions(near: Matte, matte: Matte, box: Box, picture: tuple[int, int]) -> Matte:
    """`near`, the closer look at `box`, without what the first look shows nothing of."""
    import cv2

    window = 2 * _ADDED_WITHIN + 1
    around = cv2.dilate(matte, np.ones((window, window), np.uint8))
    shown = _part_of(around, box, picture, (near.shape[1], near.shape[0]))
    return np.where(shown < _NOTHING, np.minimum(near, shown), near)


def _part_of(matte: Matte, box: Box, picture: tuple[int, int], size: tuple[int, int]) -> Matte:
    """What `matte` shows of `box`, at a size of (width, height)."""
    import cv2

    across, down = matte.shape[1] / picture[0], matte.shape[0] / picture[1]
    scale_x, scale_y = across * box.width / size[0], down * box.height / size[1]
    from_part = np.array(
        [
            [scale_x, 0, box.left * across + scale_x / 2 - 0.5],
            [0, scale_y, box.top * down + scale_y / 2 - 0.5],
        ]
    )
    answer: Matte = cv2.warpAffine(
        matte,
        from_part,
        size,
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return answer


def _agreement(first: Matte, second: Matte) -> float:
    """The intersection over the union of the objects in two mattes of the same part of a picture."""
    import cv2

    size = (_COMPARED_SIDE, _COMPARED_SIDE)
    inside = cv2.resize(first, size, interpolation=cv2.INTER_AREA) > 0.5
    also_inside = cv2.resize(second, size, interpolation=cv2.INTER_AREA) > 0.5
    return float((inside & also_inside).sum() / max(1, (inside | also_inside).sum()))
