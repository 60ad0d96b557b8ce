"""Shadows of cut-outs; the tests of bg-removal cover them on photos."""

import cv2
import numpy as np
import pytest

from ml.imaging import shadows
from ml.params import Length
from ml.pixels import Mask


def pixels(value: float) -> Length:
    return Length(value=value)


@pytest.fixture
def square() -> Mask:
    alpha = np.zeros((300, 400), np.uint8)
    alpha[100:200, 150:250] = 255
    return alpha


@pytest.mark.parametrize(("right", "down"), [(40, 10), (-30, -20), (0, 0), (500, 0)])
def test_a_shadow_is_moved_by_its_offset(square: Mask, right: int, down: int) -> None:
    shadow = shadows.drop_shadow(square, 100, pixels(right), pixels(down), pixels(0))
    rows, columns = slice(100 + down, 200 + down), slice(min(150 + right, 400), min(250 + right, 400))
    expected = np.zeros_like(square)
    expected[rows, columns] = 255
    assert np.array_equal(shadow, expected)


def test_percentages_are_of_the_object(square: Mask) -> None:
    tenth = Length(value=10, percent=True)
    shadow = shadows.drop_shadow(square, 100, tenth, tenth, tenth)
    same = shadows.drop_shadow(square, 100, pixels(10), pixels(10), pixels(10))
    assert np.array_equal(shadow, same)


def test_blur_softens_the_edge(square: Mask) -> None:
    soft = [shadows.drop_shadow(square, 100, pixels(0), pixels(0), pixels(blur)) for blur in (4, 24)]
    widths = [np.count_nonzero((one > 5) & (one < 250)) for one in soft]
    assert widths[1] > 3 * widths[0] > 0


def test_a_contact_shadow_is_flat_and_under_the_foot() -> None:
    alpha = np.zeros((400, 400), np.uint8)
    cv2.ellipse(alpha, (200, 120), (120, 80), 0, 0, 360, 255, cv2.FILLED)
    alpha[120:320, 180:220] = 255  # a tree
    shadow = shadows.contact_shadow(alpha, 100, pixels(2))
    rows, columns = np.nonzero(shadow > 127)
    assert abs(columns.mean() - 199.5) < 1.5
    assert np.ptp(columns) < 60  # as wide as the trunk, not as the crown
    assert np.ptp(rows) < 10
    assert 310 < rows.mean() < 325


def test_colour_and_its_alpha_are_those_of_the_parameter(square: Mask) -> None:
    shadow = shadows.drop_shadow(square, 50, pixels(0), pixels(0), pixels(0))
    on_nothing = shadows.add_shadow(None, shadow, (200, 30, 10, 128))
    assert tuple(on_nothing[150, 200, :3]) == (200, 30, 10)
    assert abs(int(on_nothing[150, 200, 3]) - 64) <= 1
    assert on_nothing[10, 10, 3] == 0


def test_nothing_has_no_shadow() -> None:
    nothing = np.zeros((30, 40), np.uint8)
    assert not shadows.contact_shadow(nothing, 100).any()
    assert not shadows.drop_shadow(nothing, 100).any()


def test_the_shadow_of_an_object_that_the_canvas_cuts_off_reaches_its_border() -> None:
    alpha = np.zeros((300, 400), np.uint8)
    alpha[100:200, :150] = 255
    shadow = shadows.drop_shadow(alpha, 100, pixels(40), pixels(20), pixels(0))
    assert (shadow[120:220, :190] == 255).all()
    assert not shadow[220:].any()
