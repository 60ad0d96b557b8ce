"""Resizing pictures for networks."""

import cv2
import numpy as np
from PIL import Image

from ml.pixels import Pixels


def resize_for_network(picture: Pixels, width: int, height: int) -> Pixels:
    """`picture` (H x W x 3) at exactly this size, resampled as in the networks' training.

    Uses Pillow's Lanczos, whose window grows with the reduction, unlike OpenCV's: mattes differ visibly
    otherwise. Large pictures are first reduced by an integer factor, which halves the time without visible
    effect.
    """
    near_width = picture.shape[1] // max(1, picture.shape[1] // (2 * width))
    near_height = picture.shape[0] // max(1, picture.shape[0] // (2 * height))
    if (near_height, near_width) != picture.shape[:2]:
        picture = cv2.resize(picture, (near_width, near_height), interpolation=cv2.INTER_AREA)
    image = Image.fromarray(np.ascontiguousarray(picture))
    return np.asarray(image.resize((width, height), Image.Resampling.LANCZOS))
