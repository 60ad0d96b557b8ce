"""Pointing at things: clicks and boxes as form fields, in pixels of the upright picture."""

import json
import math
from typing import Annotated, Any

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

MAX_POINTS = 100

#: x, y, and whether it belongs to the object (1) or not (0).
Point = tuple[float, float, int]


def read_json(text: str) -> Any:
    """The value of JSON text. Raises ValueError for all that is none: NaN and Infinity too."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def is_finite_number(value: Any) -> bool:
    """JSON knows no infinity, but 1e999 becomes one, and whole numbers may be too long for any float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _numbers(value: Any, hint: str) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return read_json(value)
    except ValueError:
        raise PydanticCustomError("pointing", "must be JSON like {hint}", {"hint": hint}) from None


def _read_points(value: Any) -> Any:
    points = _numbers(value, "[[120,80,1],[300,40,0]]")
    if not isinstance(points, list | tuple) or not points:
        raise PydanticCustomError("points", "must be a list of at least one point [x, y, 1 or 0]")
    if len(points) > MAX_POINTS:
        raise PydanticCustomError("points", "at most {most} are allowed", {"most": MAX_POINTS})
    return tuple(_read_point(point) for point in points)


def _read_point(point: Any) -> Point:
    if (
        not isinstance(point, list | tuple)
        or len(point) not in (2, 3)
        or not all(map(is_finite_number, point))
    ):
        raise PydanticCustomError("points", "each point must be finite numbers [x, y, 1 or 0]")
    label = point[2] if len(point) == 3 else 1
    if label not in (0, 1):
        raise PydanticCustomError("points", "a point's label must be 1 (the object) or 0 (not the object)")
    return float(point[0]), float(point[1]), int(label)


def _read_box(value: Any) -> Any:
    box = _numbers(value, "[10,20,200,180]")
    if not isinstance(box, list | tuple) or len(box) != 4 or not all(map(is_finite_number, box)):
        raise PydanticCustomError("box", "must be four finite numbers [x1, y1, x2, y2]")
    left, top, right, bottom = (float(side) for side in box)
    if right <= left or bottom <= top:
        raise PydanticCustomError("box", "must have x1 < x2 and y1 < y2")
    return left, top, right, bottom


def _refuse_constant(name: str) -> float:
    raise ValueError(name)


#: Clicks as JSON text, 1 to 100 of them; a label may be left out and is 1 then.
PointsField = Annotated[tuple[Point, ...], BeforeValidator(_read_points, json_schema_input_type=str)]

#: (left, top, right, bottom) as JSON text.
BoxField = Annotated[
    tuple[float, float, float, float], BeforeValidator(_read_box, json_schema_input_type=str)
]
