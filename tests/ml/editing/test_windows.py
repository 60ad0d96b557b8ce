"""Windows for networks: inside the picture, of the asked size, and together the whole hole."""

import numpy as np
import pytest

from ml.editing import windows


@pytest.mark.parametrize(
    ("box", "size", "window"),
    [
        ((40, 30, 20, 10), (60, 50), (slice(10, 60), slice(20, 80))),
        ((0, 0, 5, 5), (60, 50), (slice(0, 50), slice(0, 60))),
        ((195, 95, 5, 5), (60, 50), (slice(50, 100), slice(140, 200))),
        ((10, 10, 5, 5), (999, 999), (slice(0, 100), slice(0, 200))),
    ],
)
def test_a_window_is_moved_into_the_picture_and_no_larger_than_it(
    box: tuple[int, int, int, int], size: tuple[int, int], window: tuple[slice, slice]
) -> None:
    assert windows.around(box, size, (100, 200)) == window


def test_windows_outwards_paint_every_pixel_once_and_never_far_from_known_ones() -> None:
    hole = np.ones((300, 500), np.bool_)
    hole[100:200, 150:300] = False
    unknown = hole.copy()
    for window, painted in windows.outward(hole, 128, 40.0):
        assert painted.shape == (128, 128)
        assert unknown[window][painted].all()
        assert windows.distance_to_known(unknown)[window][painted].max() <= 45
        unknown[window] &= ~painted
    assert not unknown.any()


def test_a_picture_of_which_nothing_is_known_ends_too() -> None:
    hole = np.ones((30, 50), np.bool_)
    assert sum(int(painted.sum()) for _, painted in windows.outward(hole, 64, 10.0)) == hole.sum()
