"""Prompts for selecting an object: clicks and a box, as form fields and checked against the picture.

Coordinates are pixels of the upright picture, x to the right, y down, from its top left corner; fractions are
allowed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from ml import params
from ml.errors import BadParameter
from ml.imaging.geometry import MIN_BOX_SIDE, SHARES, TOO_SMALL, are_shares

MAX_POINTS = 64
_MAX_TEXT = 10_000

Click = tuple[float, float, int]  # x, y, and 1 (on the object) or 0 (beside it)
Corners = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True)
class SelectionPrompt:
    """Clicks, a box, or both, that identify one object."""

    clicks: tuple[Click, ...] = ()
    box: Corners | None = None


def _read_json(text: str) -> Any:
    if len(text) > _MAX_TEXT:
        raise PydanticCustomError("json", "is too long")
    try:
        return params.read_json(text)
    except ValueError:
        raise PydanticCustomError("json", "must be JSON") from None


def _numbers(value: Any) -> tuple[float, ...] | None:
    """The finite numbers of a list; None for anything else, including booleans."""
    if not isinstance(value, list | tuple) or not all(map(params.is_finite_number, value)):
        return None
    return tuple(map(float, value))


def _read_clicks(value: Any) -> Any:
    points = _read_json(value) if isinstance(value, str) else value
    problem = PydanticCustomError("points", "must be a list like [[120, 80, 1], [200, 90, 0]]")
    if not isinstance(points, list | tuple) or not points:
        raise problem
    if len(points) > MAX_POINTS:
        raise PydanticCustomError("points", "must be at most {most} points", {"most": MAX_POINTS})
    clicks = []
    for entry in points:
        numbers = _numbers(entry)
        if numbers is None or len(numbers) not in (2, 3):
            raise problem
        x, y, label = (*numbers, 1.0)[:3]
        if label not in (0, 1):
            raise PydanticCustomError("points", "must mark each point 1 (on the object) or 0 (beside it)")
        clicks.append((x, y, int(label)))
    if are_shares(number for x, y, _ in clicks for number in (x, y)):
        raise PydanticCustomError("points", SHARES)
    return tuple(clicks)


def _read_corners(value: Any) -> Any:
    corners = _numbers(_read_json(value) if isinstance(value, str) else value)
    if corners is None or len(corners) != 4:
        raise PydanticCustomError("box", "must be a list like [40, 30, 200, 180]: left, top, right, bottom")
    left, top, right, bottom = corners
    if are_shares(corners):
        raise PydanticCustomError("box", SHARES)
    if right <= left or bottom <= top:
        raise PydanticCustomError("box", "must have its right edge beyond its left, its bottom below its top")
    if right - left < MIN_BOX_SIDE or bottom - top < MIN_BOX_SIDE:
        raise PydanticCustomError("box", TOO_SMALL)
    return corners


#: 1 to 64 clicks from JSON. The third number defaults to 1.
ClicksField = Annotated[tuple[Click, ...], BeforeValidator(_read_clicks, json_schema_input_type=str)]

#: A box from JSON.
CornersField = Annotated[
    Corners,
    BeforeValidator(_read_corners, json_schema_input_type=str),
]


def checked_prompt(
    clicks: Sequence[Click] | None, box: Corners | None, size: tuple[int, int]
) -> SelectionPrompt:
    """The prompt, checked against a picture of (width, height).

    Raises `BadParameter` for `points` or `box` outside it, and if no click is on the object and there is no
    box.
    """
    width, height = size
    for x, y, _label in clicks or ():
        if not (0 <= x < width and 0 <= y < height):
            raise BadParameter(
                "points", f"points: ({x:g}, {y:g}) is outside the image, which is {width} x {height} pixels"
            )
    if box is not None and not (box[0] >= 0 and box[1] >= 0 and box[2] <= width and box[3] <= height):
        raise BadParameter("box", f"box reaches outside the image, which is {width} x {height} pixels")
    if box is None and not any(label for _x, _y, label in clicks or ()):
        raise BadParameter("points", "points must have one on the object, or come with a box")
    return SelectionPrompt(tuple(clicks or ()), box)
