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


@pytest.mark.parametrize("size", [(640, 480), (641, 480), (1237, 801), (64, 1000)])
def test_reducing_by_halves_first_averages_the_same_areas(size: tuple[int, int]) -> None:
    picture = cv2.resize(photo("chelsea"), size, interpolation=cv2.INTER_CUBIC)
    for target in ((61, 47), (min(size[0], 160), min(size[1], 120)), size):
        reduced = band.reduced(picture, target)
        assert reduced.shape[:2] == target[::-1]
        exact = cv2.resize(picture, target, interpolation=cv2.INTER_AREA)
        assert np.abs(reduced.astype(int) - exact).mean() < 1
    alpha = np.ascontiguousarray(picture[..., 0])
    assert band.reduced(alpha, (50, 40)).shape == (40, 50)
