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
