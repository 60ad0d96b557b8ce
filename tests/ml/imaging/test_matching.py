"""Matching the colours and grain of painted areas to their surroundings."""

import cv2
import numpy as np
import pytest

from ml.imaging import matching
from ml.imaging.pyramid import Region
from ml.pixels import Pixels
from tests.support.ml.photos import photo

SHOWN = np.ascontiguousarray(photo("astronaut")[:256, :256])
PAINTED: Region = np.zeros((256, 256), np.bool_)
PAINTED[80:180, 60:190] = True


def noisy(pixels: Pixels, deviation: float) -> Pixels:
    noise = np.random.default_rng(1).normal(0, deviation, pixels.shape[:2])[..., None]
    return np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8)


def rim(painted: Region) -> Region:
    inner = cv2.erode(painted.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    return np.asarray(painted & ~inner, np.bool_)


class TestTint:
    @pytest.mark.parametrize("tint", [(12, 12, 12), (-9, 4, 15), (0, -20, 0)])
    def test_a_colour_shift_at_the_border_is_corrected(self, tint: tuple[int, int, int]) -> None:
        made = np.clip(SHOWN.astype(int) // 2 + 60 + np.array(tint), 0, 255).astype(np.uint8)
        wanted = (SHOWN.astype(int) // 2 + 60).astype(np.uint8)
        answer = matching.match_tint(made, wanted, PAINTED)
        border = rim(PAINTED)
        before = np.abs(made[border].astype(int) - wanted[border]).mean()
        after = np.abs(answer[border].astype(int) - wanted[border]).mean()
        assert before > 6
        assert after < 1.5

    def test_the_interior_of_the_painted_area_keeps_its_colour(self) -> None:
        made = np.clip(SHOWN.astype(int) + 10, 0, 255).astype(np.uint8)
        answer = matching.match_tint(made, SHOWN, PAINTED)
        at_border = np.abs(answer[82, 100:150].astype(int) - made[82, 100:150]).mean()
        inside = np.abs(answer[130, 100:150].astype(int) - made[130, 100:150]).mean()
        assert inside < 0.6 * at_border

    def test_different_content_beside_the_area_does_not_bleed_into_it(self) -> None:
        made = np.full_like(SHOWN, 120)
        answer = matching.match_tint(made, np.full_like(SHOWN, 250), PAINTED)
        assert np.abs(answer[PAINTED].astype(int) - 120).max() <= 33

    def test_pixels_outside_are_unchanged(self) -> None:
        answer = matching.match_tint(SHOWN // 2, SHOWN, PAINTED)
        assert np.array_equal(answer[~PAINTED], (SHOWN // 2)[~PAINTED])


class TestGrain:
    def test_the_grain_estimate_is_the_standard_deviation_of_the_noise(self) -> None:
        plain = np.full((256, 256, 3), 120, np.uint8)
        everywhere: Region = np.ones((256, 256), np.bool_)
        for deviation in (2.0, 5.0, 10.0):
            assert matching.estimate_grain(noisy(plain, deviation), everywhere) == pytest.approx(
                deviation, rel=0.1
            )
        slope = np.broadcast_to(np.arange(256, dtype=np.uint8)[:, None, None], (256, 256, 3))
        assert matching.estimate_grain(np.ascontiguousarray(slope), everywhere) < 0.2

    @pytest.mark.parametrize("deviation", [3.0, 8.0])
    def test_a_smooth_area_gets_the_grain_around_it(self, deviation: float) -> None:
        source = noisy(np.full((256, 256, 3), 120, np.uint8), deviation)
        made = np.full_like(source, 90)
        answer = matching.match_grain(made, source, PAINTED, seed=4)
        assert matching.estimate_grain(answer, PAINTED) == pytest.approx(deviation, rel=0.15)
        assert np.array_equal(answer[~PAINTED], made[~PAINTED])
        assert np.array_equal(matching.match_grain(made, source, PAINTED, seed=4), answer)
        assert not np.array_equal(matching.match_grain(made, source, PAINTED, seed=5), answer)

    def test_no_grain_is_added_where_there_is_none(self) -> None:
        source = np.full((256, 256, 3), 120, np.uint8)
        assert np.array_equal(matching.match_grain(source, source, PAINTED, seed=4), source)
