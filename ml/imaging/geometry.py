"""Boxes, aspect ratios and positions in a picture, and their form fields.

Coordinates are whole pixels of the upright picture, x to the right, y down, from its top left corner.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from ml.errors import BadParameter
from ml.params import Length, read_length

MIN_BOX_SIDE = 2
TOO_SMALL = f"must be at least {MIN_BOX_SIDE} x {MIN_BOX_SIDE} pixels"
#: Message for coordinates that look like fractions of the picture's sides.
SHARES = "must be in pixels of the image: these are from 0 to 1, as shares of its sides would be"

_SIZE = re.compile(r"(\d{1,5})\s*x\s*(\d{1,5})", re.IGNORECASE)
_RATIO = re.compile(r"(\d{1,5}(?:\.\d{1,4})?)\s*:\s*(\d{1,5}(?:\.\d{1,4})?)")


@dataclass(frozen=True)
class Box:
    """The pixels from `left`, `top` up to but not including `right`, `bottom`."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top


def are_shares(coordinates: Iterable[float]) -> bool:
    """Whether all coordinates are within 0..1, so that they cannot be pixels.

    All zeros are the top left corner either way, and the only pixel of a 1 x 1 picture.
    """
    numbers = list(coordinates)
    return any(numbers) and all(0 <= number <= 1 for number in numbers)


def is_share(length: Length | None) -> bool:
    """Whether a length in pixels is below 1, so that a fraction of a side must be meant."""
    return length is not None and not length.percent and 0 < length.value < 1


def _read_size(value: Any) -> Any:
    text = "x".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
    match = _SIZE.fullmatch(text.strip())
    if match is None or not int(match[1]) or not int(match[2]):
        raise PydanticCustomError("size", 'must be width x height in pixels like "800x600"')
    return int(match[1]), int(match[2])


def _read_ratio(value: Any) -> Any:
    text = ":".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
    match = _RATIO.fullmatch(text.strip())
    if match is None or not float(match[1]) or not float(match[2]):
        raise PydanticCustomError("aspect_ratio", 'must be width to height like "16:9"')
    return float(match[1]), float(match[2])


#: (width, height) in pixels, each 1..99999.
SizeField = Annotated[tuple[int, int], BeforeValidator(_read_size, json_schema_input_type=str)]

#: (width, height) of a shape, each above 0.
AspectRatioField = Annotated[tuple[float, float], BeforeValidator(_read_ratio, json_schema_input_type=str)]


def _read_corners(value: Any) -> Any:
    words = value if isinstance(value, tuple | list) else str(value).split()
    if len(words) != 4:
        raise PydanticCustomError("corners", 'must be "x1 y1 x2 y2" in pixels or %, like "10% 10% 90% 90%"')
    lengths = [Length.model_validate(read_length(word)) for word in words]
    if any(length.value < 0 for length in lengths):
        raise PydanticCustomError("corners", "must not be negative")
    if any(length.percent and length.value > 100 for length in lengths):
        raise PydanticCustomError("corners", "must be at most 100%")
    if are_shares(length.value for length in lengths) and not any(length.percent for length in lengths):
        raise PydanticCustomError("corners", f'{SHARES}; percentages are written "10%"')
    return tuple(lengths)


Corners = tuple[Length, Length, Length, Length]

#: (x1, y1, x2, y2): the top left and the bottom right corner of a box, each not negative.
CornersField = Annotated[Corners, BeforeValidator(_read_corners, json_schema_input_type=str)]

Gravity = Literal[
    "center", "north", "northeast", "east", "southeast", "south", "southwest", "west", "northwest"
]


def box_of_lengths(
    x: Length | None, y: Length | None, width: Length | None, height: Length | None, picture: tuple[int, int]
) -> Box:
    """The box of these lengths in a picture of (width, height). Missing ones extend to the edge.

    Both edges are rounded from exact positions, so that adjacent boxes in percent share an edge. Raises
    `BadParameter` for a length outside the picture or of less than a pixel.
    """
    left, right = _span(("x", x), ("width", width), picture[0])
    top, bottom = _span(("y", y), ("height", height), picture[1])
    return Box(left, top, right, bottom)


