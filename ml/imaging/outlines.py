"""Converts masks to polygons and run lengths."""

from typing import Any

import cv2
import numpy as np

from ml.pixels import Mask

# Tolerance of simplified outlines: in pixels, and as a share of the picture's longer side.
_MIN_DEVIATION_PIXELS = 0.7
_DEVIATION = 0.0004
_INSIDE = 127

Ring = list[list[int]]  # [[x, y], ...]


def to_polygons(mask: Mask) -> list[list[Ring]]:
    """The outlines of `mask` (H x W, above 127 = inside), simplified: for each part its rim, then its holes.

    Points are pixels that belong to the mask; even-odd filling of all rings gives it back.
    """
    inside = cv2.threshold(mask, _INSIDE, 255, cv2.THRESH_BINARY)[1]
    contours, hierarchy = cv2.findContours(inside, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    deviation = max(_MIN_DEVIATION_PIXELS, _DEVIATION * max(mask.shape))
    parts: dict[int, list[Ring]] = {}
    for number, contour in enumerate(contours):
        parent = int(hierarchy[0][number][3])
        simple = cv2.approxPolyDP(contour, deviation, True)
        if parent == -1:
            rim = simple if len(simple) >= 3 else _rectangle(contour)
            parts.setdefault(number, []).insert(0, rim.reshape(-1, 2).tolist())
        elif len(simple) >= 3:
            parts.setdefault(parent, []).append(simple.reshape(-1, 2).tolist())
    return list(parts.values())


def _rectangle(contour: Any) -> Any:
    """Four corners for a part that is too thin for a polygon."""
    left, top, width, height = cv2.boundingRect(contour)
    right, bottom = left + width - 1, top + height - 1
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


def to_run_lengths(mask: Mask) -> dict[str, list[int]]:
    """`mask` (H x W, above 127 = inside) in COCO's uncompressed form.

    `size` is [height, width]; `counts` are lengths of runs down the columns, the first outside.
    """
    column_by_column = (mask > _INSIDE).T.reshape(-1)
    changes = np.flatnonzero(column_by_column[1:] != column_by_column[:-1]) + 1
    edges = np.concatenate(([0], changes, [column_by_column.size]))
    counts: list[int] = np.diff(edges).tolist()
    return {"size": [*map(int, mask.shape)], "counts": [0, *counts] if column_by_column[0] else counts}
