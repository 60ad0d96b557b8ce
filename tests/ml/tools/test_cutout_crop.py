"""A crop of a cut-out's layers, drawn with their new look, is the crop of what the old look showed."""

from typing import Any

import cv2
import numpy as np
import pytest

from ml.backend import ToolAnswer, ToolCall
from ml.errors import BadParameter, NothingFound, PictureTooLarge
from ml.pixels import Mask, Pixels
from ml.runtime import run_call
from ml.tools.bg_removal_params import BgRemovalParams
from ml.tools.crop import CropParams
from ml.tools.cutout_crop import CutoutCropParams, Layer
from tests.support.ml.photos import open_bytes, photo, png_bytes

PHOTO = np.ascontiguousarray(photo("coffee")[:240, :360])
BEHIND = png_bytes(np.ascontiguousarray(photo("astronaut")[:200, :200]))


def ellipse() -> Mask:
    alpha = np.zeros(PHOTO.shape[:2], np.uint8)
    cv2.ellipse(alpha, (190, 120), (90, 60), 20, 0, 360, 255, cv2.FILLED)
    return np.asarray(cv2.GaussianBlur(alpha, (0, 0), 1.5), np.uint8)


CUTOUT = np.dstack([PHOTO, ellipse()])
FILES = {"image": png_bytes(PHOTO), "cutout": png_bytes(CUTOUT)}


