"""Brush strokes: their form field, and the soft mask that they draw.

A stroke runs through points in pixels of the upright picture: (0, 0) is its top left corner, (0.5, 0.5) the
middle of its first pixel.
"""

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from ml import params
from ml.errors import BadParameter
from ml.imaging import geometry
from ml.pixels import Mask, Matte

MAX_TEXT_CHARACTERS = 4 * 1024 * 1024
MAX_STROKES = 1_000
MAX_POINTS = 100_000
MAX_SIZE_PIXELS = 4_000.0
_DEFAULTS = {"size": 24.0, "hardness": 0.8, "opacity": 1.0}
_RANGES = {"size": (0.5, MAX_SIZE_PIXELS), "hardness": (0.0, 1.0), "opacity": (0.0, 1.0)}
# Beyond any picture; keeps the arithmetic below exact.
_FARTHEST = 1e6
# Distances are exact up to this much work, in pixels times segments; beyond, from a rasterised drawing.
_MAX_EXACT_WORK = 100_000_000
_MAX_EXACT_SEGMENTS = 4_000
# Limit of the pixels of all brushes' boxes together.
_MAX_PIXELS = 2_000_000_000
_DRAWING_BITS = 4
_DRAWING_SCALE = 1 << _DRAWING_BITS


@dataclass(frozen=True)
class Stroke:
    """One line of a round brush."""

    points: tuple[tuple[float, float], ...]  # (x, y), at least one
    size: float = _DEFAULTS["size"]  # the brush's diameter in pixels
    hardness: float = _DEFAULTS["hardness"]  # the share of its radius that is solid, 0..1
    opacity: float = _DEFAULTS["opacity"]  # 0..1


#: The validator parses text up to this length, which takes milliseconds; longer text is parsed in the worker.
_CHECKED_EARLY_CHARACTERS = 16 * 1024
_BEGINNING_CHARACTERS = 1_000
_BEGINNING = re.compile(r"\s*\[\s*\{")


def _check_text(value: Any) -> str:
    """`value` if it can be the JSON of strokes.

    A hundred thousand points take a second to parse, too long for the event loop. So the points of long text
    are only counted here, and parsed in the worker.
    """
    if not isinstance(value, str):
        raise _not_strokes()
    if len(value) <= _CHECKED_EARLY_CHARACTERS:
        parse(value)
        return value
    if len(value) > MAX_TEXT_CHARACTERS:
        raise _error(f"are too long: at most {MAX_TEXT_CHARACTERS:,} characters are allowed")
    if _BEGINNING.match(value[:_BEGINNING_CHARACTERS]) is None:
        raise _not_strokes()
    # Every stroke opens one brace and one list of points, every point one bracket.
    strokes = value.count("{")
    _check_counts(strokes, value.count("[") - 1 - strokes)
    return value


def parse(text: str) -> tuple[Stroke, ...]:
    """The strokes of JSON text. Raises `PydanticCustomError`, whose message continues "strokes …"."""
    try:
        value = params.read_json(text)
    except ValueError:
        raise _not_strokes() from None
    if not isinstance(value, list) or not value:
        raise _error("must be a list of at least one stroke")
    _check_counts(len(value), 0)
    strokes = tuple(_read_stroke(number, entry) for number, entry in enumerate(value))
    _check_counts(len(strokes), sum(len(stroke.points) for stroke in strokes))
    if geometry.are_shares(number for stroke in strokes for point in stroke.points for number in point):
        raise _error(geometry.SHARES)
    return strokes


def scaled(text: str, factors: tuple[float, float], name: str = "strokes") -> str:
    """The JSON text of the same strokes in a picture whose sides are these times as long.

    Raises `BadParameter` for invalid text.
    """
    try:
        found = parse(text)
    except PydanticCustomError as error:
        raise BadParameter(name, f"{name} {error.message()}") from None
    across, along = factors
    sizes = [stroke.size * math.sqrt(across * along) for stroke in found]
    points = [[[x * across, y * along] for x, y in stroke.points] for stroke in found]
    numbers = [number for line in points for point in line for number in point]
    if geometry.are_shares(numbers):
        # They are pixels of the first one, which must not be taken for shares.
        points = [[[x + 1, y + 1] for x, y in line] for line in points]
    least, most = _RANGES["size"]
    return json.dumps(
        [
            {
                "points": line,
                "size": min(most, max(least, size)),
                "hardness": stroke.hardness,
                "opacity": stroke.opacity,
            }
            for stroke, line, size in zip(found, points, sizes, strict=True)
        ]
    )


