"""Outlines around cut-outs."""

import cv2
import numpy as np
import pytest

from ml.imaging import stickers
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
    found, outlined = stickers.add_outline(colors, alpha, Length(value=width), RED)
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
    found, outlined = stickers.add_outline(colors, soft, Length(value=20), WHITE)
    edge = (soft > 20) & (soft < 235)
    assert outlined[edge].min() == 255
    shares = soft[edge][:, None] / 255
    assert np.abs(found[edge] - (shares * colors[edge] + (1 - shares) * 255)).max() <= 1


def test_a_percentage_is_of_the_object_and_nothing_has_no_outline() -> None:
    colors, alpha = disc(50)
    percent = stickers.add_outline(colors, alpha, Length(value=10, percent=True), WHITE)
    ten = stickers.add_outline(colors, alpha, Length(value=10), WHITE)
    assert np.array_equal(percent[1], ten[1])
    nothing = np.zeros_like(alpha)
    assert not stickers.add_outline(colors, nothing, Length(value=10), WHITE)[1].any()
