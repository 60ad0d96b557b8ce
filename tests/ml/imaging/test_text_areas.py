"""Text and line art in tiles, and their ink when they are enlarged."""

import cv2
import numpy as np
import pytest

from ml.imaging import text_areas
from ml.imaging.text_areas import Tile
from tests.support.ml.photos import photo

SIDE = 128
INK = np.float32(0.4)


def _strokes(factor: int = 1) -> Tile:
    """A page of grey letters, and plain paper on its right."""
    page = np.full((SIDE * factor, SIDE * factor), 255, np.uint8)
    for row in range(1, 7):
        place = (2 * factor, 20 * factor * row)
        cv2.putText(page, "Hamb", place, cv2.FONT_HERSHEY_DUPLEX, 0.5 * factor, 102, factor, cv2.LINE_AA)
    return np.repeat((page / np.float32(255))[:, :, None], 3, axis=2)


def test_text_is_found_and_paper_is_not_with_a_smooth_transition() -> None:
    shares = text_areas.find(_strokes())
    assert shares.shape == (SIDE, SIDE)
    assert shares[20:100, 10:40].min() == 1
    assert not shares[:, 80:].any()
    assert np.abs(np.diff(shares, axis=1)).max() < 0.2
    assert text_areas.is_text_tile(shares)


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee", "rocket"])
def test_a_photo_is_not_enlarged_as_text(name: str) -> None:
    tile = (photo(name)[:384, :384] / np.float32(255)).astype(np.float32)
    assert not text_areas.is_text_tile(text_areas.find(tile))


def test_strokes_that_are_too_dark_and_thin_regain_their_width_and_colour() -> None:
    source = cv2.resize(_strokes(2), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    thinned = np.clip(2.2 * (_strokes(2) - 1) + 1.5, 0, 1).astype(np.float32)
    kept = text_areas.keep_ink(source, thinned, text_areas.find(source))
    assert kept.min() >= source.min() - 1e-4
    assert (1 - kept).mean() == pytest.approx((1 - source).mean(), rel=0.03)
    assert abs(float((1 - thinned).mean() / (1 - source).mean()) - 1) > 0.1


def test_what_is_not_text_is_returned_as_it_is() -> None:
    source = (photo("chelsea")[:SIDE, :SIDE] / np.float32(255)).astype(np.float32)
    enlarged = cv2.resize(source, (2 * SIDE, 2 * SIDE), interpolation=cv2.INTER_CUBIC)
    shares = np.zeros((SIDE, SIDE), np.float32)
    assert text_areas.keep_ink(source, enlarged, shares) is enlarged
    shares[:, : SIDE // 2] = 1
    kept = text_areas.keep_ink(source, enlarged, shares)
    assert np.array_equal(kept[:, SIDE + 4 :], enlarged[:, SIDE + 4 :])
