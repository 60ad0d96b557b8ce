"""Removing background colour from soft edges, on images whose true colours are known."""

import cv2
import numpy as np
import pytest

from ml.imaging.matting import decontamination, refinement
from tests.support.ml.cutouts import known_cutout
from tests.support.ml.photos import photo


@pytest.mark.parametrize(
    ("front", "back", "left_over"),
    [
        ("chelsea", "rocket", 0.2),
        ("coffee", "rocket", 0.15),
        ("rocket", "chelsea", 0.32),
        ("astronaut", "grass", 0.4),
    ],
)
def test_hair_colors_get_closer_to_the_true_foreground(front: str, back: str, left_over: float) -> None:
    known = known_cutout(front, back)
    before = known.color_error(known.picture)
    assert known.color_error(decontamination.decontaminate(known.picture, known.alpha)) < left_over * before


def test_an_estimated_alpha_helps_too() -> None:
    known = known_cutout("chelsea", "rocket")
    alpha = refinement.refine(known.picture, known.blurred_matte(1024))
    colors = decontamination.decontaminate(known.picture, alpha)
    assert known.color_error(colors) < 0.7 * known.color_error(known.picture)


def test_a_green_screen_leaves_no_green_in_an_edge() -> None:
    alpha = np.zeros((400, 400), np.uint8)
    cv2.circle(alpha, (200, 200), 120, 255, -1)
    alpha = cv2.GaussianBlur(alpha, (0, 0), 4)
    share = alpha.astype(np.float32)[..., None] / 255
    red, green = np.array((200, 30, 30), np.float32), np.array((0, 220, 0), np.float32)
    picture = np.rint(red * share + green * (1 - share)).astype(np.uint8)
    colors = decontamination.decontaminate(picture, alpha)
    visible = alpha > 25
    half = alpha > 127
    assert np.abs(colors[visible].astype(int) - red).max() <= 45
    assert np.abs(colors[half].astype(int) - red).max() <= 15
    assert np.abs(picture[visible].astype(int) - red).max() > 100


def test_opaque_pixels_keep_their_exact_colors() -> None:
    known = known_cutout("chelsea", "coffee")
    colors = decontamination.decontaminate(known.picture, known.alpha)
    opaque = known.alpha == 255
    np.testing.assert_array_equal(colors[opaque], known.picture[opaque])


def test_without_soft_edges_nothing_changes() -> None:
    picture = photo("coffee")
    for value in (0, 255):
        alpha = np.full(picture.shape[:2], value, np.uint8)
        np.testing.assert_array_equal(decontamination.decontaminate(picture, alpha), picture)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 700), (400, 1)])
def test_tiny_and_narrow_images_work(size: tuple[int, int]) -> None:
    picture = cv2.resize(photo("coffee"), size[::-1], interpolation=cv2.INTER_AREA)
    alpha = np.full(size, 100, np.uint8)
    assert decontamination.decontaminate(picture, alpha).shape == picture.shape
