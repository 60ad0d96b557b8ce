"""Holes in skies and gradients are filled without seams; everything else is left to patches."""

import numpy as np
import pytest

from ml.editing import filling, smooth_filling
from ml.imaging.pyramid import Level, Region
from ml.pixels import Pixels
from tests.support.ml.fill_figures import disc, painted_over
from tests.support.ml.photos import photo

HEIGHT, WIDTH = 300, 400
DOWN, ACROSS = np.mgrid[:HEIGHT, :WIDTH].astype(float)


def as_picture(values: np.ndarray) -> Pixels:
    return np.ascontiguousarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))


GRADIENTS = {
    "horizontal": np.stack([ACROSS * 255 / (WIDTH - 1)] * 3, axis=2),
    "vertical": np.stack([DOWN * 0.8, DOWN * 0.6 + 40, 255 - DOWN * 0.5], axis=2),
    "vignette": np.stack([230 - 0.002 * ((ACROSS - 150) ** 2 + (DOWN - 100) ** 2)] * 3, axis=2),
}


def fill(picture: Pixels, hole: Region) -> Pixels | None:
    level = Level(painted_over(picture, hole), hole, ~hole)
    return smooth_filling.fill(level, hole, np.random.default_rng(0))


def test_only_the_rim_matters_however_large_the_picture_is() -> None:
    picture = as_picture(GRADIENTS["vignette"] + np.random.default_rng(1).normal(0, 2, (HEIGHT, WIDTH, 3)))
    hole = disc(picture, 150, 190, 40)
    part = np.s_[80:220, 120:260]
    whole, cut = fill(picture, hole), fill(picture[part], hole[part])
    assert whole is not None
    assert cut is not None
    assert np.abs(whole[part][hole[part]].astype(int) - cut[hole[part]]).max() <= 1
    np.testing.assert_array_equal(whole[~hole], picture[~hole])


@pytest.mark.parametrize("name", GRADIENTS)
def test_a_gradient_continues_through_the_hole(name: str) -> None:
    picture = as_picture(GRADIENTS[name])
    hole = disc(picture, 150, 190, 60)
    filled = filling.fill(painted_over(picture, hole), hole)
    assert np.abs(filled.astype(int) - picture).max() <= 2
    np.testing.assert_array_equal(filled[~hole], picture[~hole])


def test_the_grain_of_the_surroundings_is_continued() -> None:
    noise = np.random.default_rng(1).normal(0, 3, (HEIGHT, WIDTH, 1))
    picture = as_picture(GRADIENTS["vignette"] + noise)
    hole = disc(picture, 150, 190, 50)
    filled = filling.fill(painted_over(picture, hole), hole)
    error = filled[hole].astype(float) - GRADIENTS["vignette"][hole]
    assert error.std() == pytest.approx(3, rel=0.15)
    assert abs(error.mean()) < 0.5
    assert np.abs(np.diff(error, axis=1)).max() <= 1  # grey grain stays grey


def test_the_sky_of_a_photo_is_smooth() -> None:
    rocket = photo("rocket")
    hole = disc(rocket, 114, 247, 30)
    filled = fill(rocket, hole)
    assert filled is not None
    assert np.square(filled[hole].astype(float) - rocket[hole]).mean() ** 0.5 < 4


@pytest.mark.parametrize(
    ("name", "row", "column"), [("coffee", 200, 100), ("chelsea", 150, 200), ("astronaut", 300, 250)]
)
def test_texture_is_left_to_patches(name: str, row: int, column: int) -> None:
    picture = photo(name)
    assert fill(picture, disc(picture, row, column, 30)) is None


def test_an_edge_or_an_object_at_the_rim_is_left_to_patches() -> None:
    picture = as_picture(GRADIENTS["vertical"])
    picture[:, 195:] //= 2
    assert fill(picture, disc(picture, 150, 190, 40)) is None
    with_object = as_picture(GRADIENTS["vertical"])
    with_object[140:160, 232:260] = 0
    assert fill(with_object, disc(with_object, 150, 190, 40)) is None


def test_holes_at_the_border_and_unusable_surroundings_are_left_to_patches() -> None:
    picture = as_picture(GRADIENTS["vertical"])
    assert fill(picture, disc(picture, 20, 190, 40)) is None
    hole = disc(picture, 150, 190, 40)
    unusable = disc(picture, 150, 240, 20) & ~hole
    level = Level(picture, hole, ~hole & ~unusable)
    assert smooth_filling.fill(level, hole, np.random.default_rng(0)) is None
