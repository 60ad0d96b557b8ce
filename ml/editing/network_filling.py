"""Fills holes of any size with a network that takes a small square.

The network processes windows around the hole, whose side follows the hole's depth, so that most of a window
is known. What is too deep for one window is painted from its rim inwards, in windows that shrink with what is
left; a border of the canvas is painted outwards in the same way. Where a window had to be reduced for the
network, the result is coarse: PatchMatch then finds the parts of the picture that look like it and copies
their detail.
"""

import math
from collections.abc import Iterator

import cv2
import numpy as np

from ml.editing import filling, windows
from ml.editing.filling import FillPenalties
from ml.editing.windows import Window
from ml.engines.erasing import Eraser
from ml.imaging import matching
from ml.imaging.pyramid import Region
from ml.pixels import Pixels
from ml.progress import ReportProgress, part_of

# The depth painted beyond known pixels, as a share of a window's side.
_REACH_SHARE = 0.25
# Windows grow rather than exceed these numbers: around a hole, and from a picture's edge outwards.
_MAX_CELLS = 16
_MAX_STEPS = 12
# Known pixels of a window, after reduction, below which the network would invent a picture.
_MIN_KNOWN_PIXELS = 256
# From this reduction on, the result lacks visible detail.
_MIN_COARSENESS = 1.3
# A rim of this width that has one colour is continued as it is.
_RIM_PIXELS = 8
# Copies whose local mean differs from the network's by about this much (of 255) are not used.
_MAX_DRIFT = 10.0
_ROWS_AT_ONCE = 512
#: The network has decided what belongs where, so places are not charged for.
_GUIDED = FillPenalties(strangeness=0.0, crowding=0.0, most_crowding=0.0, row=0.0)
_PAINTED_SHARE = 0.6


class NoContext(Exception):
    """Too little of the picture is known for a network."""


def fill(
    colors: Pixels,
    hole: Region,
    engine: Eraser,
    *,
    usable: Region | None = None,
    penalties: FillPenalties = filling.BEHIND,
    seed: int = 0,
    step: ReportProgress = lambda _: None,
) -> Pixels:
    """Fill `hole` in `colors` (H x W x 3) from its surroundings; all other pixels equal the source.

    Only `usable` pixels (default: everything) are shown to the network. Thin holes are left to
    `filling.fill` with `penalties`. Equal seeds give equal results. `step` is called with the fraction done,
    0..1, and may raise. Raises NoContext, UnstableOutput.
    """
    usable = ~hole if usable is None else usable & ~hole
    answer = colors.copy()
    unknown = ~usable
    is_grey = bool((np.ptp(colors[usable], axis=1) == 0).all()) if usable.any() else False
    groups = list(filling.groups(hole))
    for number, (part, group) in enumerate(groups):
        group_step = part_of(step, number, len(groups))
        flat = _color_of_flat_rim(answer[part], group[part], ~unknown[part])
        if flat is not None:
            answer[group] = flat
        elif filling.is_thin(group[part], ~unknown[part]):
            answer[part] = filling.fill(
                answer[part], group[part], usable=~unknown[part], penalties=penalties, seed=seed
            )
        else:
            painting = _Painting(answer, unknown, group, engine, is_grey, group_step)
            coarseness = painting.paint()
            group_step(_PAINTED_SHARE)
            answer[part] = _detailed(answer[part], group[part], usable[part], coarseness, seed, group_step)
        unknown &= ~group
    return answer


