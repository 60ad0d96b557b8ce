"""Regions of a matte, and masks, grown by a square on all sides."""

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.pixels import Mask

Region = NDArray[np.bool_]  # H x W


def grown(region: Region, pixels: int) -> Region:
    """`region` and what is at most `pixels` away from it, across or down."""
    answer: Region = dilated(region.astype(np.uint8), pixels) > 0
    return answer


def dilated(mask: Mask, pixels: int) -> Mask:
    """The largest value within `pixels` of each pixel of `mask` (H x W), across and down."""
    answer: Mask = cv2.dilate(mask, np.ones((2 * pixels + 1, 2 * pixels + 1), np.uint8))
    return answer
