"""Runs networks of a fixed input size on large pictures: overlapping tiles, merged without seams.

A network lacks context near the border of its input, so neighbouring tiles overlap. The outer part of an
overlap is context only; in its middle, one tile fades into the next. Lengths are in "source pixels" of the
source or "target pixels" of the result, which can have any size, not only an integer multiple.

Besides the picture and the result, only one tile and one narrow strip of the result are in memory.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ml.pixels import Mask, Pixels

#: A tile shape other than the standard one must save at least this share of the computed pixels, because a
#: network must be compiled for each shape.
WORTHWHILE_SAVING = 0.15


@dataclass(frozen=True)
class TilingFacts:
    """Tiling parameters of a network, in source pixels."""

    factor: int  # side of its output over side of its input
    side: int  # of its standard, square tile; no tile has more pixels
    overlap: int  # minimum, of neighbouring tiles
    blend: int  # the part of the overlap in which tiles fade
    multiple: int = 16  # sides of tiles are multiples of it


@dataclass(frozen=True)
class Axis:
    """The tiles along one side of a picture."""

    source: int
    target: int
    side: int  # of each tile; more than `source` only if there is one tile
    count: int
    blend: int

    @property
    def scale(self) -> float:
        return self.target / self.source

    def start(self, index: int) -> int:
        """First source pixel of a tile. Tiles are spread evenly, the last one ends with the picture."""
        return 0 if self.count == 1 else index * (self.source - self.side) // (self.count - 1)

    def fade(self, index: int) -> tuple[int, int]:
        """Target pixels, first and behind the last, over which tile `index` replaces the one before it."""
        if index == 0:
            return 0, 0
        middle = (self.start(index - 1) + self.side + self.start(index)) / 2
        return round((middle - self.blend / 2) * self.scale), round((middle + self.blend / 2) * self.scale)

    def span(self, index: int) -> tuple[int, int]:
        """Target pixels, first and behind the last, that come from tile `index`."""
        return self.fade(index)[0], self.target if index == self.count - 1 else self.fade(index + 1)[1]

    def part(self, index: int, factor: int) -> tuple[float, float]:
        """The same span in pixels of the tile after it was enlarged `factor` times."""
        first, end = (factor * (edge / self.scale - self.start(index)) for edge in self.span(index))
        return first, min(end, float(factor * self.side))  # rounding may carry the end beyond the tile

    def weights(self, index: int) -> NDArray[np.float32]:
        """Share of tile `index` in each pixel of its fade, rising from 0 to 1."""
        first, end = self.fade(index)
        return ((np.arange(end - first) + 0.5) / max(end - first, 1)).astype(np.float32)


@dataclass(frozen=True)
class Grid:
    """All tiles of one picture, numbered from the top left by rows."""

    rows: Axis
    columns: Axis
    factor: int

    @property
    def count(self) -> int:
        return self.rows.count * self.columns.count

    @property
    def tile_shape(self) -> tuple[int, int]:
        """Height and width of every tile."""
        return self.rows.side, self.columns.side


def plan(source: tuple[int, ...], target: tuple[int, ...], facts: TilingFacts, at_once: int = 1) -> Grid:
    """The tiles with the fewest computed pixels if `at_once` of them run in parallel.

    `source` and `target` are shapes of arrays: height and width, 1 or more, come first. The
    target's sides may have different scales.
    """

    def axis(index: int, side: int) -> Axis:
        length = source[index]
        count = 1 if length <= side else math.ceil((length - facts.overlap) / (side - facts.overlap))
        return Axis(length, target[index], side, count, facts.blend)

    def grid(height: int, width: int) -> Grid:
        return Grid(axis(0, height), axis(1, width), facts.factor)

    def cost(grid: Grid) -> int:
        return math.ceil(grid.count / at_once) * grid.rows.side * grid.columns.side

    smallest = min(facts.side, -(-2 * facts.overlap // facts.multiple) * facts.multiple)
    sides = range(smallest, 2 * facts.side + 1, facts.multiple)
    shapes = [pair for pair in itertools.product(sides, sides) if pair[0] * pair[1] <= facts.side**2]
    best = min((grid(height, width) for height, width in shapes), key=lambda grid: (cost(grid), grid.count))
    standard = grid(facts.side, facts.side)
    return best if cost(best) < (1 - WORTHWHILE_SAVING) * cost(standard) else standard


def cut_tile(pixels: Pixels | Mask, grid: Grid, index: int) -> Pixels:
    """Tile `index` of the source, of the grid's tile shape; padded by reflection."""
    row, column = divmod(index, grid.columns.count)
    top, left = grid.rows.start(row), grid.columns.start(column)
    height, width = grid.tile_shape
    inside = pixels[top : top + height, left : left + width]
    if inside.shape[:2] == (height, width):
        return inside
    missing = ((0, height - inside.shape[0]), (0, width - inside.shape[1]), (0, 0))
    return np.pad(inside, missing[: inside.ndim], mode="symmetric")


