"""The box of an object, margins around it, and cropping or padding to a box."""

from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from ml.imaging.codecs import check_output_size
from ml.imaging.geometry import Box
from ml.params import Length, read_length
from ml.pixels import Mask, Pixels

#: A pixel with less alpha than this (5 %) does not count as part of the object.
FAINT_ALPHA = 13

Margins = tuple[Length, Length, Length, Length]


def _read_margins(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return tuple(value)
    words = str(value).split()
    if len(words) not in (1, 2, 4):
        raise PydanticCustomError("margins", 'must be 1, 2 or 4 lengths like "10%" or "20 40"')
    lengths = [read_length(word) for word in words]
    if any(length.value < 0 for length in lengths):
        raise PydanticCustomError("margins", "must not be negative")
    return tuple((lengths * 4)[:4])


#: Margins (top, right, bottom, left), written as in CSS: one for all, vertical and horizontal, or all four.
MarginsField = Annotated[Margins, BeforeValidator(_read_margins, json_schema_input_type=str)]


def object_box(alpha: Mask, least: int = FAINT_ALPHA) -> Box | None:
    """The smallest box around the visible part of `alpha` (H x W); None if nothing is visible.

    `least` is the alpha from which a pixel counts.
    """
    import cv2

    left, top, width, height = cv2.boundingRect(cv2.inRange(alpha, least, 255))
    return Box(left, top, left + width, top + height) if width and height else None


def add_margins(box: Box, margins: Margins) -> Box:
    """`box` grown on all sides, possibly beyond the picture; percentages are of the box's own sides."""
    top, right, bottom, left = margins
    return Box(
        box.left - left.pixels(box.width),
        box.top - top.pixels(box.height),
        box.right + right.pixels(box.width),
        box.bottom + bottom.pixels(box.height),
    )


def crop_or_pad(pixels: Pixels | Mask, box: Box, *, repeat_edge: bool = False) -> Pixels | Mask:
    """The pixels in `box`. Outside the picture they are 0 (transparent) or repeat its edge.

    Raises `PictureTooLarge`.
    """
    check_output_size(box.width, box.height)
    height, width = pixels.shape[:2]
    top, left = max(0, -box.top), max(0, -box.left)
    bottom, right = max(0, box.bottom - height), max(0, box.right - width)
    inside = pixels[max(0, box.top) : box.bottom, max(0, box.left) : box.right]
    if not any((top, left, bottom, right)):
        return inside
    sides = [(top, bottom), (left, right), (0, 0)][: pixels.ndim]
    return np.pad(inside, sides, mode="edge" if repeat_edge else "constant")
