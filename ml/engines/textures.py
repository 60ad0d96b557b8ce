"""Local mean colour and texture of a picture, for choosing patches."""

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.imaging.pyramid import Level
from ml.pixels import Mask

# Weight of differences between neighbours relative to colours.
_TEXTURE_WEIGHT = 2.0
_TEXTURE_WINDOW = 5
# Local means that differ by less (of 255) count as equal.
_SAME_LOOK = 6.0
_MAX_RIM_PLACES = 400
_MAX_UNIQUE_PLACES = 6_000
_MAX_COMPARED_PLACES = 1_500
_UNIQUE_AT_ONCE = 512
# Places up to this percentile of uniqueness count as ordinary.
_USUAL_PERCENT = 50


def measure_texture(level: Level) -> Mask:
    """How much neighbouring pixels differ around each pixel (H x W), excluding the hole's rim.

    Distinguishes areas of equal colour, such as grass and a blurred lawn.
    """
    grey = cv2.cvtColor(np.ascontiguousarray(level.colors), cv2.COLOR_RGB2GRAY)
    steps = np.zeros(grey.shape, np.float32)
    steps[:, :-1] += cv2.absdiff(grey[:, 1:], grey[:, :-1])
    steps[:-1] += cv2.absdiff(grey[1:], grey[:-1])
    rim = cv2.dilate(level.hole.astype(np.uint8), np.ones((3, 3), np.uint8))
    apart = (rim == 0).astype(np.float32)
    window = (_TEXTURE_WINDOW, _TEXTURE_WINDOW)
    share = np.maximum(cv2.blur(apart, window), np.float32(1e-3))
    busy = cv2.blur(steps * apart, window) / share
    answer: Mask = np.clip(busy * _TEXTURE_WEIGHT, 0, 255).astype(np.uint8)
    return answer


def strangeness(level: Level, radius: int) -> NDArray[np.float32]:
    """How different each place is from everything at the hole's rim (H x W, 0..255).

    The smallest difference between the mean colour and texture within `radius` pixels of the place and of any
    place at the rim.
    """
    window = (2 * radius + 1, 2 * radius + 1)
    picture = np.dstack([level.colors, measure_texture(level)])
    means = cv2.blur(picture, window, borderType=cv2.BORDER_REFLECT_101).astype(np.float32)
    inner, outer = (
        cv2.dilate(level.hole.astype(np.uint8), np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)) > 0
        for reach in (radius, 2 * radius)
    )
    at_rim = means[outer & ~inner & level.usable]
    if not len(at_rim):
        return np.zeros(level.hole.shape, np.float32)
    answer = np.full(level.hole.shape, 255, np.float32)
    for mean in at_rim[:: 1 + len(at_rim) // _MAX_RIM_PLACES]:
        np.minimum(answer, np.abs(means - mean).mean(axis=2), out=answer)
    return np.asarray(np.maximum(answer - _SAME_LOOK, 0), np.float32)


def uniqueness(level: Level, radius: int) -> NDArray[np.float32]:
    """How much each place differs from every other part of the picture (H x W, 0..255).

    Ground, sky and edges that go on look like something elsewhere; text, logos, faces and single objects do
    not, and a copy of them is noticed. The difference to the second most similar of up to 1,500 places that
    are not neighbours, in colours and texture averaged over thirds of a patch.
    """
    picture = np.dstack([level.colors, measure_texture(level)])
    side = 2 * radius + 1
    third = max(1, side // 3)
    means = cv2.blur(picture, (third, third), borderType=cv2.BORDER_REFLECT_101).astype(np.float32)
    rows, columns = np.nonzero(level.sources(radius))
    answer = np.zeros(level.hole.shape, np.float32)
    if not len(rows):
        return answer
    every = np.arange(0, len(rows), 1 + len(rows) // _MAX_UNIQUE_PLACES)
    compared = np.arange(0, len(rows), 1 + len(rows) // _MAX_COMPARED_PLACES)
    shifts = [(down, right) for down in (-third, 0, third) for right in (-third, 0, third)]
    described = np.concatenate(
        [means[rows[every] + down, columns[every] + right] for down, right in shifts], axis=1
    )
    others = np.concatenate(
        [means[rows[compared] + down, columns[compared] + right] for down, right in shifts], axis=1
    )
    found = np.empty(len(every), np.float32)
    for start in range(0, len(every), _UNIQUE_AT_ONCE):
        some = slice(start, start + _UNIQUE_AT_ONCE)
        squares = (described[some] ** 2).sum(axis=1)[:, None] + (others**2).sum(axis=1)[None]
        squares -= 2 * described[some] @ others.T
        near = (np.abs(rows[every[some], None] - rows[compared]) <= 2 * side) & (
            np.abs(columns[every[some], None] - columns[compared]) <= 2 * side
        )
        squares[near] = np.inf
        second = np.partition(squares, min(1, squares.shape[1] - 1), axis=1)[:, min(1, squares.shape[1] - 1)]
        found[some] = np.sqrt(np.maximum(second, 0) / described.shape[1])
    found[~np.isfinite(found)] = 0
    usual = float(np.percentile(found, _USUAL_PERCENT))
    answer[rows[every], columns[every]] = np.clip(found - usual, 0, 255)
    step = 2 * (1 + int(np.sqrt(len(rows) / len(every)))) + 1
    return np.asarray(cv2.dilate(answer, np.ones((step, step), np.uint8)), np.float32)
