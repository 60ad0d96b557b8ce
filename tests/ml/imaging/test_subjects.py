"""Moving, scaling and turning the subject of a cut-out."""

import numpy as np
import pytest

from ml.imaging.framing import object_box
from ml.imaging.subjects import SubjectMove, move_subject
from ml.pixels import Mask, Pixels


@pytest.fixture
def square() -> tuple[Pixels, Mask]:
    colors = np.full((200, 300, 3), (0, 0, 255), np.uint8)  # blue is hidden
    alpha = np.zeros((200, 300), np.uint8)
    colors[80:120, 100:160] = (200, 40, 10)
    alpha[80:120, 100:160] = 255
    return colors, alpha


def box_of(alpha: Mask) -> tuple[int, int, int, int]:
    box = object_box(alpha)
    assert box is not None
    return box.left, box.top, box.right, box.bottom


def test_a_move_by_whole_pixels_copies_them(square: tuple[Pixels, Mask]) -> None:
    colors, alpha = move_subject(*square, SubjectMove(30, -50))
    assert box_of(alpha) == (130, 30, 190, 70)
    assert (colors[alpha == 255] == (200, 40, 10)).all()
    # What leaves the canvas is cut off.
    assert box_of(move_subject(*square, SubjectMove(-130))[1]) == (0, 80, 30, 120)
    assert not move_subject(*square, SubjectMove(x_pixels=5000))[1].any()


@pytest.mark.parametrize("scale", [2.0, 0.7, 0.25])
def test_a_scaled_subject_keeps_its_middle_and_colours(square: tuple[Pixels, Mask], scale: float) -> None:
    colors, alpha = move_subject(*square, SubjectMove(scale=scale))
    left, top, right, bottom = box_of(alpha)
    assert abs((left + right) / 2 - 130) <= 1
    assert abs((top + bottom) / 2 - 100) <= 1
    assert abs(right - left - 60 * scale) <= 2
    assert abs(bottom - top - 40 * scale) <= 2
    visible = np.abs(colors.astype(int) - (200, 40, 10)) * (alpha / 255)[..., None]
    assert visible.max() <= 1, "the hidden blue does not bleed in"


def test_a_turn_by_a_quarter_swaps_the_sides(square: tuple[Pixels, Mask]) -> None:
    _, alpha = move_subject(*square, SubjectMove(degrees=90))
    left, top, right, bottom = box_of(alpha)
    assert abs(right - left - 40) <= 1
    assert abs(bottom - top - 60) <= 1
    # Clockwise: what was on the left is on top.
    half = square[1].copy()
    half[:, 130:] = 0
    colors, _ = square
    colors[80:120, 100:110] = (0, 255, 0)
    turned, shown = move_subject(colors, square[1], SubjectMove(degrees=90))
    assert turned[75, 130].tolist() == [0, 255, 0]
    assert shown[75, 130] == 255


def test_an_empty_cutout_stays_empty() -> None:
    empty = np.zeros((10, 10, 3), np.uint8), np.zeros((10, 10), np.uint8)
    assert not move_subject(*empty, SubjectMove(3, scale=2))[1].any()
