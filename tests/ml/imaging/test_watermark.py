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


@pytest.mark.parametrize("ground", [0, 90, 255])
@pytest.mark.parametrize("channels", [None, 3, 4])
def test_the_cover_is_seen_everywhere_on_any_ground(ground: int, channels: int | None) -> None:
    shape = (341, 512) if channels is None else (341, 512, channels)
    picture = np.full(shape, ground, np.uint8)
    if channels == 4:
        picture[..., 3] = 0
    covered = watermark.cover(picture, "Test · bgeraser")
    assert covered.shape == picture.shape
    seen = covered[..., 3] if channels == 4 else covered.reshape(341, 512, -1)[..., 0]
    before = 0 if channels == 4 else ground
    differs = np.abs(seen.astype(int) - before) > 25
    assert 0.03 < differs.mean() < 0.4
    # No part of a quarter of the sides is without it, so it cannot be cut off.
    for top in range(0, 256, 85):
        for left in range(0, 384, 128):
            assert differs[top : top + 86, left : left + 128].any()


@pytest.mark.parametrize("size", [(1, 1), (16, 512), (512, 9)])
def test_a_picture_of_any_size_is_covered(size: tuple[int, int]) -> None:
    assert watermark.cover(np.zeros((*size, 3), np.uint8), "Test").shape == (*size, 3)
