"""Masks drawn from the numbers that magic-select answers, for comparison with the mask itself."""

import cv2
import numpy as np

from ml.imaging.outlines import Ring
from ml.pixels import Mask


def from_polygons(parts: list[list[Ring]], size: tuple[int, int]) -> Mask:
    """The mask of `to_polygons` in a picture of `size` (width, height): H x W, 0 or 255."""
    mask = np.zeros((size[1], size[0]), np.uint8)
    for rings in parts:
        cv2.fillPoly(mask, [np.array(ring, np.int32) for ring in rings], 255)
    return mask


def from_run_lengths(rle: dict[str, list[int]]) -> Mask:
    """The mask of `to_run_lengths`: H x W, 0 or 255. Raises ValueError if the counts are not of this size."""
    height, width = rle["size"]
    counts = rle["counts"]
    if sum(counts) != height * width:
        raise ValueError(f"the counts sum up to {sum(counts)}, not to {height} x {width}")
    values = np.repeat(np.arange(len(counts)) % 2 * 255, counts).astype(np.uint8)
    return np.ascontiguousarray(values.reshape(width, height).T)
