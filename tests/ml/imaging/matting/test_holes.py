"""Small holes show a plain background; dots, letters and highlights of its colour do not."""

import cv2
import numpy as np
import pytest

from ml.imaging import codecs
from ml.imaging.matting import holes
from ml.pixels import Matte, Pixels
from tests.support.ml.photos import jpeg_bytes

BACKGROUND = (200, 205, 210)


def product(noise: float = 2.0) -> tuple[Pixels, Matte]:
    """A dark red disc on plain grey, and a network's matte of it, which shows no hole."""
    picture = np.full((800, 800, 3), BACKGROUND, np.uint8)
    cv2.circle(picture, (400, 400), 220, (150, 40, 30), -1, cv2.LINE_AA)
    matte = np.zeros((1024, 1024), np.float32)
    cv2.circle(matte, (512, 512), 281, 1.0, -1, cv2.LINE_AA)
    return noisy(picture, noise), matte


def noisy(picture: Pixels, noise: float) -> Pixels:
    random = np.random.default_rng(0)
    answer: Pixels = np.clip(picture + random.normal(0, noise, picture.shape), 0, 255).astype(np.uint8)
    return answer


def opened_area(picture: Pixels, matte: Matte) -> float:
    """In pixels of the picture."""
    opened = (matte > 0.5) & (holes.open_holes(picture, matte) < 0.5)
    return float(opened.mean()) * picture[..., 0].size


@pytest.mark.parametrize("radius", [8, 16, 24, 28, 34])
def test_a_small_hole_is_opened_at_its_size(radius: int) -> None:
    picture, matte = product(noise=0)
    cv2.circle(picture, (400, 380), radius, BACKGROUND, -1, cv2.LINE_AA)
    assert opened_area(noisy(picture, 2), matte) == pytest.approx(np.pi * radius**2, rel=0.25)


@pytest.mark.parametrize(("quality", "radius"), [(90, 8), (90, 12), (85, 16), (75, 16), (75, 34), (60, 24)])
def test_a_small_hole_is_opened_in_a_jpeg(quality: int, radius: int) -> None:
    """Its blocks ring in the hole, and its colours bleed into it."""
    picture, matte = product(noise=0)
    cv2.circle(picture, (400, 380), radius, BACKGROUND, -1, cv2.LINE_AA)
    compressed = codecs.decode(jpeg_bytes(noisy(picture, 2), quality=quality)).rgb
    assert opened_area(compressed, matte) == pytest.approx(np.pi * radius**2, rel=0.25)


def test_a_background_that_grows_darker_shows_through_a_hole_too() -> None:
    picture, matte = product(noise=0)
    cv2.circle(picture, (400, 380), 24, BACKGROUND, -1, cv2.LINE_AA)
    light = np.linspace(1.0, 0.85, 800)[:, None, None]
    lit = picture.copy()
    grey = (np.abs(picture.astype(int) - BACKGROUND) < 60).all(axis=2)
    lit[grey] = np.rint(picture * light)[grey]
    assert opened_area(noisy(lit, 2), matte) == pytest.approx(np.pi * 24**2, rel=0.25)


def test_an_object_without_holes_stays_as_it_is() -> None:
    picture, matte = product()
    np.testing.assert_array_equal(holes.open_holes(picture, matte), matte)


def test_spots_that_only_resemble_the_background_stay() -> None:
    picture, matte = product(noise=0)
    cv2.circle(picture, (400, 380), 24, (212, 212, 212), -1, cv2.LINE_AA)
    assert opened_area(noisy(picture, 2), matte) == 0


def test_a_soft_highlight_stays() -> None:
    picture, matte = product(noise=0)
    y, x = np.mgrid[:800, :800]
    shine = np.exp(-((x - 380) ** 2 + (y - 340) ** 2) / (2 * 40**2))[..., None]
    shiny = np.minimum(picture + shine * (np.array(BACKGROUND) - (150, 40, 30)) * 1.0, 255).astype(np.uint8)
    inside = cv2.resize(matte, (800, 800)) > 0.99
    shiny[~inside] = picture[~inside]
    assert opened_area(noisy(shiny, 2), matte) == 0


def test_print_in_the_backgrounds_colour_stays() -> None:
    picture, matte = product(noise=0)
    cv2.putText(picture, "SALE", (270, 420), cv2.FONT_HERSHEY_SIMPLEX, 3.5, BACKGROUND, 18, cv2.LINE_AA)
    assert opened_area(noisy(picture, 2), matte) == 0


def test_a_pattern_of_dots_stays() -> None:
    picture, matte = product(noise=0)
    for row in range(5):
        for column in range(5):
            cv2.circle(picture, (300 + 50 * column, 300 + 50 * row), 12, BACKGROUND, -1, cv2.LINE_AA)
    assert opened_area(noisy(picture, 2), matte) == 0


def test_nothing_is_decided_on_a_busy_background() -> None:
    picture, matte = product(noise=0)
    cv2.circle(picture, (400, 380), 24, BACKGROUND, -1, cv2.LINE_AA)
    assert opened_area(noisy(picture, 25), matte) == 0


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_empty_and_full_mattes_stay(value: float) -> None:
    picture, _ = product()
    matte = np.full((320, 320), value, np.float32)
    np.testing.assert_array_equal(holes.open_holes(picture, matte), matte)
