"""Metrics that distinguish a good filling from a blur, a smear or a patch with a visible edge."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.pixels import Pixels

Region = NDArray[np.bool_]


@dataclass(frozen=True)
class Figures:
    """Of the filled area, beside its surroundings."""

    mean_difference: float  # of the mean colours, 0..255
    deviation_ratio: float  # of the brightness' standard deviation
    texture_ratio: float  # of the mean strength of fine detail
    seam_ratio: float  # of the mean step across the area's edge to the mean step elsewhere around it


def figures(pixels: Pixels, filled: Region, around_pixels: int = 24) -> Figures:
    """`filled` (H x W) is the area that was made; its surroundings are `around_pixels` wide."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)
    detail = np.abs(cv2.Laplacian(grey, cv2.CV_32F))
    around = _grown(filled, around_pixels) & ~_grown(filled, 2)
    inside = ~_grown(~filled, 2)
    return Figures(
        mean_difference=float(np.abs(pixels[filled].mean(axis=0) - pixels[around].mean(axis=0)).max()),
        deviation_ratio=float(grey[filled].std() / grey[around].std()),
        texture_ratio=float(detail[inside].mean() / detail[around].mean()),
        seam_ratio=_step_across(grey, filled) / _steps_within(grey, around),
    )


def painted_over(photo: Pixels, hole: Region) -> Pixels:
    """The photo with something glaring in the hole, which must leave no trace."""
    pixels = photo.copy()
    pixels[hole] = (255, 0, 255)
    return pixels


def disc(pixels: Pixels, row: int, column: int, radius: int) -> Region:
    rows, columns = np.ogrid[: pixels.shape[0], : pixels.shape[1]]
    return np.asarray((rows - row) ** 2 + (columns - column) ** 2 <= radius**2)


def _grown(region: Region, pixels: int) -> Region:
    side = 2 * pixels + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return np.asarray(cv2.dilate(region.astype(np.uint8), kernel) > 0)


def _step_across(grey: NDArray[np.float32], region: Region) -> float:
    """The mean difference between neighbours of which one is in the region and the other is not."""
    across = [np.abs(np.diff(grey, axis=axis))[np.diff(region, axis=axis)] for axis in (0, 1)]
    return float(np.concatenate(across).mean())


def _steps_within(grey: NDArray[np.float32], region: Region) -> float:
    within = []
    for axis in (0, 1):
        first, second = (np.delete(region, end, axis=axis) for end in (-1, 0))
        within.append(np.abs(np.diff(grey, axis=axis))[first & second])
    return float(np.concatenate(within).mean())