def _span(start: tuple[str, Length | None], extent: tuple[str, Length | None], side: int) -> tuple[int, int]:
    (start_name, start_length), (extent_name, extent_length) = start, extent
    exact_start = 0.0 if start_length is None else _exact_pixels(start_length, side)
    exact_end = side if extent_length is None else exact_start + _exact_pixels(extent_length, side)
    first, end = round(exact_start), round(exact_end)
    if not 0 <= first < side:
        raise BadParameter(
            start_name, f"{start_name} is outside the image, whose {extent_name} is {side} pixels"
        )
    if end > side:
        raise BadParameter(
            extent_name,
            f"{start_name} + {extent_name} is {end}, but the image's {extent_name} is {side} pixels",
        )
    if end <= first:
        raise BadParameter(extent_name, f"{extent_name} is less than one pixel of this image")
    return first, end


def box_of_corners(name: str, corners: Corners, picture: tuple[int, int]) -> Box:
    """The box between these corners in a picture of (width, height).

    Raises `BadParameter` for the form field `name` if it is outside the picture or empty.
    """
    width, height = picture
    left, right = (round(_exact_pixels(length, width)) for length in corners[::2])
    top, bottom = (round(_exact_pixels(length, height)) for length in corners[1::2])
    if right > width or bottom > height:
        raise BadParameter(name, f"leaves the image, which is {width} x {height} pixels")
    if left >= right or top >= bottom:
        raise BadParameter(name, "is empty: x1 must be less than x2, and y1 less than y2")
    if right - left < MIN_BOX_SIDE or bottom - top < MIN_BOX_SIDE:
        raise BadParameter(name, TOO_SMALL)
    return Box(left, top, right, bottom)


def _exact_pixels(length: Length, side: int) -> float:
    return length.value * side / 100 if length.percent else length.value


def box_of_ratio(ratio: tuple[float, float], gravity: Gravity, picture: tuple[int, int]) -> Box:
    """The largest box of this shape in a picture of (width, height), at the side that `gravity` names.

    Raises `BadParameter` if the shape is too narrow for this picture.
    """
    width, height = picture
    wanted = ratio[0] / ratio[1]
    size = (width, round(width / wanted)) if width < height * wanted else (round(height * wanted), height)
    size = min(size[0], width), min(size[1], height)
    if min(size) < 1:
        raise BadParameter("aspect_ratio", "leaves less than one pixel of this image")
    left, top = place(size, gravity, picture)
    return Box(left, top, left + size[0], top + size[1])


def over_subject(box: Box, subject: Box, picture: tuple[int, int]) -> Box:
    """`box` moved within a picture of (width, height) so that it is centred on `subject`.

    A subject that is too tall is cropped at the bottom, because the top matters most, such as a head.
    """
    left = (subject.left + subject.right - box.width) // 2
    top = (subject.top + subject.bottom - box.height) // 2
    if subject.height > box.height:
        top = subject.top
    left = min(max(left, 0), picture[0] - box.width)
    top = min(max(top, 0), picture[1] - box.height)
    return Box(left, top, left + box.width, top + box.height)


def place(inner: tuple[int, int], gravity: Gravity, outer: tuple[int, int]) -> tuple[int, int]:
    """Left and top of a box of size `inner` in one of size `outer`."""
    across, down = fractions(gravity)
    return int((outer[0] - inner[0]) * across), int((outer[1] - inner[1]) * down)


def fractions(gravity: Gravity) -> tuple[float, float]:
    """Fractions of the free space on the left and on top: 0, 0.5 or 1 each."""
    across = 0.0 if "west" in gravity else 1.0 if "east" in gravity else 0.5
    down = 0.0 if "north" in gravity else 1.0 if "south" in gravity else 0.5
    return across, down
