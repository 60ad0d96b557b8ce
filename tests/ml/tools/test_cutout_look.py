"""The look of a stored cut-out equals what bg-removal answers with the same parameters, without a network."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from ml.backend import ToolAnswer, ToolCall
from ml.engines.cache import EngineCache
from ml.errors import BadParameter
from ml.pixels import Pixels
from ml.runtime import run_call
from ml.tools.bg_removal_params import BgRemovalParams
from tests.support.ml.cutouts import engines
from tests.support.ml.photos import jpeg_bytes, open_bytes, photo, png_bytes

PHOTO = jpeg_bytes(photo("coffee"))
BEHIND = jpeg_bytes(photo("astronaut"))


class NoEngines:
    """Fails as soon as a network is asked for."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        raise AssertionError(f"a look asked for the engine {name}")


def removed(**params: str) -> ToolAnswer:
    files = {"image": PHOTO}
    if params.pop("bg_image", None):
        files["bg_image"] = BEHIND
    settings = BgRemovalParams.model_validate({"model": "fast", "format": "png", **params})
    return run_call.perform(ToolCall("bg-removal", settings, files), engines(), lambda _stage, _done: None)


@functools.cache
def cutout() -> bytes:
    return removed().content


def looked(
    params: Mapping[str, str], cut: bytes | None = None, engine_cache: EngineCache | None = None
) -> ToolAnswer:
    values = dict(params)
    files = {"image": PHOTO, "cutout": cut or cutout()}
    if values.pop("bg_image", None):
        files["bg_image"] = BEHIND
    settings = BgRemovalParams.model_validate({"format": "png", **values})
    cache: Any = engine_cache or NoEngines()
    return run_call.perform(ToolCall("cutout-look", settings, files), cache, lambda _stage, _done: None)


def pixels(answer: ToolAnswer) -> Pixels:
    return open_bytes(answer.content)


LOOKS: list[dict[str, str]] = [
    {},
    {"bg_color": "#1f3a5f"},
    {"bg_color": "#1f3a5f80", "shadow": "drop", "shadow_opacity": "70"},
    {"bg_gradient": "#fff #dbe7f3 135", "shadow": "contact", "shadow_color": "#400"},
    {"bg_blur": "40", "outline_width": "3%", "outline_color": "red"},
    {"bg_image": "yes", "subject_x": "-12%", "subject_y": "30", "subject_scale": "60"},
    {"preset": "marketplace"},
    {"crop": "true", "crop_margin": "10%"},
    {"subject_rotate": "-30", "subject_scale": "140", "bg_color": "white"},
    {"roi": "20% 0 100% 100%", "feather": "6", "bg_color": "white"},
]


@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_the_look_of_a_cutout_equals_background_removal_in_one_go(look: dict[str, str]) -> None:
    once = pixels(removed(**look))
    cut = removed(roi=look["roi"]).content if "roi" in look else None
    later = pixels(looked(look, cut))
    assert later.shape == once.shape
    difference = np.abs(later.astype(int) - once)
    assert difference.mean() < 0.1
    assert (difference > 2).mean() < 0.002  # only where the edge shows more than the cut-out does


def test_a_feathered_edge_shows_no_fringe_of_the_old_background() -> None:
    once, later = (pixels(one).astype(int) for one in (removed(feather="12"), looked({"feather": "12"})))
    assert np.abs(later[..., 3] - once[..., 3]).max() <= 1
    visible = np.abs(later[..., :3] - once[..., :3]).max(axis=2) * (once[..., 3] / 255)
    assert np.percentile(visible, 99) <= 6


def test_the_tint_of_the_background_is_kept_on_request() -> None:
    params = {"decontaminate": "false", "bg_color": "#00ff00"}
    once, later = pixels(removed(**params)).astype(int), pixels(looked(params)).astype(int)
    assert np.abs(later - once).max() <= 1
    assert np.abs(later - pixels(looked({"bg_color": "#00ff00"}))).max() > 5


def test_a_restored_cutout_may_be_opaque() -> None:
    whole = png_bytes(photo("coffee"))
    answer = pixels(looked({"bg_color": "red"}, whole))
    assert np.array_equal(answer[..., :3], photo("coffee"))