class NoEngines:
    """Fails as soon as a network is asked for."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"a crop asked for the engine {name}")


def perform(tool: str, params: Any, files: dict[str, bytes]) -> ToolAnswer:
    engines: Any = NoEngines()
    return run_call.perform(ToolCall(tool, params, files), engines, lambda _stage, _done: None)


def looked(look: dict[str, str], files: dict[str, bytes]) -> Pixels:
    params = BgRemovalParams.model_validate({"format": "png", **look})
    return open_bytes(perform("cutout-look", params, files).content)


class Cropped:
    """The layers of the cut-out after a crop in the frame of `look`."""

    def __init__(
        self, look: dict[str, str], crop: dict[str, str], files: dict[str, bytes] | None = None
    ) -> None:
        self.files = files or FILES
        self.params = CutoutCropParams(
            crop=CropParams.model_validate(crop),
            look=look,
            has_picture="bg_image" in self.files,
            format="png",
        )
        cutout = self.layer("cutout")
        self.fields = cutout.fields
        self.look: dict[str, str] = cutout.fields["look"]
        box = tuple(cutout.fields["bbox"])
        self.layers = {"image": self.layer("photo", box).content, "cutout": cutout.content}
        if cutout.fields["has_own_background"]:
            self.layers["bg_image"] = self.layer("background", box).content

    def layer(self, layer: Layer, box: tuple[int, ...] | None = None) -> ToolAnswer:
        changes = {"layer": layer, "box": box}
        return perform("cutout-crop", self.params.model_copy(update=changes), self.files)

    @property
    def photo(self) -> Pixels:
        return open_bytes(self.layers["image"])

    def drawn(self) -> Pixels:
        return looked(self.look, self.layers)


def shown(look: dict[str, str], crop: dict[str, str], files: dict[str, bytes]) -> Pixels:
    """The crop of the picture that the look shows."""
    drawn = {"image": png_bytes(looked(look, files))}
    params = CropParams.model_validate({"format": "png", **crop})
    return open_bytes(perform("crop", params, drawn).content)


def premultiplied(pixels: Pixels) -> np.ndarray:
    values = pixels.astype(float)
    if values.shape[2] == 4:
        values[..., :3] *= values[..., 3:] / 255
    return values


LOOKS: list[dict[str, str]] = [
    {},
    {"bg_color": "#1f3a5f80", "outline_width": "4%", "outline_color": "red"},
    {"bg_gradient": "#f00 #00f 135"},
    {"bg_blur": "40"},
    {"bg_color": "white", "shadow": "drop", "shadow_x": "10%", "shadow_y": "-4"},
    {"bg_scene": "studio-white", "feather": "3", "shift_edge": "2"},
    {
        "bg_color": "white",
        "subject_x": "20%",
        "subject_scale": "70",
        "subject_rotate": "30",
        "shadow": "drop",
    },
    {"bg_blur": "30", "subject_y": "40"},
    {"preset": "square", "shadow": "drop", "bg_color": "#eee"},
    {"crop": "true", "crop_margin": "10%"},
    {"bg_color": "white", "decontaminate": "false"},
    {
        "bg_color": "#fff",
        "outline_width": "10",
        "outline_color": "red",
        "subject_scale": "60",
        "subject_x": "30%",
    },
    {"crop": "true", "outline_width": "12", "outline_color": "red"},
]
TURNS: list[dict[str, str]] = [{"rotate": "90", "flip": "h"}, {"rotate": "180"}]


@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_turning_and_mirroring_shows_the_same_pixels(look: dict[str, str]) -> None:
    if "bg_scene" in look:
        look = {**look, "bg_scene": scene()}
    for turn in TURNS:
        answer, expected = Cropped(look, turn).drawn(), shown(look, turn, FILES)
        assert answer.shape == expected.shape, turn
        assert np.abs(premultiplied(answer) - premultiplied(expected)).mean() < 0.3, turn


@pytest.mark.parametrize(
    "crop",
    [
        {"x": "70", "y": "30", "width": "250", "height": "180"},
        {"x": "40%", "width": "30%"},  # through the subject
        {"aspect_ratio": "1:1", "gravity": "north"},
        {"resize": "180x180", "fit": "cover"},
        {"x": "10", "width": "300", "rotate": "90", "resize": "120x150"},
    ],
    ids=str,
)
def test_cropping_and_resizing_shows_what_was_there(crop: dict[str, str]) -> None:
    files = {**FILES, "bg_image": BEHIND}
    for look, given in (
        ({"bg_color": "#1f3a5f"}, FILES),
        ({"bg_color": "white", "shadow": "drop"}, FILES),
        ({"outline_width": "5", "outline_color": "#ff0"}, files),
        ({"subject_x": "60", "subject_scale": "60"}, files),
        ({"bg_blur": "10"}, FILES),  # the wider it is, the more of it comes from outside
    ):
        answer, expected = Cropped(look, crop, given).drawn(), shown(look, crop, given)
        assert answer.shape == expected.shape, look
        assert np.abs(premultiplied(answer) - premultiplied(expected)).mean() < 1.5, look


def scene() -> str:
    from ml.imaging import scenes

    return scenes.NAMES[0]


def test_the_photo_is_cropped_as_the_cutout_and_nothing_else_is_in_it() -> None:
    made = Cropped({"bg_color": "red"}, {"x": "100", "y": "20", "width": "200", "rotate": "90", "flip": "v"})
    assert np.array_equal(made.photo, np.rot90(PHOTO[20:, 100:300], -1)[::-1])
    cutout = open_bytes(made.layers["cutout"])
    assert np.array_equal(cutout[..., 3], np.rot90(ellipse()[20:, 100:300], -1)[::-1])
    # Where the photo does not reach, there is nothing to restore.
    padded = Cropped({}, {"resize": "360x360", "fit": "pad", "pad_color": "#0f0"}).photo
    assert padded.shape == (360, 360, 4)
    assert not padded[:59, :, 3].any()
    assert np.array_equal(padded[60:300, :, :3], PHOTO)
    moved = Cropped({"subject_x": "100"}, {"width": "200"}).photo
    assert not moved[:, :100, 3].any()
    assert np.array_equal(moved[:, 100:, :3], PHOTO[:, :100])


def test_straightening_leaves_no_empty_corner_in_the_background() -> None:
    for look, files in (
        ({"bg_color": "#123456"}, FILES),
        ({"bg_gradient": "#fff #000"}, FILES),
        ({"bg_blur": "60"}, FILES),
        ({}, {**FILES, "bg_image": BEHIND}),
    ):
        made = Cropped(look, {"rotate": "15"}, files)
        drawn = made.drawn()
        assert drawn.shape[2] == 3, look
        if "bg_blur" in look:
            assert drawn[[0, 0, -1, -1], [0, -1, 0, -1]].max(axis=1).min() > 30
    assert open_bytes(Cropped({}, {"rotate": "15"}).layers["cutout"])[0, 0, 3] == 0


def test_padding_has_the_color_that_was_asked_for_or_that_of_the_background() -> None:
    pad = {"resize": "360x360", "fit": "pad"}
    assert Cropped({"bg_color": "red"}, pad).drawn()[2, 2].tolist() == [255, 0, 0]
    blue = Cropped({"bg_color": "red"}, {**pad, "pad_color": "blue"}).drawn()
    assert (blue[2, 2].tolist(), blue[70, 2].tolist()) == ([0, 0, 255], [255, 0, 0])
    assert Cropped({}, pad).drawn()[2, 2, 3] == 0


def test_the_subject_and_the_border_are_found_without_a_network() -> None:
    around = Cropped({"bg_color": "white"}, {"aspect_ratio": "1:1", "gravity": "subject"})
    assert around.fields["bbox"] == [70, 0, 310, 240]
    trimmed = Cropped({"bg_color": "white"}, {"mode": "trim"})
    left, top, right, bottom = trimmed.fields["bbox"]
    assert (95 < left < 110, 45 < top < 65, 270 < right < 285, 175 < bottom < 195) == (True,) * 4
    nothing = {**FILES, "cutout": png_bytes(np.zeros_like(CUTOUT))}
    with pytest.raises(NothingFound):
        Cropped({"bg_color": "white"}, {"mode": "trim"}, nothing)
    empty = Cropped({"bg_color": "white", "shift_edge": "-3"}, {"x": "0", "width": "40"})
    assert (empty.drawn() == 255).all(), "a part without the subject is only background"


def test_a_region_of_interest_keeps_its_place() -> None:
    look = {"roi": "120 60 260 180", "shift_edge": "8", "bg_color": "white"}
    turn = {"x": "100", "y": "40", "rotate": "90"}
    made = Cropped(look, turn)
    assert made.look["roi"] == "60 20 180 160"
    assert np.abs(made.drawn().astype(int) - shown(look, turn, FILES)).mean() < 0.3
    assert "roi" not in Cropped(look, {"width": "100"}).look


def test_what_cannot_be_cropped_is_refused() -> None:
    with pytest.raises(BadParameter):
        Cropped({}, {"x": "400"})
    for fit in ("contain", "cover", "pad"):
        with pytest.raises(PictureTooLarge):
            Cropped({}, {"resize": "99999x99999", "fit": fit})
    with pytest.raises(BadParameter):
        Cropped({}, {"width": "50"}, {**FILES, "cutout": png_bytes(CUTOUT[:100])})
