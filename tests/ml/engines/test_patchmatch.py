"""The search compares patches exactly, however little of a hopeless one it looks at, and copies add up."""

import cv2
import numpy as np
import pytest

from ml.engines.patchmatch import Charges, PatchField
from ml.imaging.pyramid import Level
from ml.pixels import Pixels
from tests.support.ml import photos
from tests.support.ml.fill_figures import disc

RADIUS = 3
SIZE = 2 * RADIUS + 1
PHOTO = np.ascontiguousarray(photos.photo("gravel")[:110, :130])
HOLE = disc(PHOTO, 50, 65, 18)


def field(stride: int) -> tuple[PatchField, Pixels]:
    """A field with random offsets, and the picture that they give."""
    charges = Charges(row=0.2, seam=3.0, crowding=2.0, most_crowding=8.0)
    made = PatchField(Level(PHOTO, HOLE, ~HOLE), HOLE, RADIUS, stride, charges)
    made.start_anywhere(np.random.default_rng(1))
    return made, made.painted_over(1.0)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("is_layered", [False, True])
def test_the_costs_of_what_is_found_are_those_of_a_full_comparison(stride: int, is_layered: bool) -> None:
    random = np.random.default_rng(2)
    made, current = field(stride)
    known = ~disc(PHOTO, 50, 65, 12) if is_layered else None
    made.charge_crowding(random)
    made.compare_with(current, known)
    before = made.costs.copy()
    for jump in (4, 2, 1):
        made.propagate(jump)
    made.search(random, 60)
    made.join()
    found = made.costs.copy()
    assert found.mean() < 0.9 * before.mean()
    made.compare_with(current, known)
    np.testing.assert_allclose(found, made.costs, rtol=1e-6)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_a_pixel_is_the_weighted_mean_of_the_copies_that_cover_it(stride: int) -> None:
    made, current = field(stride)
    made.compare_with(current)
    trust = np.random.default_rng(3).uniform(0.1, 1, made.count).astype(np.float32)
    answer = made.painted_over(0.5, trust)
    width = max(float(np.percentile(made.costs, 75)) * 0.5, 0.5)
    weights = (np.exp(-((made.costs / width) ** 2) / 2) + 1e-6) * trust
    padded = cv2.copyMakeBorder(PHOTO, *(RADIUS,) * 4, cv2.BORDER_REFLECT_101)
    sums, totals = np.zeros(padded.shape), np.zeros((*padded.shape[:2], 1))
    for row, column, down, right, weight in zip(
        made.rows, made.columns, made.down, made.right, weights, strict=True
    ):
        copy = padded[row + down : row + down + SIZE, column + right : column + right + SIZE]
        sums[row : row + SIZE, column : column + SIZE] += copy * weight
        totals[row : row + SIZE, column : column + SIZE] += weight
    inner = np.s_[RADIUS:-RADIUS, RADIUS:-RADIUS]
    expected = sums[inner][HOLE] / totals[inner][HOLE]
    assert np.abs(answer[HOLE, :3] - expected).max() < 0.51
    np.testing.assert_array_equal(answer[~HOLE, :3], PHOTO[~HOLE])
