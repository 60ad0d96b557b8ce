"""Moves, scales and turns the subject of a cut-out on its canvas."""

import math
from dataclasses import dataclass

import numpy as np

from ml.imaging.framing import object_box
from ml.pixels import Mask, Pixels

# Smaller subjects are averaged first, because bilinear interpolation would skip pixels.
_SMALLEST_INTERPOLATED = 0.5


@dataclass(frozen=True)
class SubjectMove:
    """Scaled and turned about the middle of its box, then moved; right, down and clockwise are positive."""

    x_pixels: int = 0
    y_pixels: int = 0
    scale: float = 1.0
    degrees: float = 0.0

    @property
    def keeps_pixels(self) -> bool:
        """Whether whole pixels move, so that nothing is resampled."""
        return self.scale == 1 and self.degrees % 360 == 0


def move_subject(
    colors: Pixels, alpha: Mask, move: SubjectMove, middle: tuple[float, float] | None = None
) -> tuple[Pixels, Mask]:
    """Colours (H x W x 3) and alpha (H x W) with the subject moved on the same canvas, which cuts it off.

    `middle`: where it is scaled and turned about, x and y, if that is not the middle of its box.
    """
    import cv2

    box = object_box(alpha)
    if box is None or move == SubjectMove():
        return colors, alpha
    height, width = alpha.shape
    middle = middle or ((box.left + box.right) / 2, (box.top + box.bottom) / 2)
    visible: Pixels = cv2.bitwise_and(colors, colors, mask=np.ascontiguousarray(alpha))
    if move.keeps_pixels:
        shift = np.array([[1, 0, move.x_pixels], [0, 1, move.y_pixels]], np.float64)
        moved = [
            cv2.warpAffine(part, shift, (width, height), flags=cv2.INTER_NEAREST) for part in (visible, alpha)
        ]
        return moved[0], moved[1]
    # Weighted by alpha, so that no hidden colour shows at the edge.
    weighted = np.dstack([_multiplied(visible, alpha), alpha])
    scale, origin = move.scale, (0.0, 0.0)
    if scale < _SMALLEST_INTERPOLATED:
        part = weighted[box.top : box.bottom, box.left : box.right]
        size = max(1, round(box.width * scale)), max(1, round(box.height * scale))
        weighted, origin = cv2.resize(part, size, interpolation=cv2.INTER_AREA), (box.left, box.top)
        scale_x, scale_y = box.width * scale / size[0], box.height * scale / size[1]
        shrunk = size[0] / box.width, size[1] / box.height
    else:
        scale_x = scale_y = scale
        shrunk = 1.0, 1.0
    sine, cosine = math.sin(math.radians(move.degrees)), math.cos(math.radians(move.degrees))
    turned = np.array([[cosine, -sine], [sine, cosine]]) @ np.diag([scale_x, scale_y])
    # In continuous coordinates, in which pixel (0, 0) has its centre at (0.5, 0.5).
    pivot = np.array([(middle[0] - origin[0]) * shrunk[0], (middle[1] - origin[1]) * shrunk[1]])
    offset = np.array([middle[0] + move.x_pixels, middle[1] + move.y_pixels]) - turned @ pivot
    matrix = np.column_stack([turned, offset + turned @ [0.5, 0.5] - 0.5])
    moved = cv2.warpAffine(weighted, matrix, (width, height), flags=cv2.INTER_LINEAR)
    shown = np.ascontiguousarray(moved[..., 3])
    return _divided(moved[..., :3], shown), shown


def _multiplied(colors: Pixels, alpha: Mask) -> Pixels:
    import cv2

    share = np.ascontiguousarray(np.broadcast_to(alpha[..., None], colors.shape))
    answer: Pixels = cv2.multiply(colors, share, scale=1 / 255)
    return answer


def _divided(weighted: Pixels, alpha: Mask) -> Pixels:
    import cv2

    share = np.ascontiguousarray(np.broadcast_to(alpha[..., None], weighted.shape))
    answer: Pixels = cv2.divide(np.ascontiguousarray(weighted), share, scale=255)
    return answer
