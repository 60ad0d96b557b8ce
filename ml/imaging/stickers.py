"""An outline around a cut-out, as around a sticker."""

import math

import cv2
import numpy as np

from ml.imaging import compositing
from ml.imaging.framing import object_box
from ml.imaging.geometry import Box
from ml.params import Length
from ml.pixels import Mask, Pixels

Color = tuple[int, int, int, int]

_INSIDE = 127


def width_pixels(alpha: Mask, width: Length) -> int:
    """Width of an outline around the object of `alpha` (H x W), in its pixels; 0 without an object.

    A percentage is of the object's size, the square root of its box's area.
    """
    box = object_box(alpha)
    return 0 if box is None else max(1, width.pixels(round(math.sqrt(box.width * box.height))))


def outlined_box(alpha: Mask, width: int) -> Box | None:
    """The box of the object with an outline of `width` pixels, possibly beyond the picture."""
    box, inside = object_box(alpha), object_box(alpha, least=_INSIDE + 1)
    if box is None or inside is None:
        return box
    return Box(
        min(box.left, inside.left - width),
        min(box.top, inside.top - width),
        max(box.right, inside.right + width),
        max(box.bottom, inside.bottom + width),
    )


def reach_pixels(width: int, zoom: float) -> float:
    """How far the middle of an outline's edge is from the centre of the last pixel inside the object.

    `zoom` is the size of the object's pixels.
    """
    return (width - 0.5) * zoom + 0.5


def add_outline(
    colors: Pixels, alpha: Mask, width: int, color: Color, zoom: float = 1.0
) -> tuple[Pixels, Mask]:
    """The cut-out (H x W x 3 and H x W) with an outline: its colours and its alpha.

    The outline ends where the arrays do. It is therefore added to the placed object.
    """
    outside = np.where(alpha > _INSIDE, np.uint8(0), np.uint8(255))
    if outside.all():
        return colors, alpha
    away = cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # Half a pixel more, because distances are from centre to centre.
    reach = np.float32(reach_pixels(width, zoom) + 0.5)
    shares = np.clip(reach - away, 0, 1) * np.float32(color[3])
    outline = np.empty((*alpha.shape, 4), np.uint8)
    outline[..., :3] = color[:3]
    outline[..., 3] = np.rint(shares)
    answer = compositing.composite(colors, alpha, outline)
    return answer[..., :3], np.ascontiguousarray(answer[..., 3])