def test_retouched_colours_are_kept() -> None:
    painted = open_bytes(cutout()).copy()
    painted[180:200, 280:300] = (10, 200, 30, 255)
    answer = pixels(looked({"decontaminate": "false", "feather": "1"}, png_bytes(painted)))
    assert (answer[185:195, 285:295, :3] == (10, 200, 30)).all()


def test_the_cutout_of_another_picture_is_refused_by_its_size() -> None:
    other = png_bytes(np.zeros((40, 60, 4), np.uint8))
    with pytest.raises(BadParameter, match="the photo's size"):
        looked({}, other)


@pytest.mark.parametrize("look", [{"subject_scale": "50"}, {"preset": "square", "shadow": "drop"}], ids=str)
def test_without_a_background_nothing_is_blurred_instead_of_black(look: dict[str, str]) -> None:
    finished = open_bytes(cutout())
    files = {"image": png_bytes(finished), "cutout": png_bytes(finished)}
    drawn = []
    for blur in ("30", "0"):
        settings = BgRemovalParams.model_validate({"format": "png", "bg_blur": blur, **look})
        engine_cache: Any = NoEngines()
        call = ToolCall("cutout-look", settings, files)
        drawn.append(pixels(run_call.perform(call, engine_cache, lambda *_: None)))
    blurred, plain = drawn
    assert blurred.shape[2] == 4
    assert np.array_equal(blurred, plain)
    assert blurred[0, 0, 3] == 0


OUTLINED = {"outline_width": "20", "outline_color": "#ff0000", "bg_color": "#0000ff"}


def cut_by_the_border(look: Mapping[str, str]) -> Pixels:
    """A green object that the left and lower borders of a photo of 300 x 200 pixels cut off, in a look."""
    colors = np.full((200, 300, 3), (0, 255, 0), np.uint8)
    alpha = np.zeros((200, 300), np.uint8)
    alpha[60:, :180] = 255
    files = {"image": png_bytes(colors), "cutout": png_bytes(np.dstack([colors, alpha]))}
    settings = BgRemovalParams.model_validate({"format": "png", **look})
    engine_cache: Any = NoEngines()
    return pixels(run_call.perform(ToolCall("cutout-look", settings, files), engine_cache, lambda *_: None))


@pytest.mark.parametrize(
    ("frame", "subject", "width"),
    [
        # The object with its outline, 220 x 180, fills 80 % of the square.
        ({"preset": "square", "bg_color": "#0000ff"}, (187, 265, 707, 550), 77),
        ({"crop": "true"}, (20, 20, 180, 140), 20),
        ({"crop": "true", "crop_margin": "10"}, (30, 30, 180, 140), 20),
        ({"output_size": "400x200"}, (50, 60, 180, 140), 20),
        ({"subject_scale": "50"}, (45, 95, 90, 70), 10),
        ({"subject_x": "60", "subject_y": "-40"}, (60, 20, 180, 140), 20),
        ({}, (0, 60, 180, 140), 20),
    ],
    ids=str,
)
def test_an_outline_is_all_around_an_object_that_the_photos_border_cuts_off(
    frame: Mapping[str, str], subject: tuple[int, int, int, int], width: int
) -> None:
    shown = cut_by_the_border({**OUTLINED, **frame}).astype(int)
    left, top, across, down = subject
    rows, columns = np.mgrid[: shown.shape[0], : shown.shape[1]]
    beside = np.hypot(
        np.maximum(np.maximum(left - columns, columns - (left + across - 1)), 0),
        np.maximum(np.maximum(top - rows, rows - (top + down - 1)), 0),
    )
    soft = max(2, width // 8)  # edges are, even more so when they are enlarged
    inside = np.zeros(shown.shape[:2], bool)
    inside[top + soft : top + down - soft, left + soft : left + across - soft] = True
    for part, color in (
        (inside, (0, 255, 0)),
        ((beside > soft) & (beside < width - 2), (255, 0, 0)),
        (beside > width + 2, (0, 0, 255)),
    ):
        assert (np.abs(shown[part] - color) <= 2).all(), color


def test_the_outline_of_a_subject_that_is_moved_beyond_the_canvas_keeps_its_width() -> None:
    slanted = {**OUTLINED, "subject_rotate": "45"}
    whole = cut_by_the_border({**slanted, "subject_x": "60"}).astype(int)
    cut = cut_by_the_border({**slanted, "subject_x": "-40"}).astype(int)
    assert np.abs(cut[:, :200] - whole[:, 100:]).max() <= 2
