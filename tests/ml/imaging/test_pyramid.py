"""The depth of a hole is measured near it only, and is that of the whole picture."""

import cv2
import numpy as np
import pytest

from ml.imaging import pyramid
from ml.imaging.pyramid import Level, Region

HEIGHT, WIDTH = 60, 80


def region(*boxes: tuple[int, int, int, int]) -> Region:
    answer = np.zeros((HEIGHT, WIDTH), bool)
    for top, left, bottom, right in boxes:
        answer[top:bottom, left:right] = True
    return answer


HOLES = {
    "inside": region((20, 30, 41, 45)),
    "two": region((5, 5, 10, 25), (30, 40, 55, 70)),
    "at a border": region((0, 30, 22, 50)),
    "in a corner": region((48, 60, HEIGHT, WIDTH)),
    "across": region((20, 0, 33, WIDTH)),
    "one pixel": region((7, 9, 8, 10)),
}


@pytest.mark.parametrize("name", HOLES)
def test_depths_are_distances_to_what_is_known_in_the_whole_picture(name: str) -> None:
    hole = HOLES[name]
    padded = np.pad(hole, 1, mode="edge").astype(np.uint8)
    whole = cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1]
    found = pyramid.depths(hole)
    np.testing.assert_allclose(found[found > 0], whole[hole])
    colors = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    assert Level(colors, hole, ~hole).depth_pixels == whole.max()


def test_without_a_hole_nothing_is_deep() -> None:
    nothing = region()
    assert Level(np.zeros((HEIGHT, WIDTH, 3), np.uint8), nothing, ~nothing).depth_pixels == 0
