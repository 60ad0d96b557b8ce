"""Finds thin lines, such as cables, that lead from the object and of which the network is uncertain."""

import functools
from dataclasses import dataclass

import cv2
import numpy as np

from ml.imaging.geometry import Box
from ml.imaging.matting.growing import Region, dilated, grown
from ml.pixels import Mask, Matte

# What the network suspects; above `_SURE` it shows the object.
_SUSPECTED = 0.06
_SURE = 0.5
# Shares of the matte's longer side: the widest line, the shortest, and how close to the object it begins.
_WIDEST = 1 / 50
_SHORTEST = 1 / 12
_NEAR = 1 / 32
# Lines that are sure for a larger share of their pixels need no second run of the network.
_MOSTLY_SURE = 0.6
# Around a line, for the network; times the longer side of the line's box.
_MARGIN = 0.15
# A window that is a larger share of the picture shows the network little more than the picture did.
_LARGEST_WINDOW = 0.5
# How far from the suspected line the second run may find it; a share of the window's longer side.
_CORRIDOR = 1 / 32
# The soft edge of a line, in pixels of the second matte.
_SOFT_EDGE = 3
# The second run agrees if it is sure of at least this share of the suspected pixels.
_MIN_AGREEMENT = 0.5


@dataclass(frozen=True)
class ThinLine:
    """The suspected pixels (H x W, of the matte's size) and the picture's window to look at again."""

    suspected: Region
    window: Box


def find(matte: Matte, picture: tuple[int, int], limit: int) -> list[ThinLine]:
    """At most `limit` lines that start at the object, the longest first, in a picture of (width, height)."""
    side = max(matte.shape)
    suspected = cv2.inRange(matte, _SUSPECTED, np.inf)
    width = max(3, round(side * _WIDEST) | 1)
    thick = _opened(suspected, width)
    thin = cv2.bitwise_and(suspected, cv2.bitwise_not(dilated(thick, 2)))
    # Grown by a pixel, so that a line of single pixels is one region.
    regions = _long_regions(dilated(thin, 1), side * _SHORTEST)
    if not regions:
        return []
    _, labels = cv2.connectedComponents(dilated(thin, 1), connectivity=8)
    near_object = grown((matte > _SURE) & (thick > 0), max(1, round(side * _NEAR)))
    lines: list[ThinLine] = []
    for region in regions:
        if len(lines) == limit:
            break
        line = (labels == labels[region.start]) & (thin > 0)
        if not (line & near_object).any() or float((matte[line] > _SURE).mean()) > _MOSTLY_SURE:
            continue
        window = _window(region.box, matte.shape, picture)
        if window.width * window.height <= _LARGEST_WINDOW * picture[0] * picture[1]:
            lines.append(ThinLine(line, window))
    return lines


@dataclass(frozen=True)
class _Region:
    start: tuple[int, int]  # row and column of one of its pixels
    box: Box


def _long_regions(mask: Mask, shortest: float) -> list[_Region]:
    """The connected regions of `mask` whose box has at least one side of `shortest`, the longest first.

    By contours, because OpenCV's statistics of components take six times as long.
    """
    contours, hierarchy = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    regions = []
    for contour, (_, _, _, parent) in zip(contours, [] if hierarchy is None else hierarchy[0], strict=True):
        left, top, width, height = cv2.boundingRect(contour)
        is_hole = parent >= 0
        if not is_hole and max(width, height) >= shortest:
            x, y = contour[0, 0]
            regions.append(_Region((int(y), int(x)), Box(left, top, left + width, top + height)))
    return sorted(regions, key=lambda region: (-max(region.box.width, region.box.height), region.start))


def _opened(mask: Mask, width: int) -> Mask:
    """`mask` without what is thinner than a disc of this width.

    The disc is the union of rectangles about its centre, for which erosion and dilation take a third of the
    time together.
    """
    rows = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width)).sum(axis=1)
    boxes = [np.ones((int((rows >= across).sum()), int(across)), np.uint8) for across in np.unique(rows)]
    eroded = functools.reduce(cv2.min, (cv2.erode(mask, box) for box in boxes))
    answer: Mask = functools.reduce(cv2.max, (cv2.dilate(eroded, box) for box in boxes))
    return answer


def _window(box: Box, matte: tuple[int, ...], picture: tuple[int, int]) -> Box:
    across, down = picture[0] / matte[1], picture[1] / matte[0]
    margin = _MARGIN * max(box.width * across, box.height * down)
    return Box(
        max(0, round(box.left * across - margin)),
        max(0, round(box.top * down - margin)),
        min(picture[0], round(box.right * across + margin)),
        min(picture[1], round(box.bottom * down + margin)),
    )


def corridor(line: ThinLine, closer: Matte, picture: tuple[int, int]) -> Region | None:
    """Where the line is in its window, of the window's size; None if the second run does not show it.

    `closer` is the network's matte of the window, of any size.
    """
    window = line.window
    across, down = line.suspected.shape[1] / picture[0], line.suspected.shape[0] / picture[1]
    height, width = closer.shape
    columns = ((window.left + (np.arange(width) + 0.5) * window.width / width) * across).astype(int)
    rows = ((window.top + (np.arange(height) + 0.5) * window.height / height) * down).astype(int)
    suspected = line.suspected[
        np.minimum(rows, line.suspected.shape[0] - 1)[:, None],
        np.minimum(columns, line.suspected.shape[1] - 1)[None, :],
    ]
    # The suspected line is wider than the one found, which need only be near its pixels.
    found = closer > _SURE
    reach = max(1, round(_CORRIDOR * max(closer.shape)))
    if float(grown(found, reach)[suspected].mean()) < _MIN_AGREEMENT:
        return None
    opened = cv2.morphologyEx(
        found.astype(np.uint8), cv2.MORPH_OPEN, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    )
    # The line is followed beyond its suspected part, to the object and to its end.
    _, labels = cv2.connectedComponents((found & ~grown(opened > 0, 1)).astype(np.uint8), connectivity=8)
    is_line = np.zeros(int(labels.max()) + 1, bool)
    is_line[np.unique(labels[grown(suspected, reach)])] = True
    is_line[0] = False
    near = grown(is_line[labels], _SOFT_EDGE)
    enlarged: Mask = cv2.resize(
        near.astype(np.uint8), (window.width, window.height), interpolation=cv2.INTER_NEAREST
    )
    answer: Region = enlarged > 0
    return answer
