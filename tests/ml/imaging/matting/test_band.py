"""Tiles around the uncertain pixels, and reducing pictures."""

import cv2
import numpy as np
import pytest

from ml.imaging.matting import band
from tests.support.ml.photos import photo


def test_tiles_cover_exactly_the_boxes_of_what_is_uncertain() -> None:
    mask = np.zeros((700, 900), np.uint8)
    cv2.line(mask, (3, 690), (880, 10), 255, 3)
    cv2.circle(mask, (300, 60), 1, 1, -1)
    covered = np.zeros_like(mask)
    for tile in band.tiles(mask):
        rows, columns = tile.window
        assert max(rows.stop - rows.start, columns.stop - columns.start) <= 128
        part = mask[tile.window]
        assert all(side.any() for side in (part[0], part[-1], part[:, 0], part[:, -1]))
        covered[tile.window] += 1
    assert covered.max() == 1
    assert covered[mask > 0].all()
    assert covered.mean() < 0.2


def test_nothing_uncertain_has_no_tiles() -> None:
    assert not list(band.tiles(np.zeros((300, 300), np.uint8)))


@pytest.mark.parametrize("size", [(640, 480), (641, 480), (1236, 804), (64, 1000)])
def test_reducing_by_halves_first_neither_moves_nor_brightens_a_picture(size: tuple[int, int]) -> None:
    width, height = size
    across, down = np.linspace(0, 255, width), np.linspace(255, 0, height)
    ramps = np.dstack([np.tile(across, (height, 1)), np.tile(down[:, None], (1, width))])
    smooth = cv2.cvtColor(np.rint(ramps[..., 0]).astype(np.uint8), cv2.COLOR_GRAY2RGB)
    smooth[..., 1] = np.rint(ramps[..., 1])
    for target in ((61, 47), (min(width, 160), min(height, 120)), size):
        reduced = band.reduced(smooth, target)
        assert reduced.shape[:2] == target[::-1]
        exact = cv2.resize(smooth, target, interpolation=cv2.INTER_AREA)
        assert np.abs(reduced.astype(int) - exact).max() <= 2
        alpha = np.ascontiguousarray(smooth[..., 0])
        np.testing.assert_array_equal(band.reduced(alpha, target), reduced[..., 0])


def test_reducing_keeps_the_mean_of_a_photo() -> None:
    picture = cv2.resize(photo("chelsea"), (1280, 960))
    reduced = band.reduced(picture, (300, 200))
    np.testing.assert_allclose(reduced.mean((0, 1)), picture.mean((0, 1)), atol=0.5)