class _Painting:
    """Paints one group of holes in `colors`, of which the pixels in `unknown` are not to be seen."""

    def __init__(
        self,
        colors: Pixels,
        unknown: Region,
        group: Region,
        engine: Eraser,
        is_grey: bool,
        step: ReportProgress,
    ) -> None:
        self._colors = colors
        self._unknown = unknown.copy()
        self._left = group.copy()
        self._engine = engine
        self._is_grey = is_grey
        self._step = step
        self._coarseness = 1.0

    def paint(self) -> float:
        """Paint everything; returns the largest reduction of a window for the network."""
        total = int(self._left.sum())
        largest = self._largest_side()
        while self._left.any():
            distance = np.where(self._left, windows.distance_to_known(self._unknown), 0)
            side = self._side(float(distance.max()), largest)
            # If nothing is known, the first window reports it.
            for window, painted in list(_cells(self._left & (distance <= side * _REACH_SHARE), side)):
                self._step(_PAINTED_SHARE * (1 - float(self._left.sum()) / total))
                self._paint_window(window, painted)
        return self._coarseness

    def _largest_side(self) -> int:
        """Windows no larger than what is known, unless there would be too many steps."""
        known = cv2.boundingRect((~self._unknown).astype(np.uint8))
        depth = float(windows.distance_to_known(self._unknown)[self._left].max())
        return max(int(min(known[2:])), math.ceil(depth / (_REACH_SHARE * _MAX_STEPS)))

    def _side(self, depth: float, largest: int) -> int:
        side = max(self._engine.side_pixels, min(math.ceil(depth / _REACH_SHARE), largest))
        while sum(1 for _ in _cells(self._left, side)) > _MAX_CELLS:
            side = math.ceil(side * 1.5)
        # Enlarge small pictures rather than repeat them to fill a window.
        return int(min(side, max(self._left.shape)))

    def _paint_window(self, window: Window, painted: Region) -> None:
        square, size = max(painted.shape), self._engine.side_pixels
        colors, unknown = _squared(self._colors[window]), _squared(self._unknown[window].astype(np.uint8))
        method = cv2.INTER_AREA if square > size else cv2.INTER_LINEAR
        small = cv2.resize(colors, (size, size), interpolation=method)
        # The same interpolation shows which pixels unknown ones contribute to.
        hole = cv2.resize(unknown.astype(np.float32), (size, size), interpolation=method) > 0
        if int((~hole).sum()) < _MIN_KNOWN_PIXELS:
            raise NoContext
        generated = self._engine.fill(small, hole)
        if self._is_grey:
            generated = cv2.cvtColor(cv2.cvtColor(generated, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        method = cv2.INTER_CUBIC if square > size else cv2.INTER_AREA
        large = cv2.resize(generated, (square, square), interpolation=method)
        self._colors[window][painted] = large[: painted.shape[0], : painted.shape[1]][painted]
        self._unknown[window] &= ~painted
        self._left[window] &= ~painted
        self._coarseness = max(self._coarseness, square / size)


def _cells(band: Region, side: int) -> Iterator[tuple[Window, Region]]:
    """Windows of `side` around the pieces of `band` in a grid of half the side."""
    shape = band.shape
    cell = max(1, side // 2)
    left, top, across, along = cv2.boundingRect(band.astype(np.uint8))
    for row in range(top, top + along, cell):
        for column in range(left, left + across, cell):
            piece = band[row : row + cell, column : column + cell]
            if not piece.any():
                continue
            x, y, wide, high = cv2.boundingRect(piece.astype(np.uint8))
            window = windows.around((column + x, row + y, wide, high), (side, side), shape)
            painted = np.zeros(shape, np.bool_)
            painted[row : row + cell, column : column + cell] = piece
            yield window, painted[window]


def _squared(plane: Pixels) -> Pixels:
    """`plane` continued by reflection to the right and downwards until it is a square."""
    height, width = plane.shape[:2]
    side = max(height, width)
    if height == width:
        return plane
    return np.asarray(
        cv2.copyMakeBorder(plane, 0, side - height, 0, side - width, cv2.BORDER_REFLECT_101), np.uint8
    )


def _color_of_flat_rim(colors: Pixels, group: Region, known: Region) -> Pixels | None:
    """The colour of the known pixels around `group`, if they have only one: networks miss it by a level."""
    reach = np.ones((2 * _RIM_PIXELS + 1, 2 * _RIM_PIXELS + 1), np.uint8)
    rim = colors[(cv2.dilate(group.astype(np.uint8), reach) > 0) & ~group & known]
    if not len(rim) or (rim != rim[0]).any():
        return None
    answer: Pixels = rim[0]
    return answer


def _detailed(
    colors: Pixels, hole: Region, usable: Region, coarseness: float, seed: int, step: ReportProgress
) -> Pixels:
    """`colors` with the detail of the picture added to what the network painted in `hole`."""
    grained = matching.match_grain(colors, colors, hole, seed, usable)
    if coarseness < _MIN_COARSENESS:
        return grained
    copies = filling.fill(
        colors,
        hole,
        usable=usable,
        guide=filling.Guide(colors, coarseness),
        penalties=_GUIDED,
        seed=seed,
        step=lambda fraction: step(_PAINTED_SHARE + (1 - _PAINTED_SHARE) * fraction),
    )
    return _combined(copies, colors, grained, hole, coarseness)


def _combined(copies: Pixels, painted: Pixels, grained: Pixels, hole: Region, coarseness: float) -> Pixels:
    """`copies` where they agree with what the network painted at its own scale, elsewhere `grained`."""
    answer = painted.copy()
    left, top, across, along = cv2.boundingRect(hole.astype(np.uint8))
    margin = math.ceil(3 * coarseness)
    columns = slice(max(0, left - margin), left + across + margin)
    for row in range(top, top + along, _ROWS_AT_ONCE):
        rows = slice(row, min(top + along, row + _ROWS_AT_ONCE))
        wide = slice(max(0, rows.start - margin), rows.stop + margin)
        lows = [
            cv2.GaussianBlur(plane[wide, columns].astype(np.float32), (0, 0), coarseness)
            for plane in (copies, painted)
        ]
        drift = np.abs(lows[0] - lows[1]).mean(axis=2, keepdims=True)
        share = np.exp(-((drift / _MAX_DRIFT) ** 2))[rows.start - wide.start :][: rows.stop - rows.start]
        mixed = copies[rows, columns] * share + grained[rows, columns] * (1 - share)
        inside = hole[rows, columns]
        answer[rows, columns][inside] = np.rint(mixed[inside]).astype(np.uint8)
    return answer