def _check_counts(strokes: int, points: int) -> None:
    if strokes > MAX_STROKES:
        raise _error(f"are {strokes}; at most {MAX_STROKES} are allowed")
    if points > MAX_POINTS:
        raise _error(f"have {points} points; at most {MAX_POINTS} are allowed")


def _read_stroke(number: int, entry: Any) -> Stroke:
    if not isinstance(entry, dict):
        raise _error(f"stroke {number} must be an object with points")
    unknown = sorted(set(entry) - {"points", *_DEFAULTS})
    if unknown:
        raise _error(f"stroke {number} has an unknown field: {unknown[0][:40]}")
    points = entry.get("points")
    if not isinstance(points, list | tuple) or not points:
        raise _error(f"stroke {number} has no points")
    _check_counts(1, len(points))
    numbers = {
        name: _read_number(number, name, entry.get(name, default)) for name, default in _DEFAULTS.items()
    }
    return Stroke(tuple(_read_point(number, point) for point in points), **numbers)


def _read_number(number: int, name: str, value: Any) -> float:
    least, most = _RANGES[name]
    if not params.is_finite_number(value) or not least <= value <= most:
        raise _error(f"stroke {number}: {name} must be a number from {least:g} to {most:g}")
    return float(value)


def _read_point(number: int, point: Any) -> tuple[float, float]:
    if (
        not isinstance(point, list | tuple)
        or len(point) != 2
        or not all(params.is_finite_number(part) for part in point)
    ):
        raise _error(f"stroke {number}: each point must be two finite numbers [x, y]")
    if any(abs(part) > _FARTHEST for part in point):
        raise _error(f"stroke {number} has a point far outside of any image")
    return float(point[0]), float(point[1])


def _not_strokes() -> PydanticCustomError:
    return _error('must be JSON like [{"points":[[10,20],[30,40]],"size":24}]')


def _error(message: str) -> PydanticCustomError:
    return PydanticCustomError("strokes", "{message}", {"message": message})


#: Strokes as JSON text: 1 to 1,000 of them, of 100,000 points at most. `parse` reads them.
StrokesField = Annotated[str, BeforeValidator(_check_text)]


def draw(strokes: Iterable[Stroke], width: int, height: int, name: str = "strokes") -> Mask:
    """Draw the mask (height x width) of these strokes; where they overlap, the strongest counts.

    A pixel takes the brush's strength at its centre, so edges are smooth: solid within `hardness` of the
    radius, then falling to 0 at the radius, over one pixel at least. Raises `BadParameter` for `name`
    if a point is outside the picture by more than the brush's size, or if there is too much to draw.
    """
    brushes: dict[tuple[float, float, float], list[Stroke]] = {}
    for number, stroke in enumerate(strokes):
        _check_inside(number, stroke, width, height, name)
        brushes.setdefault((stroke.size, stroke.hardness, stroke.opacity), []).append(stroke)
    boxes = {brush: _box(group, brush[0], width, height) for brush, group in brushes.items()}
    if sum(across * along for _, _, across, along in boxes.values()) > _MAX_PIXELS:
        raise BadParameter(name, "are too much to draw: use fewer different brushes, or smaller ones")
    mask = np.zeros((height, width), np.uint8)
    for brush, group in brushes.items():
        left, top, across, along = boxes[brush]
        if across <= 0 or along <= 0:
            continue
        distances = _distances(group, brush[0], (left, top, across, along))
        part = mask[top : top + along, left : left + across]
        np.maximum(part, _strengths(distances, *brush), out=part)
    return mask


