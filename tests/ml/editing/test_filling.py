"""Filling: untouched pixels, independence of hidden pixels, and termination for any input."""

import cv2
import numpy as np
import pytest

from ml.editing import filling
from ml.engines import sharpness, textures
from ml.errors import Cancelled
from ml.imaging import pyramid, seams
from ml.imaging.pyramid import Level
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


def line(pixels: Pixels, start: tuple[int, int], end: tuple[int, int], thickness: int) -> Region:
    mask = np.zeros(pixels.shape[:2], np.uint8)
    cv2.line(mask, start, end, 1, thickness)
    return mask > 0


def error(answer: Pixels, photo: Pixels, hole: Region) -> float:
    return float(np.abs(answer[hole].astype(int) - photo[hole]).mean())


class TestScratches:
    @pytest.mark.parametrize("thickness", [1, 2, 5])
    def test_lines_across_a_scratch_are_continued_better_than_by_telea(self, thickness: int) -> None:
        errors = []
        for name in ("astronaut", "brick", "chelsea"):
            photo = photos.photo(name)
            hole = line(photo, (20, 30), (290, 280), thickness) | line(photo, (200, 10), (30, 260), thickness)
            pixels = painted_over(photo, hole)
            telea = cv2.inpaint(pixels, hole.astype(np.uint8), 3, cv2.INPAINT_TELEA)
            errors.append([error(answer, photo, hole) for answer in (filling.fill(pixels, hole), telea)])
        ours, teleas = np.mean(errors, axis=0)
        assert ours < 0.95 * teleas

    def test_hidden_pixels_beside_a_scratch_are_not_used(self) -> None:
        pixels = photos.photo("gravel").copy()
        pixels[:, 256:] = (0, 255, 0)
        usable = np.ones(pixels.shape[:2], np.bool_)
        usable[:, 256:] = False
        hole = line(pixels, (254, 100), (254, 300), 2)
        answer = filling.fill(pixels, hole, usable=usable)[hole].astype(int)
        assert np.ptp(answer, axis=1).max() < 30

    def test_a_scratch_is_seen_from_both_sides_at_the_coarsest_level(self) -> None:
        photo = np.tile(photos.photo("brick"), (2, 2, 1))
        levels = {}
        for depth in (8, 30, 100):
            hole = disc(photo, 256, 256, depth)
            levels[depth] = pyramid.build(Level(photo, hole, ~hole), 3)[-1].depth_pixels
        assert levels[8] <= 4
        assert 8 < levels[30] <= 16
        assert levels[100] <= 4


class TestRepetition:
    def test_an_object_beside_a_large_hole_is_not_copied_into_it(self) -> None:
        """The motorcycle's red tank would appear a second time where its rear is removed."""
        photo = photos.photo("motorcycle_left")
        hole = np.zeros(photo.shape[:2], np.bool_)
        hole[80:300, 80:250] = True
        answer = filling.fill(painted_over(photo, hole), hole)
        redness = answer.astype(int) @ (2, -1, -1)
        assert (redness[hole] > 200).sum() < 100

    def test_texture_and_edges_are_ordinary_and_a_single_object_is_not(self) -> None:
        photo = photos.photo("brick").copy()
        cv2.putText(photo, "LOGO", (60, 120), cv2.FONT_HERSHEY_SIMPLEX, 2, (250, 240, 20), 6)
        hole = disc(photo, 350, 350, 80)
        answer = textures.uniqueness(Level(photo, hole, ~hole), 3)
        assert answer[80:115, 70:200].mean() > 4 * answer[200:, :200].mean()

    def test_a_picture_without_sources_has_nothing_unique(self) -> None:
        tiny = np.zeros((4, 4, 3), np.uint8)
        hole = np.zeros((4, 4), np.bool_)
        assert not textures.uniqueness(Level(tiny, hole, ~hole), 3).any()


class TestSharpness:
    def test_no_sharp_fur_is_copied_into_the_blurred_background_beside_it(self) -> None:
        photo = np.ascontiguousarray(photos.photo("chelsea")[:220, 150:])
        hole = np.zeros(photo.shape[:2], np.bool_)
        hole[30:170, 220:282] = True
        answer = filling.fill(painted_over(photo, hole), hole)
        grey = cv2.cvtColor(answer, cv2.COLOR_RGB2GRAY).astype(np.float32)
        details = np.abs(grey - cv2.blur(grey, (3, 3)))
        beyond_the_ear = hole.copy()
        beyond_the_ear[:, :240] = False
        assert details[beyond_the_ear].mean() < 1.2  # 0.6 in the background, 2 to 4 in fur

    def test_what_is_expected_is_as_sharp_as_the_nearest_rim(self) -> None:
        noise = np.random.default_rng(3).integers(60, 200, (120, 200, 1), np.uint8)
        photo = np.repeat(noise, 3, axis=2)
        photo[:, 66:] = 130
        hole = np.zeros(photo.shape[:2], np.bool_)
        hole[40:80, 60:160] = True
        level = Level(painted_over(photo, hole), hole, ~hole)
        found = sharpness.charges(level, level, 3, 10.0)
        rows = np.full(2, 60, np.int32)
        targets = np.array([61, 150], np.int32)
        from_noise, from_flat = np.full(2, 20, np.int32), np.full(2, 180, np.int32)
        assert (found.costs(rows, targets, rows, from_flat) == 0).all()
        in_noise, in_flat = found.costs(rows, targets, rows, from_noise)
        assert in_noise < 5
        assert in_flat > 30
        # A level of which nothing may be copied from the rim.
        nothing = sharpness.charges(Level(photo, hole, np.zeros_like(hole)), level, 3, 10.0)
        assert not nothing.costs(rows, targets, rows, from_noise).any()


class TestSeams:
    def test_a_smooth_step_between_copies_is_levelled(self) -> None:
        """Skies differ by 30 to 80 levels within a picture; pieces of them must not keep hard edges."""
        ramp = np.linspace(40, 200, 300)[None, :, None].repeat(200, axis=0).repeat(3, axis=2)
        photo = np.rint(ramp).astype(np.uint8)
        painted = np.zeros(photo.shape[:2], np.bool_)
        painted[60:140, 100:200] = True
        right = np.where(painted, 90, 0)
        correction, _ = seams.seam_correction(photo, painted, np.zeros_like(right), right)
        rows, columns = np.nonzero(painted)
        answer = photo.astype(np.float32)
        answer[painted] = photo[rows, columns + 90] + correction[painted]
        assert np.abs(np.diff(answer[100, :, 0])).max() < 16


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
