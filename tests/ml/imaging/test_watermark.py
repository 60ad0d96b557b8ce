"""The mark in the corner of previews."""

import numpy as np
import pytest

from ml.imaging import watermark


@pytest.mark.parametrize("size", [(1024, 700), (60, 40), (20, 900), (1, 1)])
def test_the_mark_is_in_the_lower_right_corner(size: tuple[int, int]) -> None:
    width, height = size
    picture = np.full((height, width, 3), 120, np.uint8)
    marked, _ = watermark.mark(picture, "Preview")
    assert marked.shape == picture.shape
    assert (picture == 120).all()
    if min(size) >= 100:
        assert (marked[: height // 2] == 120).all()
        corner = marked[-height // 5 :, -width // 2 :]
        assert corner.max() > 200
        assert corner.min() < 80


def test_transparency_stays_elsewhere_and_the_mark_is_visible_on_it() -> None:
    cutout = np.zeros((400, 600, 4), np.uint8)
    marked, (left, top, right, bottom) = watermark.mark(cutout, "Preview")
    assert (right, bottom) == (600, 400)
    marked_rows, marked_columns = np.nonzero(marked[..., 3])
    assert left <= marked_columns.min() <= left + 2
    assert top <= marked_rows.min() <= top + 2
    assert marked[-40:, -150:, 3].max() > 200
