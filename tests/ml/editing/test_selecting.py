"""Clicks that exclude, contradictory ones, and clicks in dark photos."""

import cv2
import numpy as np
import pytest

from ml.editing import selecting
from ml.errors import BadParameter
from ml.pixels import Picture
from tests.ml.truth.selections import overlap
from tests.support.ml.contexts import Calm
from tests.support.ml.cutouts import engines
from tests.support.ml.photos import jpeg_bytes, open_bytes, photo


def test_a_click_that_excludes_what_is_not_selected_anyway_changes_nothing() -> None:
    picture = np.full((400, 500, 3), (200, 205, 210), np.uint8)
    cv2.circle(picture, (250, 200), 150, (150, 40, 30), 40, cv2.LINE_AA)
    ring = np.zeros((400, 500), np.uint8)
    cv2.circle(ring, (250, 200), 150, 255, 40, cv2.LINE_AA)
    source, context = Picture(picture, "png"), Calm(engines=engines())
    alone = selecting.select_objects(source, [((400.0, 200.0, 1),)], None, context)
    excluded = selecting.select_objects(source, [((400.0, 200.0, 1), (250.0, 200.0, 0))], None, context)
    np.testing.assert_array_equal(alone.mask, excluded.mask)
    assert overlap(excluded.mask, ring) > 0.9


def test_one_point_cannot_be_on_the_object_and_off_it() -> None:
    source = Picture(np.full((60, 80, 3), 120, np.uint8), "png")
    with pytest.raises(BadParameter, match="both as 1 and as 0"):
        selecting.select_objects(source, [((20.0, 20.0, 1), (20.0, 20.0, 0))], None, Calm(engines=engines()))


def test_a_dark_photo_gives_the_selection_of_the_ordinary_one() -> None:
    astronaut = photo("astronaut")
    context = Calm(engines=engines())
    ordinary, dark = (
        selecting.select_objects(Picture(pixels, "png"), [((217.0, 126.0, 1),)], None, context)
        for pixels in (astronaut, cv2.convertScaleAbs(astronaut, alpha=0.08))
    )
    assert overlap(dark.mask, ordinary.mask) > 0.9
    confidence = dark.confidence(dark.candidates[0])
    assert confidence == pytest.approx(ordinary.confidence(ordinary.candidates[0]), abs=0.1)


def test_a_selection_in_a_large_photo_has_no_parts_away_from_the_object() -> None:
    """Streaks of the table have the colour of the saucer."""
    large = cv2.resize(photo("coffee"), (4000, 2667), interpolation=cv2.INTER_CUBIC)
    source, context = Picture(open_bytes(jpeg_bytes(large)), "jpg"), Calm(engines=engines())
    for x, y in ((1900.0, 1400.0), (800.0, 1733.0)):
        mask = selecting.select_objects(source, [((x, y, 1),)], None, context).mask
        _count, _labels, parts, _centers = cv2.connectedComponentsWithStats(mask)
        assert np.count_nonzero(parts[1:, cv2.CC_STAT_AREA] > 100) == 1
        assert 450 < cv2.boundingRect(mask)[0] < 550
