"""Windows of a picture for networks of limited input size, and the order in which they are painted."""

import math
from collections.abc import Iterator

import cv2
import numpy as np

from ml.imaging.pyramid import Region

Window = tuple[slice, slice]

# Distance between windows, as a share of their side.
_STRIDE_SHARE = 0.75


def around(box: tuple[int, int, int, int], size: tuple[int, int], shape: tuple[int, int]) -> Window:
    """The window of `size` (width, height) around `box` (left, top, width, height).

    It is moved into a picture of `shape` (height, width), and is smaller if the picture is.
    """
    left, top, across, along = box
    return _placed(top + along / 2, size[1], shape[0]), _placed(left + across / 2, size[0], shape[1])


def _placed(middle: float, length: int, most: int) -> slice:
    """A span of `length` around `middle`, moved into 0..`most`, or all of that."""
    start = max(0, min(round(middle - length / 2), most - length))
    return slice(start, min(most, start + length))


def outward(hole: Region, side: int, reach_pixels: float) -> Iterator[tuple[Window, Region]]:
    """Square windows of `side`, and the part of `hole` to paint in each, in order.

    Each part is within `reach_pixels` of pixels that are known by then. Together they are the hole.
    """
    height, width = hole.shape
    unknown = hole.copy()
    while unknown.any():
        band = unknown & (distance_to_known(unknown) <= reach_pixels)
        for rows in _overlapping_spans(height, side):
            for columns in _overlapping_spans(width, side):
                window = rows, columns
                painted = band[window].copy()
                if painted.any():
                    band[window] = False
                    unknown[window] &= ~painted
                    yield window, painted


def distance_to_known(unknown: Region) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """The distance of each pixel to known ones. 0 everywhere if there are none."""
    if unknown.all():
        return np.zeros(unknown.shape, np.float32)
    return np.asarray(cv2.distanceTransform(unknown.astype(np.uint8), cv2.DIST_L2, 5), np.float32)


def _overlapping_spans(length: int, side: int) -> list[slice]:
    """Evenly spaced, overlapping spans of `side` that cover `length`."""
    if length <= side:
        return [slice(0, length)]
    count = 1 + math.ceil((length - side) / (side * _STRIDE_SHARE))
    starts = np.rint(np.linspace(0, length - side, count)).astype(int)
    return [slice(int(start), int(start) + side) for start in starts]
