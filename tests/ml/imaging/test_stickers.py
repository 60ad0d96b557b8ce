"""Outlines around cut-outs."""

import cv2
import numpy as np
import pytest

from ml.imaging import stickers
from ml.imaging.geometry import Box
from ml.params import Length
from ml.pixels import Mask, Pixels

WHITE, RED = (255, 255, 255, 255), (200, 20, 10, 255)


def disc(radius: int) -> tuple[Pixels, Mask]:
    alpha = np.zeros((300, 300), np.uint8)
    cv2.circle(alpha, (150, 150), radius, 255, -1, cv2.LINE_AA)
    return np.full((300, 300, 3), (30, 90, 160), np.uint8), alpha


@pytest.mark.parametrize("width", [1, 7, 30])
def test_an_outline_has_its_width_and_colour(width: int) -> None:
    colors, alpha = disc(60)
    found, outlined = stickers.add_outline(colors, alpha, width, RED)
    rows, columns = np.mgrid[:300, :300]
    distance = np.hypot(columns - 150, rows - 150)
    assert outlined[distance < 60 + width - 2].min() == 255
    assert outlined[distance > 60 + width + 2].max() == 0
    assert np.array_equal(found[distance < 58], colors[distance < 58])
    ring = (distance > 62) & (distance < 60 + width - 1)
    assert not ring.any() or (found[ring] == RED[:3]).all()
    soft = (outlined > 0) & (outlined < 255)
    assert soft.sum() > 100  # not jagged


def test_soft_edges_are_mixed_with_the_outline_and_not_with_black() -> None:
    colors, alpha = disc(60)
    soft = cv2.GaussianBlur(alpha, (0, 0), 3)
    found, outlined = stickers.add_outline(colors, soft, 20, WHITE)
    edge = (soft > 20) & (soft < 235)
    assert outlined[edge].min() == 255
    shares = soft[edge][:, None] / 255
    assert np.abs(found[edge] - (shares * colors[edge] + (1 - shares) * 255)).max() <= 1


def test_a_percentage_is_of_the_object_and_nothing_has_no_outline() -> None:
    colors, alpha = disc(50)
    assert stickers.width_pixels(alpha, Length(value=10, percent=True)) == 10
    assert stickers.width_pixels(alpha, Length(value=0.1, percent=True)) == 1
    nothing = np.zeros_like(alpha)
    assert stickers.width_pixels(nothing, Length(value=10)) == 0
    assert not stickers.add_outline(colors, nothing, 10, WHITE)[1].any()


def test_an_outline_scales_with_its_object() -> None:
    small = stickers.add_outline(*disc(40), 12, RED, zoom=0.5)[1]
    rows, columns = np.mgrid[:300, :300]
    distance = np.hypot(columns - 150, rows - 150)
    assert small[distance < 44].min() == 255
    assert small[distance > 48].max() == 0


def test_the_box_of_an_outline_may_be_larger_than_the_picture() -> None:
    alpha = np.zeros((40, 60), np.uint8)
    alpha[10:40, 2:30] = 255
    alpha[5:10, 2:30] = 100  # visible, but the outline is not around it
    assert stickers.outlined_box(alpha, 7) == Box(-5, 3, 37, 47)
    assert stickers.outlined_box(alpha, 3) == Box(-1, 5, 33, 43)
    assert stickers.outlined_box(np.zeros_like(alpha), 7) is None
