"""A picture with a hole, at full size and at successive halves, for filling coarse to fine."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.pixels import Pixels

Region = NDArray[np.bool_]  # H x W

# The hole is reduced until no place in it is farther than this from its rim, so that patches span it.
_COARSEST_DEPTH_PIXELS = 4
# Holes of these depths are reduced less, but at least once: their surroundings, such as bricks, often have
# details of their size. Across a thinner hole the rims on both sides must be seen together, and a larger one
# repeats objects. At the full size alone, what is copied to the middle of a hole first stays there: the mean
# error of discs with radii of 6 to 10 pixels in four photos was twice as large (28 and 14 levels).
_DETAILED_DEPTHS_PIXELS = (10, 64)
_COARSEST_DETAILED_DEPTH_PIXELS = 16
# A level needs this many places to copy from, and this many for each pixel of the hole.
_MIN_SOURCES = 100
_MIN_SOURCES_PER_HOLE_PIXEL = 0.03
_MIN_SIDE_PIXELS = 24


@dataclass(frozen=True)
class Level:
    """One level of the pyramid. Colours inside the hole are undefined and never used."""

    colors: Pixels  # H x W x 3
    hole: Region  # to be filled
    usable: Region  # may be copied from: known and visible

    @cached_property
    def depth_pixels(self) -> float:
        """Distance of the innermost pixel of the hole to known ones, which must exist."""
        return float(depths(self.hole).max(initial=0))

    def sources(self, radius: int) -> Region:
        """Centres of patches of (2 radius + 1)² pixels that are completely within the usable part."""
        unusable = np.pad(~self.usable, 1, constant_values=True).astype(np.uint8)
        window = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
        grown = cv2.dilate(unusable, window, borderType=cv2.BORDER_CONSTANT, borderValue=1)
        answer: Region = grown[1:-1, 1:-1] == 0
        return answer


def depths(region: Region) -> NDArray[np.float32]:
    """The distance of each pixel of `region` to others, in the box around the region; empty without any."""
    inside = region.astype(np.uint8)
    left, top, width, height = cv2.boundingRect(inside)
    # With a pixel of the others around it: nothing farther is nearer. The picture goes on beyond its border.
    padded = cv2.copyMakeBorder(inside, 1, 1, 1, 1, cv2.BORDER_REPLICATE)[top : top + height + 2]
    found = cv2.distanceTransform(np.ascontiguousarray(padded[:, left : left + width + 2]), cv2.DIST_L2, 3)
    answer: NDArray[np.float32] = found[1:-1, 1:-1]
    return answer


def build(full: Level, radius: int) -> list[Level]:
    """The full size first, then halves, as long as there are sources for patches of `radius`."""
    levels = [full]
    thinnest, deepest = _DETAILED_DEPTHS_PIXELS
    is_detailed = thinnest <= full.depth_pixels <= deepest
    depth = _COARSEST_DETAILED_DEPTH_PIXELS if is_detailed else _COARSEST_DEPTH_PIXELS
    while levels[-1].depth_pixels > depth or (is_detailed and len(levels) == 1):
        smaller = halve(levels[-1])
        if min(smaller.hole.shape) < _MIN_SIDE_PIXELS or not has_sources(smaller, radius):
            break
        levels.append(smaller)
    return levels


def build_to(full: Level, radius: int, coarseness: float) -> list[Level]:
    """The full size first, then halves down to about 1/`coarseness`, as long as there are sources."""
    levels = [full]
    for _ in range(round(math.log2(max(1.0, coarseness)))):
        smaller = halve(levels[-1])
        if min(smaller.hole.shape) < _MIN_SIDE_PIXELS or not has_sources(smaller, radius):
            break
        levels.append(smaller)
    return levels


def has_sources(level: Level, radius: int) -> bool:
    """Whether there is enough to copy from for more than a blur."""
    fewest = max(_MIN_SOURCES, int(level.hole.sum()) * _MIN_SOURCES_PER_HOLE_PIXEL)
    return int(level.sources(radius).sum()) >= fewest


def halve(level: Level) -> Level:
    """Average the known ones of each four pixels, so that the hole's content does not leak."""
    height, width = level.hole.shape
    half = ((width + 1) // 2, (height + 1) // 2)
    margins = (0, 2 * half[1] - height, 0, 2 * half[0] - width)
    known = np.where(level.hole, np.uint8(0), np.uint8(255))
    visible = cv2.bitwise_and(level.colors, level.colors, mask=known)
    share = _reduced(known, half, margins)
    colors = _reduced(visible, half, margins)
    partly = (share > 0) & (share < 255)
    raised = colors[partly].astype(np.float32) * (255 / share[partly].astype(np.float32))[:, None]
    colors[partly] = np.minimum(np.rint(raised), 255)
    usable = _reduced(level.usable.astype(np.uint8) * np.uint8(255), half, margins) == 255
    return Level(colors, share < 128, usable)


def _reduced(plane: Pixels, half: tuple[int, int], margins: tuple[int, int, int, int]) -> Pixels:
    if any(margins):
        plane = cv2.copyMakeBorder(plane, *margins, cv2.BORDER_REPLICATE)
    answer: Pixels = cv2.resize(plane, half, interpolation=cv2.INTER_AREA)
    return answer


def patches_touching(region: Region, radius: int) -> Region:
    """The centres of all patches of (2 radius + 1)² pixels that overlap `region`."""
    window = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
    return np.asarray(cv2.dilate(region.astype(np.uint8), window) > 0)


def nearest(
    places: Region, rows: NDArray[Any], columns: NDArray[Any]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Row and column of the pixel of `places` (not empty) that is nearest to each one asked for."""
    elsewhere = np.where(places, np.uint8(0), np.uint8(1))
    _, labels = cv2.distanceTransformWithLabels(elsewhere, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    place_rows, place_columns = np.nonzero(places)
    row_of = np.zeros(int(labels.max()) + 1, np.int32)
    column_of = np.zeros_like(row_of)
    own = labels[place_rows, place_columns]
    row_of[own] = place_rows
    column_of[own] = place_columns
    wanted = labels[rows, columns]
    return row_of[wanted], column_of[wanted]
