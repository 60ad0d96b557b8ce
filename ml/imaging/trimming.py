"""Finds the content of a picture inside a border of one colour."""

import numpy as np
from numpy.typing import NDArray

from ml.errors import NothingFound
from ml.imaging.geometry import Box
from ml.pixels import Mask, Pixels


def content_box(pixels: Pixels, tolerance: int) -> Box:
    """The box around all pixels of H x W x 3|4 that differ from the border.

    The border's colour is that of most corners. A pixel differs if a channel is more than `tolerance`
    (0..255) away from it; where the border is transparent, if its alpha is more than `tolerance`. Raises
    `NothingFound` if no pixel differs.
    """
    is_content = _content(pixels, _border_color(pixels, tolerance), tolerance)
    rows = np.flatnonzero(is_content.any(axis=1))
    columns = np.flatnonzero(is_content.any(axis=0))
    if not len(rows):
        raise NothingFound("There is nothing to trim to: the whole image is of one colour.")
    return Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


def _border_color(pixels: Pixels, tolerance: int) -> NDArray[np.int16]:
    corners = pixels[[0, 0, -1, -1], [0, -1, 0, -1]].astype(np.int16)
    if corners.shape[1] == 4:
        corners[corners[:, 3] <= tolerance] = 0  # ignore colour under transparency
    is_near = (np.abs(corners[:, None] - corners[None]) <= tolerance).all(axis=2)
    answer: NDArray[np.int16] = corners[is_near.sum(axis=1).argmax()]
    return answer


def _content(pixels: Pixels, border: NDArray[np.int16], tolerance: int) -> NDArray[np.bool_]:
    if len(border) == 4 and border[3] <= tolerance:
        return pixels[..., 3] > tolerance
    import cv2

    lowest, highest = np.clip(border - tolerance, 0, 255), np.clip(border + tolerance, 0, 255)
    is_border: Mask = cv2.inRange(pixels, lowest.astype(np.uint8), highest.astype(np.uint8))
    return np.equal(is_border, 0)
