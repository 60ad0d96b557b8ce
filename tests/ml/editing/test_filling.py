"""Filling: untouched pixels, independence of hidden pixels, and termination for any input."""

import numpy as np
import pytest

from ml.editing import filling
from ml.errors import Cancelled
from ml.pixels import Pixels
from tests.support.ml import photos
from tests.support.ml.fill_figures import Region, disc, figures, painted_over


class TestLargeHoles:
    def test_a_hole_filled_at_reduced_size_is_as_sharp_and_seamless(self) -> None:
        photo = np.tile(photos.photo("gravel"), (4, 4, 1))
        hole = disc(photo, 1000, 1000, 480)
        assert hole.sum() > 700_000
        pixels = painted_over(photo, hole)
        answer = filling.fill(pixels, hole)
        found = figures(answer, hole)
        assert found.mean_difference < 12
        assert 0.7 < found.deviation_ratio < 1.4
        assert 0.7 < found.texture_ratio < 1.4
        assert np.array_equal(answer[~hole], photo[~hole])


class TestRepeatability:
    def test_the_result_depends_on_the_seed_only(self) -> None:
        photo = photos.photo("chelsea")
        hole = disc(photo, 111, 171, 30)
        one, same, other = (filling.fill(photo, hole, seed=seed) for seed in (7, 7, 8))
        assert np.array_equal(one, same)
        assert not np.array_equal(one, other)

    def test_pixels_under_the_hole_do_not_affect_the_result(self) -> None:
        photo = photos.photo("chelsea")
        hole = disc(photo, 111, 171, 30)
        assert np.array_equal(filling.fill(photo, hole), filling.fill(painted_over(photo, hole), hole))


class TestSteps:
    def test_progress_increases_and_cancellation_is_honoured(self) -> None:
        photo = photos.photo("coffee")
        hole = disc(photo, 130, 288, 60) | disc(photo, 370, 40, 12)
        fractions: list[float] = []
        filling.fill(photo, hole, step=fractions.append)
        assert len(fractions) > 20
        assert fractions == sorted(fractions)
        assert fractions[0] >= 0
        assert fractions[-1] < 1

        def stop(fraction: float) -> None:
            if fraction > 0.3:
                raise Cancelled

        with pytest.raises(Cancelled):
            filling.fill(photo, hole, step=stop)


class TestAwkwardHoles:
    """Whatever the shapes, there is an answer, and the rest of the picture is untouched."""

    @staticmethod
    def check(pixels: Pixels, hole: Region) -> Pixels:
        before = pixels.copy()
        answer = filling.fill(pixels, hole)
        assert np.array_equal(pixels, before)
        assert np.array_equal(answer[~hole], pixels[~hole])
        assert answer.dtype == np.uint8
        return answer

    @pytest.mark.parametrize(("height", "width"), [(1, 2), (2, 1), (3, 3), (5, 200), (200, 5), (17, 23)])
    def test_tiny_pictures(self, height: int, width: int) -> None:
        pixels = np.full((height, width, 3), 90, np.uint8)
        hole = np.zeros((height, width), np.bool_)
        hole[-1, -1] = True
        pixels[hole] = 255
        assert abs(int(self.check(pixels, hole)[-1, -1, 0]) - 90) <= 1

    def test_a_single_known_row_suffices(self) -> None:
        photo = photos.photo("coffee")
        hole = np.ones(photo.shape[:2], np.bool_)
        hole[0] = False
        assert self.check(photo, hole)[200].std() > 0

    def test_a_narrow_known_frame_suffices(self) -> None:
        photo = photos.photo("coffee")
        hole = np.zeros(photo.shape[:2], np.bool_)
        hole[10:-10, 10:-10] = True
        self.check(photo, hole)

    def test_many_small_holes_are_filled(self) -> None:
        photo = photos.photo("coffee")
        hole = np.random.default_rng(3).random(photo.shape[:2]) < 0.02
        answer = self.check(photo, hole)
        assert np.abs(answer[hole].astype(int) - photo[hole]).mean() < 25

    def test_holes_at_corners_and_edges_are_filled(self) -> None:
        photo = photos.photo("astronaut")
        hole = np.zeros(photo.shape[:2], np.bool_)
        hole[:30, :30] = hole[-40:, 200:260] = hole[100:150, -25:] = True
        self.check(photo, hole)

    def test_an_empty_hole_changes_nothing(self) -> None:
        photo = photos.photo("coffee")
        assert np.array_equal(self.check(photo, np.zeros(photo.shape[:2], np.bool_)), photo)

    def test_excluded_pixels_are_never_copied(self) -> None:
        """Half of the picture is of a colour that the other has nothing of."""
        pixels = photos.photo("gravel").copy()
        pixels[:, 256:] = (0, 255, 0)
        usable = np.ones(pixels.shape[:2], np.bool_)
        usable[:, 256:] = False
        hole = disc(pixels, 250, 180, 40)
        answer = filling.fill(pixels, hole, usable=usable)
        assert (answer[hole].max(axis=1).astype(int) - answer[hole].min(axis=1) < 30).all()
