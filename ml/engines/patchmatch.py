"""PatchMatch: for each small patch of a hole, finds the best matching patch elsewhere in the picture.

After Barnes et al., "PatchMatch: A Randomized Correspondence Algorithm" (2009), with the texture channel of
Newson et al., "Non-Local Patch-Based Image Inpainting" (IPOL, 2017). Vectorised: every step compares
all patches with one candidate each, so the search can be cancelled between steps.

Places are (row, column). An offset points from a patch of the hole to the one it is copied from. Neighbours
with the same offset copy a connected piece of the picture, which preserves textures and edges.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.lib.stride_tricks import as_strided, sliding_window_view
from numpy.typing import NDArray

from ml.engines import textures
from ml.engines.sharpness import SharpnessCharges
from ml.imaging import pyramid
from ml.imaging.pyramid import Level, Region
from ml.pixels import Pixels

Offsets = NDArray[np.int32]  # one entry per patch
Costs = NDArray[np.float32]

_IMPOSSIBLE = np.float32(1e9)
# Patches compared at a time, so that their pixels fit into the CPU cache.
_PATCHES_AT_ONCE = 16_384
# Rows whose votes are held as floats at a time.
_ROWS_AT_ONCE = 512
_NEIGHBOURS = ((0, 1), (0, -1), (1, 0), (-1, 0))
_NOTHING = np.empty((0, 0), np.uint8)


@dataclass(frozen=True)
class Charges:
    """Costs of a copy besides the mean difference of its patch (0..255)."""

    row: float  # per pixel of vertical offset: floors stay low, skies high
    seam: float  # per neighbour (of four) with another offset
    crowding: float  # per repeated copy of a place
    most_crowding: float  # the maximum of the crowding cost


@dataclass(frozen=True)
class _Rows:
    """Some rows of all patches, one byte after another, to compare with rows of the picture."""

    starts: NDArray[np.int64]  # of each row, in pixels of the padded picture after the patch's first one
    values: Pixels  # one line per patch
    known: Pixels | None  # 255 where a value is to be compared; None: all


class PatchField:
    """The patches that touch `painted`, one at every `stride` pixels, and where each is copied from."""

    def __init__(
        self,
        level: Level,
        painted: Region,
        radius: int,
        stride: int,
        charges: Charges,
        place_charges: NDArray[np.float32] | None = None,
        sharpness: SharpnessCharges | None = None,
    ) -> None:
        """`place_charges` (H x W): the cost of copying from each place. Without it, texture is ignored."""
        self.radius = radius
        self.stride = stride
        self.painted = painted
        self._charges = charges
        self._size = 2 * radius + 1
        self._height, self._width = painted.shape
        self._valid = level.sources(radius)
        blank = np.zeros(painted.shape, np.uint8)
        texture = blank if place_charges is None else textures.measure_texture(level)
        self._canvas = self._padded(np.dstack([level.colors, texture]))
        grid: Region = pyramid.patches_touching(painted, radius)[::stride, ::stride]
        self._grid_rows, self._grid_columns = np.nonzero(grid)
        self.rows = (self._grid_rows * stride).astype(np.int32)
        self.columns = (self._grid_columns * stride).astype(np.int32)
        self.count = len(self.rows)
        self._index: NDArray[np.int32] = np.full(grid.shape, -1, np.int32)
        self._index[grid] = np.arange(self.count, dtype=np.int32)
        self._neighbours: dict[tuple[int, int], NDArray[np.int32]] = {}
        self._beside = [self._neighbour(step) for step in _NEIGHBOURS]
        self.down: Offsets = np.zeros(self.count, np.int32)
        self.right: Offsets = np.zeros(self.count, np.int32)
        self.costs: Costs = np.full(self.count, _IMPOSSIBLE, np.float32)
        self._runs = self._row_runs()
        self._whole_patches, self._middle_rows = (_Rows(np.empty(0, np.int64), _NOTHING, None),) * 2
        self._known_counts: Costs = np.empty(0, np.float32)
        self._place_charges = place_charges
        self._sharpness = sharpness
        self._crowding: NDArray[np.float32] | None = None
        self._crowding_shares: Costs = np.empty(0, np.float32)

    # Offsets --------------------------------------------------------------------------------------------

    def start_anywhere(self, random: np.random.Generator) -> None:
        """Start with random offsets."""
        rows, columns = np.nonzero(self._valid)
        drawn = random.integers(0, len(rows), self.count)
        self.down = (rows[drawn] - self.rows).astype(np.int32)
        self.right = (columns[drawn] - self.columns).astype(np.int32)

    def start_from(self, coarse: "PatchField", factor: int) -> None:
        """Start with the nearest offset of a field at 1/`factor` of the size, enlarged, for each patch."""
        grid_rows = np.minimum(self.rows // factor // coarse.stride, coarse._index.shape[0] - 1)
        grid_columns = np.minimum(self.columns // factor // coarse.stride, coarse._index.shape[1] - 1)
        nearest = coarse._nearest_index()[grid_rows, grid_columns]
        self.down = coarse.down[nearest] * factor
        self.right = coarse.right[nearest] * factor
        self._move_into_sources()

    def compare_with(self, current: Pixels, known: Region | None = None) -> None:
        """Compare with the patches of `current` (H x W x 4) from now on; `known`: only these pixels count."""
        windows = self._windows(self._padded(current))
        patches = windows[self.rows, self.columns].reshape(self.count, -1).view(np.uint8)
        flags = None
        if known is not None:
            plane = np.where(known, np.uint8(255), np.uint8(0))
            windows = self._windows(self._padded(np.dstack([plane] * 4)))
            flags = windows[self.rows, self.columns].reshape(self.count, -1).view(np.uint8)
            self._known_counts = np.maximum((flags > 0).sum(axis=1), 1).astype(np.float32)
        starts = np.arange(self._size) * self._canvas.shape[1]
        self._whole_patches = _Rows(starts, patches, flags)
        row = slice(self.radius * self._size * 4, (self.radius + 1) * self._size * 4)
        self._middle_rows = _Rows(
            starts[self.radius : self.radius + 1],
            np.ascontiguousarray(patches[:, row]),
            None if flags is None else np.ascontiguousarray(flags[:, row]),
        )
        self.costs = self._costs(np.arange(self.count), self.down, self.right)

    def charge_crowding(self, random: np.random.Generator | None) -> None:
        """Charge for places that are copied repeatedly, from the next comparison on; None: stop charging."""
        self._crowding = None
        if random is None:
            return
        uses = np.zeros((self._height, self._width), np.float32)
        np.add.at(uses, (self.rows + self.down, self.columns + self.right), np.float32(self.stride**2))
        uses = cv2.blur(uses, (self._size, self._size), borderType=cv2.BORDER_CONSTANT)
        self._crowding = np.clip(self._charges.crowding * (uses - 1), 0, self._charges.most_crowding)
        # Vary the charge, or all patches would move from a crowded place to the same next one.
        self._crowding_shares = random.uniform(0, 2, self.count).astype(np.float32)

    # Searching ------------------------------------------------------------------------------------------

    def propagate(self, jump: int) -> None:
        """Try the offsets of the patches `jump` places away, so that good pieces grow."""
        for down, right in _NEIGHBOURS:
            neighbours = self._neighbour((down * jump, right * jump))
            chosen = self._differing(neighbours)
            self._try(chosen, self.down[neighbours[chosen]], self.right[neighbours[chosen]])

    def search(self, random: np.random.Generator, reach: int) -> None:
        """Try random places around the current ones, within `reach` pixels and successive halves of it."""
        everything = np.arange(self.count)
        while reach >= 1:
            jitter = random.integers(-reach, reach + 1, (2, self.count), dtype=np.int32)
            self._try(everything, self.down + jitter[0], self.right + jitter[1])
            reach //= 2

    def join(self) -> None:
        """Adopt a neighbour's offset where removing the seam outweighs a worse match."""
        for neighbours in self._beside:
            for parity in (0, 1):  # never two neighbours at once, or they would swap offsets
                chosen = self._differing(neighbours)
                chosen = chosen[(self._grid_rows[chosen] + self._grid_columns[chosen]) % 2 == parity]
                down, right = self.down[neighbours[chosen]], self.right[neighbours[chosen]]
                saved = self._seams(chosen, self.down[chosen], self.right[chosen])
                most = self.costs[chosen] + saved - self._seams(chosen, down, right)
                costs = self._costs(chosen, down, right, most)
                better = costs < most
                self._take(chosen[better], down[better], right[better], costs[better])

    # Results --------------------------------------------------------------------------------------------

    def painted_over(self, sharpness: float, trust: Costs | None = None) -> Pixels:
        """The picture (H x W x 4, colours and texture) with `painted` composed of the copies.

        Every pixel is the mean of the patches that cover it, weighted by a Gaussian of their cost. Its width
        is `sharpness` times the upper quartile of the costs. `trust` is an additional weight of each patch.
        """
        limit = max(float(np.percentile(self.costs, 75)) * sharpness, 0.5) if self.count else 1.0
        weights = np.exp(-((self.costs / limit) ** 2) / 2) + np.float32(1e-6)
        weights = (weights if trust is None else weights * trust).astype(np.float32)
        border = self.radius
        answer = self._canvas[border : border + self._height, border : border + self._width].copy()
        for top in range(0, self._height, _ROWS_AT_ONCE):
            bottom = min(self._height, top + _ROWS_AT_ONCE)
            if self.painted[top:bottom].any():
                window, votes = self._votes(top, bottom, weights)
                painted = self.painted[window]
                answer[window][painted] = votes[painted]
        return answer

    def offsets(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """The offset (down, right) of each pixel (H x W), taken from its nearest patch."""
        rows = np.minimum((np.arange(self._height) + self.stride // 2) // self.stride, len(self._index) - 1)
        columns = (np.arange(self._width) + self.stride // 2) // self.stride
        columns = np.minimum(columns, self._index.shape[1] - 1)
        nearest = self._nearest_index()[np.ix_(rows, columns)]
        return self.down[nearest], self.right[nearest]

    @property
    def known_shares(self) -> Costs:
        """How much of each patch was known in the last comparison, 0..1."""
        return self._known_counts / np.float32(self._size**2 * 4)

    # Internals
    # -----------------------------------------------------------------------------------------------

    def _padded(self, four_channels: Pixels) -> Pixels:
        border = (self.radius,) * 4
        return np.ascontiguousarray(cv2.copyMakeBorder(four_channels, *border, cv2.BORDER_REFLECT_101))

    def _windows(self, padded: Pixels) -> NDArray[np.uint32]:
        """A view of all patches by their centre. The four channels of a pixel are one number."""
        whole: NDArray[np.uint32] = padded.view(np.uint32)[..., 0]
        return sliding_window_view(whole, (self._size, self._size))

    def _row_runs(self) -> NDArray[Any]:
        """At each pixel of the padded picture, the pixels of a patch's row from it on, as one item.

        numpy copies items of any size many times as fast as the same bytes one by one.
        """
        item_bytes = self._size * 4
        flat = self._canvas.reshape(-1)
        count = len(flat) // 4 - self._size + 1
        return as_strided(flat[:item_bytes].view(f"V{item_bytes}"), (count,), (4,), writeable=False)

    def _neighbour(self, step: tuple[int, int]) -> NDArray[np.int32]:
        """For each patch, the index of the patch `step` grid places away; -1 if there is none."""
        if step in self._neighbours:
            return self._neighbours[step]
        rows, columns = self._grid_rows + step[0], self._grid_columns + step[1]
        height, width = self._index.shape
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        found = self._index[np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)]
        self._neighbours[step] = np.where(inside, found, np.int32(-1))
        return self._neighbours[step]

    def _differing(self, neighbours: NDArray[np.int32]) -> NDArray[np.int64]:
        """The patches whose neighbour has another offset."""
        other = (self.down[neighbours] != self.down) | (self.right[neighbours] != self.right)
        return np.flatnonzero((neighbours >= 0) & other)

    def _seams(self, chosen: NDArray[np.int64], down: Offsets, right: Offsets) -> Costs:
        """The seam charges of the chosen patches with these offsets."""
        seams = np.zeros(len(chosen), np.float32)
        for neighbours in self._beside:
            beside = neighbours[chosen]
            seams += (beside >= 0) & ((self.down[beside] != down) | (self.right[beside] != right))
        return seams * np.float32(self._charges.seam)

    def _try(self, chosen: NDArray[np.int64], down: Offsets, right: Offsets) -> None:
        most = self.costs[chosen]
        costs = self._costs(chosen, down, right, most)
        better = costs < most
        self._take(chosen[better], down[better], right[better], costs[better])

    def _take(self, chosen: NDArray[np.int64], down: Offsets, right: Offsets, costs: Costs) -> None:
        self.down[chosen] = down
        self.right[chosen] = right
        self.costs[chosen] = costs

    def _costs(
        self, chosen: NDArray[np.int64], down: Offsets, right: Offsets, most: Costs | None = None
    ) -> Costs:
        """The costs of the chosen patches with these offsets; at least `most` where that is reached.

        Most candidates are much worse than what a patch has, which their middle row shows already.
        """
        rows, columns = self.rows[chosen] + down, self.columns[chosen] + right
        inside = (rows >= 0) & (rows < self._height) & (columns >= 0) & (columns < self._width)
        np.clip(rows, 0, self._height - 1, out=rows)
        np.clip(columns, 0, self._width - 1, out=columns)
        answer = np.full(len(chosen), _IMPOSSIBLE, np.float32)
        possible = np.flatnonzero(inside & self._valid[rows, columns])
        charges = self._other_charges(chosen[possible], rows[possible], columns[possible], down[possible])
        firsts = rows[possible].astype(np.int64) * self._canvas.shape[1] + columns[possible]
        for start in range(0, len(possible), _PATCHES_AT_ONCE):
            those = slice(start, start + _PATCHES_AT_ONCE)
            some, first, extra = possible[those], firsts[those], charges[those]
            if most is not None:
                least = self._differences(chosen[some], first, self._middle_rows) + extra
                hopeful = least < most[some]
                some, first, extra = some[hopeful], first[hopeful], extra[hopeful]
            answer[some] = self._differences(chosen[some], first, self._whole_patches) + extra
        return answer

    def _other_charges(
        self,
        chosen: NDArray[np.int64],
        rows: NDArray[np.int32],
        columns: NDArray[np.int32],
        down: Offsets,
    ) -> Costs:
        """What copying the chosen patches from these places costs besides their difference."""
        answer: Costs = np.float32(self._charges.row) * np.abs(down)
        if self._place_charges is not None:
            answer += self._place_charges[rows, columns]
        if self._sharpness is not None and self._sharpness.octave > 0:
            answer += self._sharpness.costs(self.rows[chosen], self.columns[chosen], rows, columns)
        if self._crowding is not None:
            answer += self._crowding[rows, columns] * self._crowding_shares[chosen]
        return answer

    def _differences(self, chosen: NDArray[np.int64], first: NDArray[np.int64], compared: _Rows) -> Costs:
        """What these rows of the chosen patches add to the mean difference from their copies, 0..255.

        `first` is the first pixel of each copy in the padded picture.
        """
        if not len(chosen):
            return np.empty(0, np.float32)
        copies = self._runs[first[:, None] + compared.starts].view(np.uint8)
        difference = cv2.absdiff(copies, compared.values.take(chosen, axis=0))
        counts: Costs | int = self._size**2 * 4
        if compared.known is not None:
            difference = cv2.bitwise_and(difference, compared.known.take(chosen, axis=0))
            counts = self._known_counts[chosen]
        sums: Costs = cv2.reduce(difference, 1, cv2.REDUCE_SUM, dtype=cv2.CV_32S)[:, 0]
        return (sums / counts).astype(np.float32)

    def _votes(self, top: int, bottom: int, weights: Costs) -> tuple[tuple[slice, slice], Pixels]:
        """A window in rows `top` to `bottom`, and its pixels: the weighted mean of the patches there."""
        first, last = np.searchsorted(self.rows, (top - self.radius, bottom + self.radius))
        some = slice(first, last)
        grid_top, grid_left = int(self._grid_rows[first]), int(self._grid_columns[some].min())
        rows, columns = self._grid_rows[some] - grid_top, self._grid_columns[some] - grid_left
        shape = int(rows[-1]) + 1, int(columns.max()) + 1
        # For each grid position: the start of its source patch, and its weight, 0 where there is no patch.
        whole, across = self._canvas.view(np.uint32).reshape(-1), self._canvas.shape[1]
        begins = np.zeros(shape, np.int64)
        begins[rows, columns] = (self.rows[some] + self.down[some]) * across
        begins[rows, columns] += self.columns[some] + self.right[some]
        weight = np.zeros(shape, np.float32)
        weight[rows, columns] = weights[some]
        weight_of_channels = cv2.merge([weight] * 4)
        height, width = (self.stride * (count - 1) + self._size for count in shape)
        sums = np.zeros((height, width, 4), np.float32)
        totals = np.zeros((height, width), np.float32)
        for row in range(self._size):
            down = slice(row, height - self._size + row + 1, self.stride)
            for column in range(self._size):
                right = slice(column, width - self._size + column + 1, self.stride)
                copies = whole.take(begins + (row * across + column)).view(np.uint8).reshape(*shape, 4)
                sums[down, right] += cv2.multiply(copies, weight_of_channels, dtype=cv2.CV_32F)
                totals[down, right] += weight
        sums /= np.maximum(totals, np.float32(1e-12))[..., None]
        above, before = grid_top * self.stride - self.radius, grid_left * self.stride - self.radius
        inner_rows = slice(max(top, above), min(bottom, self._height, above + height))
        inner_columns = slice(max(0, before), min(self._width, before + width))
        mean = sums[
            inner_rows.start - above : inner_rows.stop - above,
            inner_columns.start - before : inner_columns.stop - before,
        ]
        return (inner_rows, inner_columns), np.clip(np.rint(mean), 0, 255).astype(np.uint8)

    def _nearest_index(self) -> NDArray[np.int32]:
        """For each grid place, the index of its patch, or of the nearest one."""
        rows, columns = np.ogrid[: self._index.shape[0], : self._index.shape[1]]
        return self._index[pyramid.nearest(self._index >= 0, rows, columns)]

    def _move_into_sources(self) -> None:
        """Move offsets to the nearest valid place: enlarged ones may be wrong by a pixel or two."""
        rows = np.clip(self.rows + self.down, 0, self._height - 1)
        columns = np.clip(self.columns + self.right, 0, self._width - 1)
        wrong = ~self._valid[rows, columns]
        if wrong.any():
            rows[wrong], columns[wrong] = pyramid.nearest(self._valid, rows[wrong], columns[wrong])
        self.down = (rows - self.rows).astype(np.int32)
        self.right = (columns - self.columns).astype(np.int32)
