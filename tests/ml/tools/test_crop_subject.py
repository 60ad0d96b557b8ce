"""Cropping to an aspect ratio around the subject."""

from pathlib import Path

import numpy as np
import pytest

from ml.backend import ToolAnswer, ToolCall
from ml.engines.cache import EngineCache
from ml.errors import ModelUnavailable
from ml.imaging.geometry import Box, over_subject
from ml.pixels import Pixels
from ml.runtime import run_call
from ml.tools.crop import CropParams
from tests.support.ml.cutouts import engines
from tests.support.ml.photos import open_bytes, photo, png_bytes


def call(picture: Pixels, cache: EngineCache | None = None, **params: str) -> ToolAnswer:
    settings = CropParams.model_validate({"gravity": "subject", **params})
    request = ToolCall("crop", settings, {"image": png_bytes(picture)})
    return run_call.perform(request, cache or engines(), lambda stage, fraction: None)


def coffee_at(left: int) -> Pixels:
    """The cup, about 350 pixels wide, somewhere on a wide table of one colour."""
    wide = np.full((400, 1400, 3), photo("coffee")[:30].mean((0, 1)).astype(np.uint8))
    wide[:, left : left + 600] = photo("coffee")
    return wide


@pytest.mark.parametrize("left", [0, 300, 800])
def test_the_box_follows_the_subject(left: int) -> None:
    answer = call(coffee_at(left), aspect_ratio="1:1")
    box = answer.fields["bbox"]
    assert (answer.width, answer.height, answer.warnings) == (400, 400, ())
    assert answer.model == "isnet-general-use"
    assert box[0] == pytest.approx(left + 110, abs=45)  # the cup's middle is about 310 from the photo's left
    np.testing.assert_array_equal(open_bytes(answer.content), coffee_at(left)[:, box[0] : box[2]])


def test_a_person_keeps_the_head() -> None:
    answer = call(photo("astronaut"), aspect_ratio="16:9")
    left, top, right, bottom = answer.fields["bbox"]
    assert (left, right, bottom - top) == (0, 512, 288)
    assert top <= 20


def test_without_a_subject_the_crop_is_centred_with_a_warning() -> None:
    answer = call(np.full((100, 300, 3), 255, np.uint8), aspect_ratio="1:1")
    assert answer.fields["bbox"] == [100, 0, 200, 100]
    (warning,) = answer.warnings
    assert "No subject" in warning


def test_without_a_checkpoint_the_install_command_is_named(tmp_path: Path) -> None:
    empty = EngineCache(tmp_path, tmp_path / "cache", "cpu", 8 << 30)
    with pytest.raises(ModelUnavailable, match="bgeraser models pull --profile embedded"):
        call(photo("coffee"), empty, aspect_ratio="1:1")


def test_the_box_stays_inside_the_image_and_tall_subjects_keep_their_top() -> None:
    box, picture = Box(0, 0, 100, 50), (100, 400)
    assert over_subject(box, Box(20, 200, 60, 240), picture) == Box(0, 195, 100, 245)
    assert over_subject(box, Box(0, 0, 10, 10), picture) == Box(0, 0, 100, 50)
    assert over_subject(box, Box(0, 390, 10, 400), picture) == Box(0, 350, 100, 400)
    assert over_subject(box, Box(0, 120, 100, 400), picture) == Box(0, 120, 100, 170)
    assert over_subject(Box(0, 0, 50, 50), Box(10, 0, 90, 50), (400, 50)) == Box(25, 0, 75, 50)
