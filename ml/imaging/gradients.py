"""Gradients between two colours, as CSS's `linear-gradient` draws them."""

import math
import re
from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator, TypeAdapter
from pydantic_core import PydanticCustomError

from ml.params import ColorField
from ml.pixels import Pixels

Color = tuple[int, int, int, int]
#: Two colours and the direction in degrees: 0 is upwards, 90 to the right, 180 downwards.
Gradient = tuple[Color, Color, float]

_DOWNWARDS = 180.0
_ANGLE = re.compile(r"-?\d{1,3}(?:\.\d{1,3})?")
_ROWS_AT_ONCE = 256
_COLOR: TypeAdapter[Color] = TypeAdapter(ColorField)


def _read_gradient(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return tuple(value)
    words = str(value).replace(",", " ").split()
    if len(words) not in (2, 3):
        raise PydanticCustomError(
            "gradient", 'must be two colours and, if not downwards, an angle, like "#fff #dbe7f3 135"'
        )
    angle = words[2].removesuffix("deg") if len(words) == 3 else str(_DOWNWARDS)
    if not _ANGLE.fullmatch(angle) or abs(float(angle)) > 360:
        raise PydanticCustomError("gradient", "must have an angle from -360 to 360 degrees")
    return _COLOR.validate_python(words[0]), _COLOR.validate_python(words[1]), float(angle)


GradientField = Annotated[Gradient, BeforeValidator(_read_gradient, json_schema_input_type=str)]


def linear(gradient: Gradient, size: tuple[int, int]) -> Pixels:
    """The gradient on (width, height): H x W x 3 if both colours are opaque, else H x W x 4.

    Colours are mixed weighted by alpha, as in browsers.
    """
    first, last, degrees = gradient
    width, height = size
    across, down = math.sin(math.radians(degrees)), -math.cos(math.radians(degrees))
    # The line through the middle that ends where its perpendicular meets the corners.
    length = abs(width * across) + abs(height * down)
    x = ((np.arange(width) + 0.5 - width / 2) * across / length + 0.5).astype(np.float32)
    y = ((np.arange(height) + 0.5 - height / 2) * down / length).astype(np.float32)
    channels = 3 if first[3] == last[3] == 255 else 4
    start, end = (np.array(color, np.float32) for color in (first, last))
    answer = np.empty((height, width, channels), np.uint8)
    for top in range(0, height, _ROWS_AT_ONCE):
        rows = slice(top, top + _ROWS_AT_ONCE)
        share = np.clip(x[None] + y[rows, None], 0, 1)[..., None]
        if channels == 3:
            mixed = start[:3] * (1 - share) + end[:3] * share
        else:
            alpha = start[3] * (1 - share) + end[3] * share
            colors = start[:3] * start[3] * (1 - share) + end[:3] * end[3] * share
            mixed = np.concatenate([colors / np.maximum(alpha, 1e-6), alpha], axis=2)
        answer[rows] = np.rint(mixed)
    return answer
