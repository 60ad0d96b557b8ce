"""Fills a hole in a picture from its surroundings by PatchMatch, coarse to fine, and removes seams.

The hole is first filled in a small copy of the surroundings, layer by layer from its rim, where patches span
the whole hole; each finer level starts from the offsets of the coarser one and refines them. Only offsets are
passed between levels: pixels are always copied from the full-size picture, so the result is as sharp as the
source.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.editing import smooth_filling
from ml.engines import sharpness, textures
from ml.engines.patchmatch import Charges, PatchField
from ml.engines.sharpness import SharpnessCharges
from ml.imaging import pyramid, seams
from ml.imaging.pyramid import Level, Region
from ml.pixels import Matte, Pixels
from ml.progress import ReportProgress, part_of


@dataclass(frozen=True)
class FillPenalties:
    """Costs of copying besides the difference between patches, in levels of 255."""

    strangeness: float  # per level by which a place differs from everything at the hole's rim
    crowding: float  # per repeated copy of a place
    most_crowding: float
    uniqueness: float = 0.0  # per level by which a place differs from everything else in the picture
    sharpness: float = 30.0  # per octave by which a place is sharper than the rim near its copy
    row: float = 60.0  # per picture height of vertical offset: floors stay low, skies high
    seam: float = 3.0  # per neighbour with another offset


#: For removed objects: repeated texture would be visible.
BEHIND = FillPenalties(strangeness=2.0, crowding=6.0, most_crowding=20.0, uniqueness=2.0)
#: For blemishes.
OVER = FillPenalties(strangeness=2.0, crowding=0.0, most_crowding=0.0, row=20.0)
#: For extending a picture: objects must not be duplicated. Unique places are not charged for, because what
#: continues beyond the edge, such as a mast, is often unique.
BEYOND = FillPenalties(strangeness=2.0, crowding=1.0, most_crowding=4.0)

_RADIUS_PIXELS = 3
_MAX_UNIQUENESS_CHARGE = 40.0
# Whole objects are copied into holes deeper than the second. In those up to the first, what is unlike the
# rest of the picture usually continues the rim, such as folds of cloth or the edge of a brick.
_UNIQUENESS_DEPTHS_PIXELS = (58.0, 72.0)
# Only votes about as good as the best count: averaging many would blur.
_SHARPNESS = 0.3
_SHARPNESS_OF_GUESS = 0.5
# A patch with few known pixels matches anything.
_TRUST_IN_KNOWN = 3
_SEARCHES_A_LAYER = 3
# Rounds of search and vote per level, from the coarsest; finer levels use the last number.
_ROUNDS = (8, 6, 5, 4, 3, 2)
# The last rounds of each level ignore crowding.
_ROUNDS_WITHOUT_CROWDING = 2
# (most pixels near the hole, distance between patches)
_STRIDES = ((50_000, 1), (280_000, 2), (650_000, 3))
# Offsets from a smaller level are applied in larger patches.
_STRIDE_OF_LARGE = 8
# A layer is one pixel at the coarsest level, which can be large if the rim is narrow.
_DEEPEST_IN_LAYERS_PIXELS = 32
_MAX_SMOOTHED_PIXELS = 1_000_000
_MIN_CONTEXT_PIXELS = 64
_ROWS_AT_ONCE = 64
_MAX_GROUPS = 16
# Holes are thin if this share of their pixels is at most so far from the edge: narrower than a patch.
_THIN_QUANTILE = 0.95
_MAX_THIN_DEPTH_PIXELS = 4.0
_THIN_RADIUS_PIXELS = 3


def fill(
    colors: Pixels,
    hole: Region,
    *,
    painted: Region | None = None,
    usable: Region | None = None,
    source_costs: Matte | None = None,
    penalties: FillPenalties = BEHIND,
    guide: "Guide | None" = None,
    seed: int = 0,
    step: ReportProgress = lambda _: None,
) -> Pixels:
    """Fill `hole` in `colors` (H x W x 3) from its surroundings; all other pixels equal the source.

    `painted` (default: the hole) may extend beyond the hole, where copies are needed for blending. `usable`
    (default: everything) may be copied from, at additional `source_costs` (H x W, in levels of 255). With a
    `guide`, what is copied resembles it. If there is too little to copy from, the rim's colours are
    interpolated. Equal seeds give equal results. `step` is called with the fraction done, 0..1, and may
    raise.
    """
    painted = hole if painted is None else painted | hole
    usable = ~hole if usable is None else usable & ~hole
    answer = colors.copy()
    parts = list(groups(painted))
    for number, (part, group) in enumerate(parts):
        own = group[part]
        filling = _Filling(
            whole=Level(np.ascontiguousarray(answer[part]), hole[part] & own, usable[part]),
            painted=own,
            source_costs=None if source_costs is None else source_costs[part],
            penalties=penalties,
            random=np.random.default_rng(seed),
            rows=colors.shape[0],
            step=part_of(step, number, len(parts)),
            guide=None if guide is None else Guide(guide.colors[part], guide.coarseness),
        )
        answer[part][own] = filling.fill()[own]
    return answer


def is_thin(hole: Region, usable: Region) -> bool:
    """Whether `hole` is a scratch: too thin for patches, with `usable` pixels all around it."""
    depths = pyramid.depths(hole)
    depths = depths[depths > 0]
    if not len(depths) or depths.max() > 2 * _MAX_THIN_DEPTH_PIXELS:  # where scratches cross
        return False
    if np.quantile(depths, _THIN_QUANTILE) > _MAX_THIN_DEPTH_PIXELS:
        return False
    near = pyramid.patches_touching(hole, _THIN_RADIUS_PIXELS) & ~hole
    return bool(usable[near].all())


def groups(painted: Region) -> Iterator[tuple[tuple[slice, slice], Region]]:
    """Groups of nearby holes, and the part of the picture to search for each.

    The part is wider than high, because matching content is more often beside a hole than above or below it.
    """
    reach = 2 * _MIN_CONTEXT_PIXELS + 1
    near = cv2.dilate(painted.astype(np.uint8), np.ones((reach, reach), np.uint8))
    count, labels = cv2.connectedComponents(near)
    found = (painted & (labels == number) for number in range(1, count))
    height, width = painted.shape
    for group in found if count - 1 <= _MAX_GROUPS else (painted,):
        left, top, across, along = cv2.boundingRect(group.astype(np.uint8))
        context = max(_MIN_CONTEXT_PIXELS, round((across * along) ** 0.5))
        rows = slice(max(0, top - context), min(height, top + along + context))
        columns = slice(max(0, left - 2 * context), min(width, left + across + 2 * context))
        yield (rows, columns), group


@dataclass(frozen=True)
class Guide:
    """A picture (H x W x 3) whose hole is filled, but without detail smaller than `coarseness` pixels."""

    colors: Pixels
    coarseness: float


@dataclass(frozen=True)
class _Filling:
    """One group of holes."""

    whole: Level
    painted: Region
    source_costs: Matte | None
    penalties: FillPenalties
    random: np.random.Generator
    rows: int  # height of the picture that `whole` is a part of
    step: ReportProgress
    guide: "Guide | None" = None

    def fill(self) -> Pixels:
        """The colours (H x W x 3) with `painted` filled."""
        if self.guide is None and is_thin(self.whole.hole, self.whole.usable):
            return _diffused(self.whole)
        if self.guide is None:
            smooth = smooth_filling.fill(self.whole, self.painted | self.whole.hole, self.random)
            if smooth is not None:
                return smooth
        if not pyramid.has_sources(self.whole, _RADIUS_PIXELS):
            return self._smooth()
        if self.guide is None:
            levels = pyramid.build(self.whole, _RADIUS_PIXELS)
        else:
            levels = pyramid.build_to(self.whole, _RADIUS_PIXELS, self.guide.coarseness)
        most = _STRIDES[-1][0]
        finest = next((number for number, level in enumerate(levels) if level.hole.sum() <= most), None)
        if finest is None:  # a large hole whose rim is too narrow for a smaller level
            return self._smooth()
        # A guide has no texture to compare, and has decided what belongs where.
        places = self._place_charges(levels[-1]) if self.guide is None else None
        expected = None
        if self.guide is None:
            octave = self.penalties.sharpness
            expected = sharpness.charges(levels[finest], levels[-1], _RADIUS_PIXELS, octave)
        field: PatchField | None = None
        for turn, number in enumerate(range(len(levels) - 1, finest - 1, -1)):
            painted = self.painted if number == 0 else levels[number].hole
            step = part_of(self.step, turn, len(levels) + 1)
            rounds = _ROUNDS[min(turn, len(_ROUNDS) - 1)]
            field = self._searched(levels[number], painted, places, expected, field, rounds, step)
        assert field is not None
        self.step((len(levels) - finest) / (len(levels) + 1))
        if finest == 0:
            return _joined(self.whole.colors, self.painted, field)
        return self._enlarged(levels[finest], field, 2**finest)

    def _smooth(self) -> Pixels:
        """The guide, or the rim's colours interpolated, because there is nothing to copy."""
        if self.guide is not None:
            return self.guide.colors
        small = self.whole
        while small.hole.sum() > _MAX_SMOOTHED_PIXELS:
            small = pyramid.halve(small)
        height, width = self.painted.shape
        answer = self.whole.colors.copy()
        smooth = cv2.resize(seams.membrane(small.colors, small.hole), (width, height))
        answer[self.whole.hole] = smooth[self.whole.hole]
        return answer

    def _place_charges(self, coarsest: Level) -> NDArray[np.float32]:
        """The cost of copying from each place (H x W of the coarsest level)."""
        charges = textures.strangeness(coarsest, _RADIUS_PIXELS) * np.float32(self.penalties.strangeness)
        share = np.interp(self.whole.depth_pixels, _UNIQUENESS_DEPTHS_PIXELS, (0.0, 1.0))
        if self.penalties.uniqueness * share > 0:
            unique = textures.uniqueness(coarsest, _RADIUS_PIXELS)
            unique *= np.float32(self.penalties.uniqueness * share)
            charges += np.minimum(unique, np.float32(_MAX_UNIQUENESS_CHARGE))
        if self.source_costs is not None:
            size = charges.shape[1], charges.shape[0]
            charges += cv2.resize(self.source_costs, size, interpolation=cv2.INTER_AREA)
        return charges

    def _searched(
        self,
        level: Level,
        painted: Region,
        place_charges: NDArray[np.float32] | None,
        expected: SharpnessCharges | None,
        coarse: PatchField | None,
        rounds: int,
        step: ReportProgress,
    ) -> PatchField:
        """Search the best offsets at one level, starting from those of the coarser one."""
        height, width = level.hole.shape
        pixels = int(pyramid.patches_touching(painted, _RADIUS_PIXELS).sum())
        stride = next((stride for most, stride in _STRIDES if pixels <= most), _STRIDES[-1][1])
        rows = self.rows * height / self.whole.hole.shape[0]
        charges = Charges(
            self.penalties.row / rows,
            self.penalties.seam,
            self.penalties.crowding,
            self.penalties.most_crowding,
        )
        enlarged = None if place_charges is None else cv2.resize(place_charges, (width, height))
        enlarged_sharpness = None if expected is None else expected.resized(width, height)
        field = PatchField(level, painted, _RADIUS_PIXELS, stride, charges, enlarged, enlarged_sharpness)
        is_guided = coarse is None and self.guide is not None
        if is_guided:
            current = self._shown_guide(level, field)
        elif coarse is None:
            current = self._guessed(level, field)
        else:
            field.start_from(coarse, 2)
            current = field.painted_over(1.0)
        is_thorough = stride == 1
        for number in range(rounds):
            step(number / rounds)
            field.charge_crowding(self.random if number < rounds - _ROUNDS_WITHOUT_CROWDING else None)
            field.compare_with(current)
            for _ in range(2 if is_thorough else 1):
                for jump in (4, 2, 1) if is_thorough else (2, 1):
                    field.propagate(jump)
                field.search(self.random, max(height, width) // 2 if is_thorough else 4)
            field.join()
            if not is_guided:
                current = field.painted_over(_SHARPNESS)
        return field

    def _shown_guide(self, level: Level, field: PatchField) -> Pixels:
        """The level with the guide in its hole, to compare with."""
        assert self.guide is not None
        field.start_anywhere(self.random)
        current = field.painted_over(1.0)
        height, width = level.hole.shape
        small = cv2.resize(self.guide.colors, (width, height), interpolation=cv2.INTER_AREA)
        painted = field.painted
        current[painted, :3] = small[painted]
        return current

    def _guessed(self, level: Level, field: PatchField) -> Pixels:
        """Fill layer by layer from the rim inwards, each from patches of known pixels."""
        known = ~level.hole
        field.start_anywhere(self.random)
        current = field.painted_over(1.0)
        if level.depth_pixels > _DEEPEST_IN_LAYERS_PIXELS:
            current[..., :3] = seams.membrane(level.colors, level.hole)
            return current
        while not known.all():
            self.step(0)
            field.compare_with(current, known)
            for _ in range(_SEARCHES_A_LAYER):
                for jump in (4, 2, 1):
                    field.propagate(jump)
                field.search(self.random, max(level.hole.shape))
            layer = (cv2.dilate(known.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0) & ~known
            trust = field.known_shares**_TRUST_IN_KNOWN
            current[layer] = field.painted_over(_SHARPNESS_OF_GUESS, trust)[layer]
            known |= layer
        return current

    def _enlarged(self, small: Level, field: PatchField, factor: int) -> Pixels:
        """Apply offsets from 1/`factor` of the size at full size.

        The seam correction, which is smooth, is computed at the smaller size.
        """
        large = PatchField(self.whole, self.painted, _STRIDE_OF_LARGE, _STRIDE_OF_LARGE, Charges(0, 0, 0, 0))
        large.start_from(field, factor)
        answer = large.painted_over(1.0)[..., :3]
        down, right = field.offsets()
        correction, _ = seams.seam_correction(small.colors, small.hole, down, right)
        for top in range(0, small.hole.shape[0], _ROWS_AT_ONCE):
            # One more row on both sides, so that strips join.
            strip = correction[max(0, top - 1) : top + _ROWS_AT_ONCE + 1]
            before = factor if top else 0
            strip = cv2.resize(strip, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)[before:]
            rows = slice(top * factor, (top + _ROWS_AT_ONCE) * factor)
            painted = self.painted[rows]
            height, width = painted.shape
            answer[rows] = _corrected(answer[rows], painted, strip[:height, :width])
        return answer


def _diffused(level: Level) -> Pixels:
    """Continue the lines at the rim of a thin hole inwards (Bertalmio et al., "Navier-Stokes", 2001).

    On scratches of 1 to 11 pixels its error is 0.6 to 0.85 times that of Telea's method.
    """
    mask = level.hole.astype(np.uint8)
    answer: Pixels = cv2.inpaint(level.colors, mask, 1, cv2.INPAINT_NS)
    return answer


def _joined(colors: Pixels, painted: Region, field: PatchField) -> Pixels:
    """Copy each pixel by the offset of its nearest patch, and smooth the seams."""
    down, right = field.offsets()
    rows, columns = np.nonzero(painted)
    from_rows = np.clip(rows + down[painted], 0, colors.shape[0] - 1)
    from_columns = np.clip(columns + right[painted], 0, colors.shape[1] - 1)
    answer = colors.copy()
    answer[painted] = colors[from_rows, from_columns]
    correction, edges = seams.seam_correction(colors, painted, down, right)
    # Single copies have jagged object edges; the patches' weighted votes give smooth ones.
    near = cv2.blur(cv2.dilate(edges.astype(np.float32), np.ones((3, 3), np.uint8)), (3, 3))[painted, None]
    votes = field.painted_over(_SHARPNESS)[painted, :3]
    answer[painted] = np.rint(answer[painted] * (1 - near) + votes * near)
    return _corrected(answer, painted, correction)


def _corrected(colors: Pixels, painted: Region, correction: seams.Colors) -> Pixels:
    corrected = colors[painted] + correction[painted]
    colors[painted] = np.clip(np.rint(corrected), 0, 255)
    return colors
