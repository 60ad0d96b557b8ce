"""The object's box, margins and frames, checked to the pixel."""

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from ml.errors import PictureTooLarge
from ml.imaging import framing
from ml.imaging.framing import MarginsField
from ml.imaging.geometry import Box
from ml.params import Length
from tests.support.ml.photos import photo

margins = TypeAdapter(MarginsField).validate_python


def test_the_box_contains_visible_pixels_and_excludes_faint_ones() -> None:
    alpha = np.zeros((100, 200), np.uint8)
    alpha[:, :] = framing.FAINT_ALPHA - 1
    assert framing.object_box(alpha) is None
    alpha[30, 40] = framing.FAINT_ALPHA
    alpha[59, 149] = 255
    assert framing.object_box(alpha) == Box(40, 30, 150, 60)


def test_margins_follow_css_syntax() -> None:
    ten, twenty = Length(value=10), Length(value=20, percent=True)
    assert margins("10") == (ten, ten, ten, ten)
    assert margins("10px 20%") == (ten, twenty, ten, twenty)
    assert margins(" 1  2 3\t4 ") == tuple(Length(value=side) for side in (1, 2, 3, 4))


@pytest.mark.parametrize("text", ["", "1 2 3", "1 2 3 4 5", "ten", "-1", "5 -1%", "1;2", "1e3"])
def test_invalid_margins_are_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        margins(text)


def test_margins_grow_the_box_by_pixels_or_its_own_sides() -> None:
    box = Box(100, 50, 300, 150)
    assert framing.add_margins(box, margins("10 20 30 40")) == Box(60, 40, 320, 180)
    assert framing.add_margins(box, margins("10% 50%")) == Box(0, 40, 400, 160)


def test_a_frame_inside_the_image_is_a_crop() -> None:
    picture = photo("coffee")
    np.testing.assert_array_equal(framing.crop_or_pad(picture, Box(5, 7, 105, 57)), picture[7:57, 5:105])


def test_a_frame_beyond_the_image_is_empty_or_repeats_the_edge() -> None:
    picture = photo("coffee")[:20, :30]
    frame = Box(-2, -3, 35, 24)
    empty = framing.crop_or_pad(picture, frame)
    assert empty.shape == (27, 37, 3)
    np.testing.assert_array_equal(empty[3:23, 2:32], picture)
    assert not empty[:3].any()
    assert not empty[:, 32:].any()
    repeated = framing.crop_or_pad(picture, frame, repeat_edge=True)
    np.testing.assert_array_equal(repeated[3:23, 2:32], picture)
    np.testing.assert_array_equal(repeated[0, 2:32], picture[0])
    np.testing.assert_array_equal(framing.crop_or_pad(picture[..., 0], frame), empty[..., 0])


def test_a_frame_of_too_many_pixels_is_refused_before_allocation() -> None:
    with pytest.raises(PictureTooLarge):
        framing.crop_or_pad(photo("coffee"), Box(-(10**9), -(10**9), 10**9, 10**9))
