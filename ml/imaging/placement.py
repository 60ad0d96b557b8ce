"""Position and scale of the object and its picture on the canvas of the result."""

import math
import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from ml.imaging.codecs import check_output_size
from ml.imaging.framing import Margins, add_margins, crop_or_pad
from ml.imaging.geometry import Box
from ml.imaging.resampling import resize
from ml.pixels import Mask, Pixels

_PERCENT = re.compile(r"(\d{1,3}(?:\.\d{1,6})?)%")
_MIN_SCALE_PERCENT = 10


def _percent(text: str) -> float | None:
    match = _PERCENT.fullmatch(text)
    return float(match[1]) if match and float(match[1]) <= 100 else None


def _read_scale(value: Any) -> Any:
    text = f"{value}%" if isinstance(value, int | float) else str(value).strip().lower()
    percent = _percent(text)
    if text != "original" and (percent is None or percent < _MIN_SCALE_PERCENT):
        raise PydanticCustomError("scale", "must be original or 10% to 100%")
    return text if percent is None else percent


def _read_position(value: Any) -> Any:
    if isinstance(value, tuple | list):
        value = " ".join(f"{one}%" for one in value)
    text = str(value).strip().lower()
    if text == "original":
        return text
    percents = [_percent(word) for word in ("50% 50%" if text == "center" else text).split()]
    if len(percents) not in (1, 2) or None in percents:
        raise PydanticCustomError("position", 'must be original, center, or "x% y%" with 0% to 100% each')
    return percents[0], percents[-1]


#: The object's share of the canvas in percent, 10..100.
Scale = float | Literal["original"]
ScaleField = Annotated[Scale, BeforeValidator(_read_scale, json_schema_input_type=str)]

#: Percentages of the free space on the left and on top, each 0..100.
Position = tuple[float, float] | Literal["original"]
PositionField = Annotated[Position, BeforeValidator(_read_position, json_schema_input_type=str)]


@dataclass(frozen=True)
class Placement:
    """`source`, a box of the picture, is placed at `target` on a canvas of (width, height)."""

    source: Box
    target: Box
    canvas: tuple[int, int]

    @property
    def keeps_pixels(self) -> bool:
        """Whether nothing is resampled."""
        source, target = self.source, self.target
        return (source.width, source.height) == (target.width, target.height)

    @property
    def zoom(self) -> float:
        """The size of the picture's pixels on the canvas; those of an enlarged picture are larger than 1."""
        return self.target.width / self.source.width

    def frame(self) -> Box:
        """The canvas in the picture's coordinates, if nothing is resampled."""
        left, top = self.source.left - self.target.left, self.source.top - self.target.top
        return Box(left, top, left + self.canvas[0], top + self.canvas[1])

    def middle_of(self, box: Box) -> tuple[float, float]:
        """The middle of a box of the picture on the canvas, x and y, whatever resampling does to its edge."""
        source, target = self.source, self.target
        return (
            target.left + ((box.left + box.right) / 2 - source.left) * target.width / source.width,
            target.top + ((box.top + box.bottom) / 2 - source.top) * target.height / source.height,
        )

    def cutout(self, colors: Pixels, alpha: Mask) -> tuple[Pixels, Mask]:
        """Colours (H x W x 3) and alpha (H x W) on the canvas. Raises `PictureTooLarge`."""
        if self.keeps_pixels:
            return crop_or_pad(colors, self.frame()), crop_or_pad(alpha, self.frame())
        from ml.imaging import compositing

        both = self._resampled(compositing.with_alpha(colors, alpha))
        return both[..., :3], both[..., 3]

    def mask(self, alpha: Mask) -> Mask:
        """Alpha (H x W) on the canvas. Raises `PictureTooLarge`."""
        return crop_or_pad(alpha, self.frame()) if self.keeps_pixels else self._resampled(alpha)

    def _resampled(self, pixels: Pixels | Mask) -> Pixels | Mask:
        check_output_size(*self.canvas)
        source, target = self.source, self.target
        x, y = (
            _span(source.left, source.right, target.left, target.right, pixels.shape[1], self.canvas[0]),
            _span(source.top, source.bottom, target.top, target.bottom, pixels.shape[0], self.canvas[1]),
        )
        answer = np.zeros((self.canvas[1], self.canvas[0], *pixels.shape[2:]), np.uint8)
        if x.end > x.first and y.end > y.first:
            part = (x.part_start, y.part_start, x.part_end, y.part_end)
            answer[y.first : y.end, x.first : x.end] = resize(
                pixels, (x.end - x.first, y.end - y.first), part
            )
        return answer


@dataclass(frozen=True)
class _Span:
    """Whole pixels of the canvas that the picture covers, and the part of the picture seen there."""

    first: int
    end: int
    part_start: float
    part_end: float


def _span(source_start: int, source_end: int, start: int, end: int, side: int, canvas_side: int) -> _Span:
    zoom = (end - start) / (source_end - source_start)
    edge = start - source_start * zoom  # where the picture begins on the canvas
    epsilon = 1e-6  # rounding errors must not cost a row
    first = max(0, math.ceil(edge - epsilon))
    last = min(canvas_side, math.floor(edge + side * zoom + epsilon))
    return _Span(first, last, max(0.0, (first - edge) / zoom), min(float(side), (last - edge) / zoom))


def place_object(
    box: Box,
    picture: tuple[int, int],
    *,
    crop: bool,
    margins: Margins | None,
    scale: Scale,
    position: Position,
    output_size: tuple[int, int] | None,
) -> Placement:
    """The placement of an object in `box` of a picture of (width, height).

    The canvas is `output_size`; else the cropped object with its margins, or with as much room as `scale`
    asks for; else as large as the picture. With a scale the object's box takes that share of the canvas in
    the tighter direction. Without one the picture, or its cropped part, fills the canvas as far as it fits.
    """
    if scale != "original":
        share, source = scale / 100, box
        # Enlarge the canvas instead of shrinking the object, so that a crop is not resampled.
        roomy = max(box.width, round(box.width / share)), max(box.height, round(box.height / share))
        canvas = output_size or (roomy if crop else picture)
        is_kept = crop and output_size is None
        zoom = 1.0 if is_kept else min(share * canvas[0] / box.width, share * canvas[1] / box.height)
        fractions = _original_fractions(box, picture)
    else:
        source = Box(0, 0, *picture)
        if crop:
            source = box if margins is None else add_margins(box, margins)
        canvas = output_size or (source.width, source.height)
        zoom = min(canvas[0] / source.width, canvas[1] / source.height)
        fractions = (0.5, 0.5)
        if position != "original" and not crop:
            source = box
    if position != "original":
        fractions = position[0] / 100, position[1] / 100
    width, height = max(1, round(source.width * zoom)), max(1, round(source.height * zoom))
    left, top = round((canvas[0] - width) * fractions[0]), round((canvas[1] - height) * fractions[1])
    return Placement(source, Box(left, top, left + width, top + height), canvas)


def _original_fractions(box: Box, picture: tuple[int, int]) -> tuple[float, float]:
    """Fractions of the free space to the left of and above `box`, which may extend beyond its picture."""
    return _fraction(box.left, picture[0] - box.width), _fraction(box.top, picture[1] - box.height)


def _fraction(before: int, free: int) -> float:
    return min(1.0, max(0.0, before / free)) if free > 0 else 0.5
