"""Edges and backgrounds of cutouts, checked to the pixel."""

import math

import cv2
import numpy as np
import pytest

from ml.imaging import compositing
from ml.pixels import Mask
from tests.support.ml.photos import photo


def disc(side: int = 200, radius: int = 60) -> Mask:
    alpha = np.zeros((side, side), np.uint8)
    cv2.circle(alpha, (side // 2, side // 2), radius, 255, -1)
    return alpha


def test_compositing_is_exact_where_opaque_and_blends_where_soft() -> None:
    front, back = photo("coffee")[:200, :300], photo("rocket")[:200, :300]
    alpha = np.tile(np.linspace(0, 255, 300).astype(np.uint8), (200, 1))
    answer = compositing.composite_opaque(front, alpha, back)
    share = alpha[..., None] / 255
    np.testing.assert_allclose(answer, front * share + back * (1 - share), atol=1)
    np.testing.assert_array_equal(answer[alpha == 255], front[alpha == 255])
    np.testing.assert_array_equal(answer[alpha == 0], back[alpha == 0])


def test_an_opaque_color_removes_the_alpha_channel() -> None:
    alpha = disc()
    answer = compositing.composite_on_color(photo("coffee")[:200, :200], alpha, (10, 200, 30, 255))
    assert answer.shape == (200, 200, 3)
    assert (answer[alpha == 0] == (10, 200, 30)).all()
    np.testing.assert_array_equal(answer[alpha == 255], photo("coffee")[:200, :200][alpha == 255])


def test_a_translucent_color_shines_through() -> None:
    colors = np.full((10, 20, 3), 200, np.uint8)
    alpha = np.zeros((10, 20), np.uint8)
    alpha[:, 5:10] = 128
    alpha[:, 10:] = 255
    answer = compositing.composite_on_color(colors, alpha, (0, 0, 0, 51))
    assert (answer[:, :5] == (0, 0, 0, 51)).all()
    assert (answer[:, 10:] == (200, 200, 200, 255)).all()
    # 128/255 of 200 over 51/255 of black: alpha 0.502 + 0.498 * 0.2 = 0.602, colour 200 * 0.502 / 0.602.
    assert (answer[:, 5:10] == (167, 167, 167, 153)).all()


def test_a_transparent_color_equals_no_color() -> None:
    colors, alpha = photo("coffee")[:200, :200], disc()
    answer = compositing.composite_on_color(colors, alpha, (255, 0, 0, 0))
    np.testing.assert_array_equal(answer[..., 3], alpha)
    np.testing.assert_array_equal(answer[alpha == 255][:, :3], colors[alpha == 255])


def test_alpha_becomes_the_fourth_channel() -> None:
    colors, alpha = photo("coffee")[:200, :200], disc()
    answer = compositing.with_alpha(colors, alpha)
    np.testing.assert_array_equal(answer[..., :3], colors)
    np.testing.assert_array_equal(answer[..., 3], alpha)


@pytest.mark.parametrize("width", [1, 4, 16, 17, 50])
def test_feather_softens_by_its_width_on_either_side(width: int) -> None:
    alpha = np.zeros((400, 400), np.uint8)
    alpha[:, 200:] = 255
    edge = compositing.feather(alpha, width)[200].astype(int)
    assert abs(edge[199] - 255 + edge[200]) <= 3  # as much to the left as to the right
    assert (np.diff(edge) >= -1).all()
    inside, outside = 200 + 2 * width, 199 - 2 * width
    assert edge[inside] >= 254
    assert edge[outside] <= 1
    soft = np.count_nonzero((edge > 12) & (edge < 243))
    assert width <= soft <= 2.5 * width


def test_zero_feather_changes_nothing() -> None:
    alpha = disc()
    np.testing.assert_array_equal(compositing.feather(alpha, 0), alpha)


def test_the_object_does_not_bleed_into_its_blurred_background() -> None:
    picture = np.zeros((300, 400, 3), np.uint8)
    picture[:] = (20, 60, 160)
    picture[100:200, 100:250] = (255, 255, 0)
    alpha = np.zeros((300, 400), np.uint8)
    alpha[98:202, 98:252] = 255
    for strength in (1, 20, 100):
        behind = compositing.blur_background(picture, alpha, strength)
        assert np.abs(behind.astype(int) - (20, 60, 160)).max() <= 2


def test_a_stronger_blur_is_smoother() -> None:
    picture, nothing = photo("coffee"), np.zeros(photo("coffee").shape[:2], np.uint8)
    sharpness = []
    for strength in (1, 10, 40, 100):
        behind = compositing.blur_background(picture, nothing, strength)
        assert behind.shape == picture.shape
        assert np.abs(behind.mean((0, 1)) - picture.mean((0, 1))).max() < 4
        sharpness.append(np.abs(np.diff(behind.astype(np.float32), axis=1)).mean())
    assert sharpness == sorted(sharpness, reverse=True)
    assert sharpness[-1] < 0.1 * sharpness[0]


def test_an_image_filled_by_the_object_still_has_a_background() -> None:
    picture = photo("coffee")
    everything = np.full(picture.shape[:2], 255, np.uint8)
    assert compositing.blur_background(picture, everything, 50).shape == picture.shape


def test_an_edge_moves_by_integer_and_fractional_pixels() -> None:
    alpha = np.zeros((60, 80), np.uint8)
    alpha[:, 30:] = 255  # reaches the picture's border, which stays
    for shift in (-20, -7, -1, 1, 6, 20):
        moved = compositing.shift_edge(alpha, shift)
        expected = np.zeros_like(alpha)
        expected[:, 30 - shift :] = 255
        np.testing.assert_array_equal(moved, expected)
    for part in (-2.25, -0.5, 0.5, 2.25):
        moved = compositing.shift_edge(alpha, part)
        covered = moved.astype(float).sum(axis=1) / 255
        assert np.abs(covered - (50 + part)).max() < 0.01


def test_a_disc_grows_and_shrinks_isotropically() -> None:
    alpha = np.zeros((200, 200), np.uint8)
    cv2.circle(alpha, (100, 100), 50, 255, -1, cv2.LINE_AA)
    for shift in (-12.5, -3, 4.5, 20):
        radius = math.sqrt(compositing.shift_edge(alpha, shift).astype(float).sum() / 255 / math.pi)
        before = math.sqrt(alpha.astype(float).sum() / 255 / math.pi)
        assert abs(radius - before - shift) < 0.5


def test_layers_are_composited_on_transparent_opaque_and_translucent_images() -> None:
    colors = np.full((1, 3, 3), (200, 100, 0), np.uint8)
    alpha = np.array([[0, 128, 255]], np.uint8)
    assert compositing.composite(colors, alpha, None)[0, 1].tolist() == [200, 100, 0, 128]
    opaque = compositing.composite(colors, alpha, np.full((1, 3, 3), 50, np.uint8))
    assert opaque[0].tolist() == [[50, 50, 50], [125, 75, 25], [200, 100, 0]]
    behind = np.broadcast_to(np.array((0, 0, 100, 102), np.uint8), (1, 3, 4))
    half = 128 / 255
    total = half + (1 - half) * 0.4
    expected = [200 * half / total, 100 * half / total, 100 * (1 - half) * 0.4 / total, total * 255]
    answer = compositing.composite(colors, alpha, behind)
    assert answer[0, 0].tolist() == [0, 0, 100, 102]
    np.testing.assert_allclose(answer[0, 1], expected, atol=0.51)
