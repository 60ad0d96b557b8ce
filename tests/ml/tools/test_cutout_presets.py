"""Named presets of background removal: sizes, margins and backgrounds, by the real cut-out of a photo."""

import functools
from typing import Any

import numpy as np
import pytest

from ml.backend import ToolCall
from ml.errors import BadParameter
from ml.imaging import fitting, scenes
from ml.imaging.framing import FAINT_ALPHA
from ml.runtime import run_call
from ml.tools import cutout_look
from ml.tools.bg_removal_params import BgRemovalParams
from ml.tools.cutout_presets import NAMES, PRESETS, PresetName
from tests.support.ml.cutouts import engines
from tests.support.ml.photos import open_bytes, png_bytes

SIZES = {
    "marketplace": (2000, 2000),
    "amazon": (2000, 2000),
    "ebay": (1600, 1600),
    "etsy": (2800, 2100),
    "shopify": (2048, 2048),
    "square": (1080, 1080),
    "story": (1080, 1920),
    "passport": (827, 1063),
}
SHARES = {"marketplace": 0.85, "amazon": 0.88, "ebay": 0.9, "etsy": 0.7, "shopify": 0.8, "square": 0.8}
SUBJECT = (slice(60, 240), slice(80, 320))


@functools.cache
def looked(bg_image: bytes | None = None, **fields: str) -> Any:
    """A cut-out with a rectangular subject of 240 x 180, drawn with the given look."""
    photo = np.full((300, 400, 3), (40, 90, 160), np.uint8)
    cutout = np.dstack([photo, np.zeros((300, 400), np.uint8)])
    cutout[SUBJECT] = (200, 30, 30, 255)
    params = BgRemovalParams.model_validate({**fields, "format": "png"})
    files = {"image": png_bytes(photo), "cutout": png_bytes(cutout)}
    if bg_image is not None:
        files["bg_image"] = bg_image
    work = ToolCall("cutout-look", params, files)
    answer = run_call.perform(work, engines(), lambda _stage, _fraction: None)
    return open_bytes(answer.content)


def subject_box(preset: PresetName) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of what is not the background."""
    answer = looked(preset=preset, bg_color="#00ff00")
    rows, columns = np.nonzero(np.abs(answer[..., 0].astype(int) - 200) < FAINT_ALPHA)
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


@pytest.mark.parametrize("preset", NAMES)
def test_the_size_is_what_the_preset_says(preset: PresetName) -> None:
    height, width = looked(preset=preset).shape[:2]
    assert (width, height) == SIZES[preset]
    assert cutout_look.answer_size(BgRemovalParams(preset=preset), (400, 300)) == SIZES[preset]


@pytest.mark.parametrize("preset", SHARES)
def test_the_subject_fills_its_share_in_the_tighter_direction_and_is_centred(preset: PresetName) -> None:
    left, top, right, bottom = subject_box(preset)
    width, height = SIZES[preset]
    share = max((right - left) / width, (bottom - top) / height)
    assert share == pytest.approx(SHARES[preset], abs=0.01)
    assert left + right == pytest.approx(width, abs=4)
    assert top + bottom == pytest.approx(height, abs=4)


def test_amazons_main_image_is_never_below_85_percent() -> None:
    left, _, right, _ = subject_box("amazon")
    assert (right - left) / 2000 >= 0.85


def test_a_passport_picture_has_the_shoulders_at_the_lower_edge() -> None:
    left, top, right, bottom = subject_box("passport")
    assert bottom == pytest.approx(1063, abs=2)
    assert left + right == pytest.approx(827, abs=4)
    assert top > 0.08 * 1063
    assert BgRemovalParams(preset="passport").dpi == 600


@pytest.mark.parametrize("preset", ["marketplace", "amazon", "ebay", "etsy", "shopify"])
def test_marketplaces_get_pure_white(preset: PresetName) -> None:
    answer = looked(preset=preset)
    assert answer.shape[2] == 3
    edges = np.concatenate([answer[:40].reshape(-1, 3), answer[-40:].reshape(-1, 3)])
    assert (edges == 255).all()


def test_other_presets_have_their_own_background() -> None:
    assert looked(preset="square").shape[2] == 4
    assert looked(preset="story").shape[2] == 4
    assert looked(preset="passport")[0, 0].tolist() == [238, 238, 238]


def test_what_is_given_overrides_the_preset() -> None:
    answer = looked(preset="amazon", bg_color="red", output_size="300x200")
    assert answer.shape == (200, 300, 3)
    assert answer[0, 0].tolist() == [255, 0, 0]


def test_a_scene_fills_the_canvas_behind_the_subject() -> None:
    answer = looked(preset="story", bg_scene="oak-table")
    expected = fitting.cover(scenes.read("oak-table"), (1080, 1920), "center")
    assert np.array_equal(answer[:200], expected[:200])
    assert np.array_equal(answer[-200:], expected[-200:])


def test_a_scene_excludes_an_uploaded_background() -> None:
    with pytest.raises(BadParameter) as caught:
        looked(png_bytes(np.zeros((9, 9, 3), np.uint8)), bg_scene="sky")
    assert caught.value.name == "bg_image"


def test_every_preset_says_what_it_rules() -> None:
    for preset in PRESETS.values():
        assert preset.title
        assert preset.rule.endswith(".")
