"""Prompts for selecting objects: clicks and boxes, as form fields and checked against the picture.

One list of clicks and one box describe one object. Groups of clicks and lists of boxes describe several;
`checked_prompts` combines them into one prompt for each.

Coordinates are pixels of the upright picture, x to the right, y down, from its top left corner; fractions are
allowed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Annotated, Any

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from ml import params
from ml.errors import BadParameter
from ml.imaging import strokes
from ml.imaging.geometry import MIN_BOX_SIDE, SHARES, TOO_SMALL, are_shares

MAX_POINTS = 64
#: Each takes a run of the decoder.
MAX_OBJECTS = 16
_MAX_TEXT = 10_000

Click = tuple[float, float, int]  # x, y, and 1 (on the object) or 0 (beside it)
Clicks = tuple[Click, ...]
Corners = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True)
class SelectionPrompt:
    """Clicks, a box, or both, that identify one object."""

    clicks: Clicks = ()
    box: Corners | None = None


def scaled_clicks(groups: Sequence[Clicks], factors: tuple[float, float]) -> tuple[Clicks, ...]:
    """The same clicks in a picture whose sides are these times as long."""
    across, along = factors
    return tuple(tuple((x * across, y * along, label) for x, y, label in group) for group in groups)


def scaled_boxes(boxes: Sequence[Corners], factors: tuple[float, float]) -> tuple[Corners, ...]:
    """The same boxes in a picture whose sides are these times as long, none below the least size."""
    across, along = factors
    return tuple(
        (
            left * across,
            top * along,
            max(right * across, left * across + MIN_BOX_SIDE),
            max(bottom * along, top * along + MIN_BOX_SIDE),
        )
        for left, top, right, bottom in boxes
    )


def scaled_fields(
    drawn: str | None,
    points: Sequence[Clicks] | None,
    box: Sequence[Corners] | None,
    factors: tuple[float, float],
) -> dict[str, object]:
    """Those of the fields `strokes`, `points` and `box` that are given, for a picture of another size.

    Raises `BadParameter` for invalid strokes.
    """
    scaled: dict[str, object] = {}
    if drawn is not None:
        scaled["strokes"] = strokes.scaled(drawn, factors)
    if points is not None:
        scaled["points"] = scaled_clicks(points, factors)
    if box is not None:
        scaled["box"] = scaled_boxes(box, factors)
    return scaled


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


_POINTS = PydanticCustomError(
    "points",
    "must be a list like [[120, 80, 1], [200, 90, 0]], or a list of such lists, one for each object",
)
_BOX = PydanticCustomError(
    "box", "must be a list like [40, 30, 200, 180]: left, top, right, bottom, or a list of such lists"
)


def _read_groups(value: Any) -> Any:
    points = _read_json(value) if isinstance(value, str) else value
    if not isinstance(points, list | tuple) or not points:
        raise _POINTS
    groups = points if _is_grouped(points) else [points]
    if len(groups) > MAX_OBJECTS:
        raise PydanticCustomError("points", "must be at most {most} groups", {"most": MAX_OBJECTS})
    if not all(isinstance(group, list | tuple) and group for group in groups):
        raise _POINTS
    if sum(map(len, groups)) > MAX_POINTS:
        raise PydanticCustomError("points", "must be at most {most} points", {"most": MAX_POINTS})
    answer = tuple(tuple(map(_read_click, group)) for group in groups)
    if are_shares(number for group in answer for x, y, _ in group for number in (x, y)):
        raise PydanticCustomError("points", SHARES)
    return answer


def _is_grouped(points: Sequence[Any]) -> bool:
    """Whether the entries are lists of points instead of points."""
    first = points[0]
    return isinstance(first, list | tuple) and bool(first) and isinstance(first[0], list | tuple)


def _read_click(entry: Any) -> Click:
    numbers = _numbers(entry)
    if numbers is None or len(numbers) not in (2, 3):
        raise _POINTS
    x, y, label = (*numbers, 1.0)[:3]
    if label not in (0, 1):
        raise PydanticCustomError("points", "must mark each point 1 (on the object) or 0 (beside it)")
    return x, y, int(label)


def _read_boxes(value: Any) -> Any:
    read = _read_json(value) if isinstance(value, str) else value
    if not isinstance(read, list | tuple) or not read:
        raise _BOX
    boxes = read if isinstance(read[0], list | tuple) else [read]
    if len(boxes) > MAX_OBJECTS:
        raise PydanticCustomError("box", "must be at most {most} boxes", {"most": MAX_OBJECTS})
    return tuple(map(_read_corners, boxes))


def _read_corners(value: Any) -> Corners:
    corners = _numbers(value)
    if corners is None or len(corners) != 4:
        raise _BOX
    left, top, right, bottom = corners
    if are_shares(corners):
        raise PydanticCustomError("box", SHARES)
    if right <= left or bottom <= top:
        raise PydanticCustomError("box", "must have its right edge beyond its left, its bottom below its top")
    if right - left < MIN_BOX_SIDE or bottom - top < MIN_BOX_SIDE:
        raise PydanticCustomError("box", TOO_SMALL)
    return left, top, right, bottom


#: 1 to 64 clicks from JSON, in 1 to 16 groups; a list that is not grouped is one group. The third number of a
#: click defaults to 1.
ClicksField = Annotated[tuple[Clicks, ...], BeforeValidator(_read_groups, json_schema_input_type=str)]

#: 1 to 16 boxes from JSON; a single box need not be in a list.
BoxesField = Annotated[tuple[Corners, ...], BeforeValidator(_read_boxes, json_schema_input_type=str)]


def checked_prompts(
    groups: Sequence[Clicks] | None, boxes: Sequence[Corners] | None, size: tuple[int, int]
) -> list[SelectionPrompt]:
    """One prompt for each object, checked against a picture of (width, height).

    One group and one box describe the same object. Otherwise each group belongs to the smallest box that
    contains all its clicks on the object; with a single group, this is decided for each click. Groups without
    a box and boxes without clicks are objects of their own.

    Raises `BadParameter` for `points` or `box` outside the picture, for too many objects, and for a group
    with neither a click on its object nor a box.
    """
    groups, boxes = tuple(groups or ()), tuple(boxes or ())
    _check_within(groups, boxes, size)
    if len(groups) == 1 and len(boxes) == 1:
        prompts = [SelectionPrompt(groups[0], boxes[0])]
    else:
        prompts = _combined(_by_box(groups[0], boxes) if len(groups) == 1 else groups, boxes)
    if not prompts or not all(prompt.box or _is_on_object(prompt.clicks) for prompt in prompts):
        problem = "points must have one on the object, or come with a box"
        raise BadParameter("points", problem + (" around them" if boxes else ""))
    if len(prompts) > MAX_OBJECTS:
        raise BadParameter("points", f"points and box together must be at most {MAX_OBJECTS} objects")
    return prompts


def _check_within(groups: tuple[Clicks, ...], boxes: tuple[Corners, ...], size: tuple[int, int]) -> None:
    width, height = size
    for group in groups:
        wanted, unwanted = ({click[:2] for click in group if click[2] == label} for label in (1, 0))
        if wanted & unwanted:
            x, y = min(wanted & unwanted)
            raise BadParameter("points", f"points: ({x:g}, {y:g}) is given both as 1 and as 0")
    for x, y, _label in chain.from_iterable(groups):
        if not (0 <= x < width and 0 <= y < height):
            raise BadParameter(
                "points", f"points: ({x:g}, {y:g}) is outside the image, which is {width} x {height} pixels"
            )
    for left, top, right, bottom in boxes:
        if not (left >= 0 and top >= 0 and right <= width and bottom <= height):
            raise BadParameter("box", f"box reaches outside the image, which is {width} x {height} pixels")


def _by_box(clicks: Clicks, boxes: tuple[Corners, ...]) -> tuple[Clicks, ...]:
    """`clicks` grouped by the smallest box that contains each, those outside all boxes last."""
    places = [_smallest_box([click], boxes) for click in clicks]
    numbers = [*range(len(boxes)), None]
    groups = (
        tuple(click for click, place in zip(clicks, places, strict=True) if place == number)
        for number in numbers
    )
    return tuple(group for group in groups if group)


def _combined(groups: tuple[Clicks, ...], boxes: tuple[Corners, ...]) -> list[SelectionPrompt]:
    prompts, used = [], set()
    for group in groups:
        place = _smallest_box([click for click in group if click[2] == 1] or group, boxes)
        used.add(place)
        prompts.append(SelectionPrompt(group, None if place is None else boxes[place]))
    rest = [SelectionPrompt(box=box) for number, box in enumerate(boxes) if number not in used]
    return prompts + rest


def _smallest_box(clicks: Sequence[Click], boxes: tuple[Corners, ...]) -> int | None:
    """The number of the smallest box that contains all of `clicks`."""
    around = [
        number
        for number, (left, top, right, bottom) in enumerate(boxes)
        if all(left <= x <= right and top <= y <= bottom for x, y, _label in clicks)
    ]
    return min(around, key=lambda number: _area(boxes[number]), default=None)


def _area(box: Corners) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _is_on_object(clicks: Clicks) -> bool:
    return any(label for _x, _y, label in clicks)
