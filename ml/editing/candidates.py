"""The candidates of a segmenter: cleans their masks, rejects what is not an object, ranks the rest.

All of it is done at the network's size, to save memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.engines.segmenting import Candidate
from ml.imaging.matting import growing, holes
from ml.imaging.selection_prompts import Click
from ml.pixels import Pixels

# Specks and holes below this share of the object are noise.
_SPECK_SHARE = 0.005
# A part is stray if the network is nowhere in it this certain, relative to its median certainty of the
# object, and if it is small and not near. In composites and photos, parts of the object reached half of it
# and more; patches of a table behind a cup and of a sleeve beside a wall reached a quarter.
_STRAY_LOGIT = 0.4
_STRAY_SHARE = 0.1  # of the object
_NEAR_SHARE = 1 / 64  # of the longer side of the logits
# A click within this distance of an object, in pixels of the logits, counts as on it.
_NEAR_PIXELS = 8
# The smallest object.
_MIN_PIXELS = 12
# Masks with a lower score are rejected.
_MIN_SCORE = 0.3
# A mask of nearly the whole picture is not an object: it is the output for plain areas.
_MAX_SHARE = 0.98
# The score of a small part is often a hundredth above that of the object. The weights were found with clicks
# on composites of known objects and checked on photos outlined by hand.
_CONTRAST_WEIGHT = 0.2
_STABILITY_WEIGHT = 0.1
_AREA_WEIGHT = 0.02  # for twice the area
# Colours of the two sides of a contour that differ by more than this are different surfaces; units of CIELAB,
# in which 2 is just visible.
_DIFFERENCE = 5.0
_SIDE_PIXELS = 4  # width of the strips along both sides of a contour
_WINDOW_PIXELS = 4 * _SIDE_PIXELS + 1  # in which their colours are averaged
# Contours of objects in photos are visible edges along three quarters and more, those of patches of grass,
# gravel and brick along half and less.
_VISIBLE_CONTOUR = 0.7
# Standard errors of the difference of two strips' mean colours beyond which it is not the chance of noise.
_SIGNIFICANT = 2.5
# Share of the object with its hole.
_LARGEST_HOLE = 0.8
# Of logits: outlines drawn this much lower and higher show how stable a mask is (Kirillov et al. 2023).
_STABLE_WITHIN = 1.0
# Colours that differ by less than this look the same.
_JUST_VISIBLE = 2.0

Colors = NDArray[np.float32]  # H x W x 3, CIELAB

_Region = NDArray[np.bool_]
_Floats = NDArray[np.float32]


def clean(candidate: Candidate, clicks: Sequence[Click]) -> Candidate:
    """`candidate` without small holes, specks and stray parts, except those that were clicked on.

    Clicks are in pixels of the logits.
    """
    inside = candidate.logits > 0
    least_pixels = max(_MIN_PIXELS, _SPECK_SHARE * np.count_nonzero(inside))
    logits = candidate.logits.copy()
    wanted = [click for click in clicks if click[2] == 1]
    logits[_small_parts(inside, least_pixels, wanted)] = -1
    logits[_stray_parts(logits, wanted)] = -1
    # Afterwards, because a speck in a hole would otherwise become a hole.
    logits[_small_parts(logits <= 0, least_pixels, [click for click in clicks if click[2] == 0])] = 1
    return replace(candidate, logits=logits)


def without_parts_outside(candidate: Candidate, region: _Region) -> Candidate:
    """`candidate` without the connected parts that do not touch `region` (of the size of its logits)."""
    inside = candidate.logits > 0
    count, labels = cv2.connectedComponents(inside.astype(np.uint8), connectivity=4)
    is_kept = np.zeros(count, bool)
    is_kept[labels[inside & region]] = True
    is_kept[0] = True
    return replace(candidate, logits=np.where(is_kept[labels], candidate.logits, np.float32(-1)))


def is_object(candidate: Candidate, clicks: Sequence[Click]) -> bool:
    """Whether it is certain, of a plausible size, and at a click on the object if there are any."""
    inside = candidate.logits > 0
    pixels = np.count_nonzero(inside)
    if candidate.score < _MIN_SCORE or not _MIN_PIXELS <= pixels <= _MAX_SHARE * inside.size:
        return False
    wanted = [click for click in clicks if click[2] == 1]
    return not wanted or any(_values_near(inside, click).any() for click in wanted)


def agrees(candidate: Candidate, clicks: Sequence[Click]) -> bool:
    """Whether its mask contains every click labelled 1 and none labelled 0; clicks are in its pixels."""
    height, width = candidate.logits.shape
    return all(
        (candidate.logits[min(int(y), height - 1), min(int(x), width - 1)] > 0) == (label == 1)
        for x, y, label in clicks
    )


def with_a_contour(candidates: Sequence[Candidate], colors: Colors) -> list[Candidate]:
    """The candidates whose contour is a visible edge somewhere, in `colors_of` the picture.

    The others are the output for plain areas. A mask up to the borders of the picture has no contour.
    """
    return [
        one
        for one in candidates
        if not _contour(one.logits > 0).any() or contrast_share(one.logits > 0, colors, _JUST_VISIBLE) > 0
    ]


def open_holes(candidate: Candidate, picture: Pixels, clicks: Sequence[Click]) -> Candidate:
    """`candidate` without holes that show a plain background, except those that were clicked on.

    Segmenters fill the hole of a ring. `picture` is H x W x 3.
    """
    inside = candidate.logits > 0
    opened = holes.open_holes(picture, inside.astype(np.float32), _LARGEST_HOLE) > 0.5
    count, labels = cv2.connectedComponents((inside & ~opened).astype(np.uint8), connectivity=4)
    is_hole = np.ones(count, bool)
    is_hole[0] = False
    for x, y, label in clicks:
        if label == 1:
            is_hole[labels[min(int(y), inside.shape[0] - 1), min(int(x), inside.shape[1] - 1)]] = False
    return replace(candidate, logits=np.where(is_hole[labels], -np.abs(candidate.logits), candidate.logits))


def preferred_first(candidates: Sequence[Candidate], colors: Colors) -> list[Candidate]:
    """The candidates with the one first that a click most likely means; the others keep their order.

    Scores of part, object and whole are often nearly equal. Among those, an object is distinguished by a
    contour that is a visible edge all along, by a mask that hardly depends on the threshold, and by its size:
    a click usually means the whole. `colors` are `colors_of` the picture.
    """
    if len(candidates) < 2:
        return list(candidates)
    best = max(range(len(candidates)), key=lambda number: _preference(candidates[number], colors))
    return [candidates[best], *candidates[:best], *candidates[best + 1 :]]


def colors_of(picture: Pixels, logits: _Floats) -> Colors:
    """The colours of `picture` (H x W x 3) in CIELAB at the size of `logits`: h x w x 3."""
    height, width = logits.shape
    small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    answer: Colors = cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    return answer


def _preference(candidate: Candidate, colors: Colors) -> float:
    inside = candidate.logits > 0
    area = np.count_nonzero(inside) / inside.size
    return (
        candidate.score
        + _CONTRAST_WEIGHT * contrast_share(inside, colors)
        + _STABILITY_WEIGHT * stability(candidate)
        + _AREA_WEIGHT * float(np.log2(max(area, 1e-6)))
    )


def stability(candidate: Candidate) -> float:
    """How little the mask shrinks and grows with the threshold, 0..1."""
    certain = int(np.count_nonzero(candidate.logits >= _STABLE_WITHIN))
    # With >= above, because filled holes and removed specks have just these values.
    possible = int(np.count_nonzero(candidate.logits > -_STABLE_WITHIN))
    return certain / max(1, possible)


def distinctness(candidate: Candidate, colors: Colors) -> float:
    """How far the contour of the mask is a visible edge, 0..1, in `colors_of` the picture.

    Networks are often certain of a patch of texture or noise, of which one part is as good as another.
    """
    inside = candidate.logits > 0
    if not _contour(inside).any():
        return 1.0
    visible = contrast_share(inside, colors, significance=_SIGNIFICANT)
    return min(1.0, visible / _VISIBLE_CONTOUR)


def _contour(inside: _Region) -> _Region:
    """The pixels along the edge of `inside`, without those at the border of the picture."""
    contour: _Region = (
        cv2.morphologyEx(inside.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    )
    contour[:2] = contour[-2:] = False
    contour[:, :2] = contour[:, -2:] = False
    return contour


def contrast_share(
    inside: _Region, colors: Colors, difference: float = _DIFFERENCE, significance: float = 0.0
) -> float:
    """The share of the contour of `inside`, 0..1, whose sides differ by more than `difference`.

    They must also differ by `significance` standard errors, as if their pixels were independent. `colors` is
    H x W x 3 in CIELAB. Returns 0 if the contour runs along the border of the picture only.
    """
    contour = _contour(inside)
    if not contour.any():
        return 0.0
    part = _part_around(contour)
    inner, near, places = inside[part].astype(np.uint8), colors[part], np.flatnonzero(contour[part])
    strip = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _SIDE_PIXELS + 1, 2 * _SIDE_PIXELS + 1))
    sides = inner - cv2.erode(inner, strip), cv2.dilate(inner, strip) - inner
    of_object, of_other = (_gathered(near, side, places) for side in sides)
    differences = np.linalg.norm(of_object.means - of_other.means, axis=1)
    least: _Floats | float = difference
    if significance > 0:
        errors = of_object.squared_errors() + of_other.squared_errors()
        least = np.maximum(difference, significance * np.sqrt(errors))
    return float((differences > least).mean())


def _part_around(contour: _Region) -> tuple[slice, slice]:
    """The part of the picture that the colours beside `contour` depend on."""
    reach = _WINDOW_PIXELS // 2 + _SIDE_PIXELS + 1
    left, top, width, height = cv2.boundingRect(contour.astype(np.uint8))
    rows = slice(max(0, top - reach), top + height + reach)
    return rows, slice(max(0, left - reach), left + width + reach)


@dataclass(frozen=True)
class _Beside:
    """The colours of one side of a contour near each of N places."""

    visible: Colors  # 0 except on this side
    places: NDArray[np.intp]  # flat
    counts: _Floats  # N, of pixels
    means: _Floats  # N x 3

    def squared_errors(self) -> _Floats:
        """The squared standard error of each mean (N), over all channels."""
        squares = cv2.transform(cv2.multiply(self.visible, self.visible), np.ones((1, 3), np.float32))
        mean_squares = _sums(squares).ravel()[self.places] / self.counts
        variances = np.maximum(mean_squares - np.square(self.means).sum(axis=1), 0)
        answer: _Floats = variances / self.counts
        return answer


def _gathered(colors: Colors, side: NDArray[np.uint8], places: NDArray[np.intp]) -> _Beside:
    """What is near each of `places`, of the pixels where `side` is 1."""
    visible = cv2.copyTo(colors, side)
    counts: _Floats = np.maximum(_sums(side).ravel()[places], 1)
    means: _Floats = _sums(visible).reshape(-1, 3)[places] / counts[:, None]
    return _Beside(visible, places, counts, means)


def _sums(values: NDArray[Any]) -> _Floats:
    """The sum over the window around each pixel."""
    answer: _Floats = cv2.boxFilter(values, cv2.CV_32F, (_WINDOW_PIXELS, _WINDOW_PIXELS), normalize=False)
    return answer


def _small_parts(inside: _Region, least_pixels: float, kept: Sequence[Click]) -> _Region:
    """The connected parts of `inside` with fewer than `least_pixels`, except those at a click in `kept`."""
    # OpenCV's statistics would take several times as long.
    count, labels = cv2.connectedComponents(inside.astype(np.uint8), connectivity=4)
    small = np.bincount(labels.ravel(), minlength=count) < least_pixels
    small[0] = False
    for click in kept:
        small[_values_near(labels, click)] = False
    answer: _Region = small.take(labels) if small.any() else np.zeros_like(inside)
    return answer


def _stray_parts(logits: _Floats, clicks: Sequence[Click]) -> _Region:
    """The connected parts that are small, uncertain and far from the object: the parts at `clicks`.

    Without clicks, the largest part is the object.
    """
    inside = logits > 0
    count, labels = cv2.connectedComponents(inside.astype(np.uint8), connectivity=4)
    if count <= 2:
        return np.zeros_like(inside)
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    is_object = np.zeros(count, bool)
    for click in clicks:
        is_object[_values_near(labels, click)] = True
    is_object[0] = False
    if not is_object.any():
        is_object[areas.argmax()] = True
    certain = _STRAY_LOGIT * float(np.median(logits[is_object.take(labels)]))
    is_kept = is_object | (areas >= _STRAY_SHARE * areas[is_object].sum())
    is_kept |= np.bincount(labels[inside & (logits >= certain)], minlength=count) > 0
    near = growing.grown(is_kept.take(labels), max(1, round(max(logits.shape) * _NEAR_SHARE)))
    is_kept |= np.bincount(labels[near], minlength=count) > 0
    is_kept[0] = True
    answer: _Region = ~is_kept.take(labels)
    return answer


def _values_near(values: NDArray[np.generic], click: Click) -> NDArray[np.generic]:
    """The values around a click."""
    column, row = int(click[0]), int(click[1])
    rows = slice(max(0, row - _NEAR_PIXELS), row + _NEAR_PIXELS + 1)
    return values[rows, max(0, column - _NEAR_PIXELS) : column + _NEAR_PIXELS + 1].ravel()