class Mosaic:
    """Assembles the result tile by tile."""

    def __init__(self, grid: Grid, pixels: NDArray[np.uint8]) -> None:
        """`pixels` (H x W or H x W x channels, of the grid's target size) is filled; a view is fine."""
        self.pixels = pixels
        self._grid = grid
        self._above: NDArray[np.uint8] | None = None  # pixels of the row above in the fade to this row

    def place(self, index: int, tile: NDArray[np.uint8]) -> None:
        """Add tile `index`, enlarged `factor` times by the network. Tiles must come in order."""
        rows, columns = self._grid.rows, self._grid.columns
        row, column = divmod(index, columns.count)
        (top, bottom), (left, right) = rows.span(row), columns.span(column)
        band = self.pixels[top:bottom]
        fading_rows = rows.fade(row)[1] - top
        if column == 0:
            self._above = band[:fading_rows].copy()
        tile = self._fit(tile, row, column)
        fading = columns.fade(column)[1] - left
        _fade_in(band[:, left : left + fading], tile[:, :fading], columns.weights(column))
        band[:, left + fading : right] = tile[:, fading:]
        if column == columns.count - 1 and self._above is not None:
            # Rows fade over the whole width at once, so that the weights are right where four tiles meet.
            fresh, band[:fading_rows] = band[:fading_rows].copy(), self._above
            _fade_in(band[:fading_rows], fresh, rows.weights(row)[:, None])
            self._above = None

    def _fit(self, tile: NDArray[np.uint8], row: int, column: int) -> NDArray[np.uint8]:
        """The part of a tile that is used, in target pixels."""
        rows, columns, factor = self._grid.rows, self._grid.columns, self._grid.factor
        top, bottom = rows.part(row, factor)
        left, right = columns.part(column, factor)
        if rows.scale == columns.scale == factor:
            return tile[round(top) : round(bottom), round(left) : round(right)]
        # Lanczos is 0.1 to 0.3 dB nearer to originals here than averaging areas; linear light instead of
        # gamma-coded values makes no difference that counts (0.05 dB) and costs more. Pillow's Lanczos widens
        # with the reduction and may start at fractions of pixels, so neighbouring tiles agree.
        first_row, end_row = rows.span(row)
        first_column, end_column = columns.span(column)
        size = (end_column - first_column, end_row - first_row)
        box = (left, top, right, bottom)
        return np.asarray(Image.fromarray(tile).resize(size, Image.Resampling.LANCZOS, box=box))


def _fade_in(under: NDArray[np.uint8], over: NDArray[np.uint8], weights: NDArray[np.float32]) -> None:
    """Blend `over` into `under` in place. `weights` are the shares of `over`: per column, or rows x 1."""
    if not weights.size:
        return
    share = weights if under.ndim == 2 else weights[..., None]
    mixed = under.astype(np.float32)
    mixed += (over - mixed) * share
    under[...] = np.rint(mixed).astype(np.uint8)
