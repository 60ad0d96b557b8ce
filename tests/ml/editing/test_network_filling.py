"""Filling with a network: any size, place and depth of the hole, exact outside, detail at full size."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from ml.editing import filling, network_filling
from ml.editing.filling import Guide
from ml.engines.cache import EngineCache
from ml.engines.erasing import Eraser
from ml.errors import Cancelled
from ml.pixels import Pixels
from tests.support.ml import photos, tiny_erasers
from tests.support.ml.fill_figures import Region, disc, figures, painted_over


@pytest.fixture(scope="module", params=["migan", "lama"])
def engine(request: pytest.FixtureRequest) -> Iterator[Eraser]:
    """Both interfaces, and so both polarities of the mask."""
    with pytest.MonkeyPatch.context() as monkeypatch, tempfile.TemporaryDirectory() as folder:
        tiny_erasers.install(Path(folder), monkeypatch, request.param)
        yield EngineCache(Path(folder), Path(folder) / "cache", "cpu", 4 << 30, 2).erasing(request.param)


class Counting(Eraser):
    """Counts the windows of another engine."""

    def __init__(self, engine: Eraser) -> None:
        self.__dict__.update(engine.__dict__)
        self.windows = 0

    def fill(self, colors: Pixels, hole: Region) -> Pixels:
        self.windows += 1
        return super().fill(colors, hole)


def ramp(height: int, width: int) -> Pixels:
    """Three gradients over the whole picture, with a little noise: flat rims have a way of their own."""
    rows, columns = np.mgrid[:height, :width]
    across, along = columns * 200 / max(1, width - 1) + 20, rows * 200 / max(1, height - 1) + 20
    noise = np.random.default_rng(1).integers(-2, 3, (height, width, 3))
    return np.clip(np.dstack([across, along, 240 - across]) + noise, 0, 255).astype(np.uint8)


def checked(pixels: Pixels, hole: Region, engine: Eraser) -> Pixels:
    """The filling; the rest is exact, and what is in the hole has no influence."""
    answer = network_filling.fill(painted_over(pixels, hole), hole, engine)
    assert np.array_equal(answer[~hole], pixels[~hole])
    assert answer.dtype == np.uint8
    return answer


def shift(answer: Pixels, pixels: Pixels, hole: Region) -> float:
    """The largest mean error of a channel: a shift by a pixel or a swap of channels shows in it."""
    return float(np.abs((answer[hole].astype(float) - pixels[hole]).mean(axis=0)).max())


class TestSizes:
    @pytest.mark.parametrize(
        ("height", "width"),
        [
            (512, 512),
            (511, 513),
            (600, 400),
            (300, 301),
            (97, 640),
            (640, 97),
            (1031, 769),
            (40, 40),
            (33, 1200),
        ],
    )
    def test_a_hole_is_filled_in_place_whatever_the_size(
        self, height: int, width: int, engine: Eraser
    ) -> None:
        pixels = ramp(height, width)
        hole = disc(pixels, height // 2, width // 2, max(6, min(height, width) // 7))
        # Narrow pictures are continued by reflection, which the tiny network averages.
        assert shift(checked(pixels, hole, engine), pixels, hole) < (6 if min(height, width) > 97 else 10)

    @pytest.mark.parametrize(("height", "width"), [(1, 40), (40, 1), (3, 3), (2, 2), (17, 23)])
    def test_tiny_pictures_are_filled_or_have_no_context(
        self, height: int, width: int, engine: Eraser
    ) -> None:
        pixels = np.full((height, width, 3), 90, np.uint8)
        hole = np.zeros((height, width), np.bool_)
        hole[-1, -1] = True
        assert (checked(pixels, hole, engine)[hole] == 90).all()

    def test_a_large_hole_is_reduced_for_the_network_and_stays_in_place(self, engine: Eraser) -> None:
        pixels = ramp(1500, 1700)
        hole = disc(pixels, 700, 900, 300)
        assert shift(checked(pixels, hole, engine), pixels, hole) < 6


class TestPlaces:
    def test_a_hole_of_one_pixel(self, engine: Eraser) -> None:
        pixels = ramp(300, 400)
        hole = np.zeros((300, 400), np.bool_)
        hole[150, 200] = True
        assert shift(checked(pixels, hole, engine), pixels, hole) < 8

    @pytest.mark.parametrize(
        "where",
        [
            np.s_[:40, :],  # the whole width, at the top
            np.s_[130:190, :],  # the whole width, inside
            np.s_[:, -50:],
            np.s_[:60, :60],  # a corner
            np.s_[-60:, 100:300],
        ],
    )
    def test_holes_that_touch_borders(self, where: tuple[slice, slice], engine: Eraser) -> None:
        pixels = ramp(300, 400)
        hole = np.zeros((300, 400), np.bool_)
        hole[where] = True
        # At a border the nearest known colours are on one side only.
        assert shift(checked(pixels, hole, engine), pixels, hole) < 40

    def test_several_holes_do_not_see_each_other(self, engine: Eraser) -> None:
        pixels = ramp(500, 700)
        hole = disc(pixels, 120, 120, 30) | disc(pixels, 380, 560, 30) | disc(pixels, 120, 200, 20)
        answer = checked(pixels, hole, engine)
        magenta = answer.astype(int) @ (1, -1, 1)
        assert (np.abs(magenta - pixels.astype(int) @ (1, -1, 1))[hole] < 40).all()

    def test_a_deep_hole_is_painted_inwards_in_shrinking_windows(self, engine: Eraser) -> None:
        pixels = ramp(600, 600)
        hole = np.zeros((600, 600), np.bool_)
        hole[60:540, 60:540] = True
        counting = Counting(engine)
        checked(pixels, hole, counting)
        assert 5 <= counting.windows <= 60

    def test_hidden_pixels_are_not_shown_to_the_network(self, engine: Eraser) -> None:
        pixels = ramp(300, 400)
        usable = np.ones((300, 400), np.bool_)
        usable[:, 200:] = False
        hidden = pixels.copy()
        hidden[:, 200:] = (0, 255, 0)
        hole = disc(pixels, 150, 170, 25)
        one, other = (network_filling.fill(each, hole, engine, usable=usable) for each in (pixels, hidden))
        assert np.array_equal(one[hole], other[hole])

    def test_nothing_known_is_reported(self, engine: Eraser) -> None:
        pixels = ramp(900, 1200)
        hole = np.ones((900, 1200), np.bool_)
        with pytest.raises(network_filling.NoContext):
            network_filling.fill(pixels, hole, engine)
        hole[0, :20] = False
        with pytest.raises(network_filling.NoContext):
            network_filling.fill(pixels, hole, engine)

    def test_an_empty_hole_changes_nothing(self, engine: Eraser) -> None:
        pixels = ramp(60, 60)
        assert np.array_equal(checked(pixels, np.zeros((60, 60), np.bool_), engine), pixels)


class TestBorders:
    def test_a_border_of_thousands_of_pixels_is_painted_in_steps_outwards(self, engine: Eraser) -> None:
        pixels = ramp(300, 3400)
        hole = np.zeros((300, 3400), np.bool_)
        hole[:, 400:] = True
        counting = Counting(engine)
        answer = checked(pixels, hole, counting)
        assert 10 <= counting.windows <= 40
        # The tiny network continues the edge's colour; nothing of the painted-over colour is left.
        assert (answer[hole].astype(int) @ (1, -1, 1)).max() < 400

    def test_borders_on_all_sides(self, engine: Eraser) -> None:
        pixels = ramp(700, 900)
        hole = np.ones((700, 900), np.bool_)
        hole[150:-150, 200:-200] = False
        checked(pixels, hole, engine)


class TestColors:
    def test_greys_stay_grey(self, engine: Eraser, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whatever the network answers."""
        pixels = ramp(300, 400)[..., :1].repeat(3, axis=2)

        def tinted(self: Eraser, colors: Pixels, hole: Region) -> Pixels:
            return np.where(hole[..., None], np.array([120, 100, 90], np.uint8), colors)

        monkeypatch.setattr(Eraser, "fill", tinted)
        answer = network_filling.fill(pixels, disc(pixels, 150, 200, 40), engine)
        assert (np.ptp(answer, axis=2) == 0).all()

    @pytest.mark.parametrize("level", [0, 254, 255])
    def test_flat_surroundings_keep_their_value(
        self, level: int, engine: Eraser, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pixels = np.full((400, 500, 3), level, np.uint8)
        pixels[:50, :50] = (200, 30, 30)
        hole = disc(pixels, 200, 250, 80)

        def off_by_one(self: Eraser, colors: Pixels, hole: Region) -> Pixels:
            return np.where(hole[..., None], np.uint8(abs(level - 1)), colors)

        monkeypatch.setattr(Eraser, "fill", off_by_one)
        assert (network_filling.fill(painted_over(pixels, hole), hole, engine)[hole] == level).all()


class TestDetail:
    def test_what_is_copied_follows_the_guide_and_has_the_grain_of_the_picture(self) -> None:
        """The guide is what a perfect network would say at a quarter of the size."""
        gravel = np.tile(photos.photo("gravel"), (2, 2, 1))
        shade = np.linspace(0.4, 1.0, gravel.shape[1])[None, :, None]
        photo = np.rint(gravel * shade).astype(np.uint8)
        hole = disc(photo, 500, 500, 200)
        small = cv2.resize(photo, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
        coarse = cv2.resize(small, photo.shape[1::-1], interpolation=cv2.INTER_CUBIC)
        guide = np.where(hole[..., None], coarse, photo)
        copies = filling.fill(photo, hole, guide=Guide(guide, 4.0))
        assert np.array_equal(copies[~hole], photo[~hole])
        found, coarsely = figures(copies, hole), figures(guide, hole)
        assert found.texture_ratio > 0.7 > coarsely.texture_ratio
        low = [cv2.GaussianBlur(each.astype(np.float32), (0, 0), 12) for each in (copies, photo)]
        assert np.abs(low[0] - low[1])[hole].mean() < 8

    def test_the_answer_is_the_same_for_the_same_seed(self, engine: Eraser) -> None:
        pixels = np.tile(photos.photo("gravel"), (2, 2, 1))[:740, :740]
        hole = disc(pixels, 370, 370, 180)
        one, same, other = (network_filling.fill(pixels, hole, engine, seed=seed)[hole] for seed in (7, 7, 8))
        assert np.array_equal(one, same)
        assert not np.array_equal(one, other)


class TestSteps:
    def test_progress_increases_and_cancellation_is_honoured(self, engine: Eraser) -> None:
        pixels = ramp(700, 900)
        hole = disc(pixels, 300, 300, 200) | disc(pixels, 640, 800, 20)
        fractions: list[float] = []
        network_filling.fill(pixels, hole, engine, step=fractions.append)
        assert fractions == sorted(fractions)
        assert 0 <= fractions[0] <= fractions[-1] <= 1

        def stop(fraction: float) -> None:
            if fraction > 0.1:
                raise Cancelled

        with pytest.raises(Cancelled):
            network_filling.fill(pixels, hole, engine, step=stop)