def _check_inside(number: int, stroke: Stroke, width: int, height: int, name: str) -> None:
    xs, ys = zip(*stroke.points, strict=True)
    beyond = max(-min(xs), -min(ys), max(xs) - width, max(ys) - height)
    if beyond > stroke.size:
        raise BadParameter(name, f"stroke {number} has a point outside the image of {width} x {height}")


def _reach(size: float) -> float:
    return size / 2 + 1


def _box(group: list[Stroke], size: float, width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, width and height of the area that these strokes can cover within the picture."""
    points = np.array([point for stroke in group for point in stroke.points])
    low = np.maximum(np.floor(points.min(axis=0) - _reach(size)), 0).astype(int)
    high = np.minimum(np.ceil(points.max(axis=0) + _reach(size)), (width, height)).astype(int)
    return int(low[0]), int(low[1]), max(0, int(high[0] - low[0])), max(0, int(high[1] - low[1]))


def _strengths(distances: Matte, size: float, hardness: float, opacity: float) -> Mask:
    """The brush's strength, 0..255, at these distances from its line."""
    radius = size / 2
    solid = min(hardness * radius, radius - 0.5)
    end = max(radius, solid + 1)
    share = np.clip((end - distances) / (end - solid), 0, 1)
    return np.asarray(np.rint(share * (255 * opacity)), np.uint8)


def _distances(group: list[Stroke], size: float, box: tuple[int, int, int, int]) -> Matte:
    """Distance of each pixel centre of `box` to the nearest of these lines, in pixels."""
    segments = _segments(group)
    spans = np.abs(segments[:, 1] - segments[:, 0]) + 2 * _reach(size)
    work = float(np.minimum(spans, box[2:]).prod(axis=1).sum())
    if len(segments) <= _MAX_EXACT_SEGMENTS and work <= _MAX_EXACT_WORK:
        return _measured(segments, size, box)
    return _from_drawing(group, size, box)


def _segments(group: list[Stroke]) -> NDArray[np.float64]:
    """All line segments: number x 2 ends x 2 coordinates. A single point is a segment of length 0."""
    starts: list[tuple[float, float]] = []
    ends: list[tuple[float, float]] = []
    for stroke in group:
        starts += stroke.points[:-1] or stroke.points
        ends += stroke.points[1:] or stroke.points
    return np.stack([np.array(starts), np.array(ends)], axis=1)


def _measured(segments: NDArray[np.float64], size: float, box: tuple[int, int, int, int]) -> Matte:
    left, top, across, along = box
    answer = np.full((along, across), np.inf, np.float32)
    reach = _reach(size)
    for start, end in segments - (left + 0.5, top + 0.5):
        low = np.maximum(np.floor(np.minimum(start, end) - reach), 0).astype(int)
        high = np.minimum(np.ceil(np.maximum(start, end) + reach) + 1, (across, along)).astype(int)
        if (high <= low).any():
            continue
        rows, columns = np.ogrid[low[1] : high[1], low[0] : high[0]]
        run = end - start
        length_squared = float(run @ run)
        position = ((columns - start[0]) * run[0] + (rows - start[1]) * run[1]) / (length_squared or 1)
        position = np.clip(position, 0, 1)
        distance = np.hypot(columns - start[0] - position * run[0], rows - start[1] - position * run[1])
        part = answer[low[1] : high[1], low[0] : high[0]]
        np.minimum(part, distance.astype(np.float32), out=part)
    return answer


def _from_drawing(group: list[Stroke], size: float, box: tuple[int, int, int, int]) -> Matte:
    """Distances accurate to a pixel, in time independent of the number of points."""
    import cv2

    left, top, across, along = box
    margin = math.ceil(_reach(size))  # lines outside the box extend into it
    canvas = np.full((along + 2 * margin, across + 2 * margin), 255, np.uint8)
    corner = (left + 0.5 - margin, top + 0.5 - margin)
    lines = [
        np.rint((np.array(stroke.points) - corner) * _DRAWING_SCALE).astype(np.int32) for stroke in group
    ]
    cv2.polylines(canvas, lines, False, 0, 1, cv2.LINE_8, _DRAWING_BITS)
    distances = cv2.distanceTransform(canvas, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(distances[margin : margin + along, margin : margin + across], np.float32)
