"""Regions grow by the same number of pixels on all sides, and stop at the border."""

import numpy as np

from ml.imaging.matting import growing


def test_a_pixel_grows_to_a_square_that_the_border_cuts_off() -> None:
    region = np.zeros((9, 12), bool)
    region[1, 6] = True
    grown = growing.grown(region, 2)
    expected = np.zeros((9, 12), bool)
    expected[:4, 4:9] = True
    assert np.array_equal(grown, expected)


def test_the_largest_value_near_a_pixel_is_taken() -> None:
    mask = np.zeros((5, 5), np.uint8)
    mask[2, 1], mask[2, 3] = 40, 90
    assert growing.dilated(mask, 1)[2].tolist() == [40, 40, 90, 90, 90]
