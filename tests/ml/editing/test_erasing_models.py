"""The model of fill, expand and heal: named, the best installed, missing, and unusable for a picture."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from ml import catalogue
from ml.device import Device
from ml.editing import engine_selection
from ml.engines.cache import EngineCache
from ml.errors import ModelUnavailable
from ml.generative_config import GenerativeConfig
from ml.pixels import Mask, Picture, Pixels
from ml.tool import ToolResult
from tests.support.ml import photos, tiny_erasers
from tests.support.ml.contexts import Calm, NoEngines
from tests.support.ml.fill_figures import disc

PHOTO = photos.photo("coffee")[100:340, 200:560]
TOOLS = ("generative-fill", "generative-expand", "brush")
CPU: Device = "cpu"


def form(tool: str, **more: str) -> dict[str, str]:
    own = {"generative-fill": {}, "generative-expand": {"left": "60"}, "brush": {"op": "heal"}}
    return {**own[tool], **more}


def outcome(
    engines: Any, tool: str, pixels: Pixels = PHOTO, mask: Mask | None = None, **more: str
) -> ToolResult:
    if mask is None:
        mask = np.where(disc(pixels, 120, 180, 25), np.uint8(255), np.uint8(0))
    files = {} if tool == "generative-expand" else {"mask": photos.png_bytes(mask)}
    found = catalogue.TOOLS[tool]
    params = found.params.model_validate(form(tool, **more))
    return found.run(Picture(pixels, "png"), params, Calm(files, engines))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """By name: directories with both networks, with MI-GAN only, with none."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        place = tmp_path_factory.mktemp("models")
        tiny_erasers.install(place / "both", monkeypatch, "lama", "migan")
        (place / "migan").mkdir()
        file = place / "both" / "migan_pipeline_v2.onnx"
        (place / "migan" / file.name).write_bytes(file.read_bytes())
        (place / "none").mkdir()
        yield {name: place / name for name in ("both", "migan", "none")}


@pytest.fixture(scope="module")
def engines(models: dict[str, Path]) -> dict[str, EngineCache]:
    return {
        name: EngineCache(folder, folder / "cache", "cpu", 4 << 30, threads=2)
        for name, folder in models.items()
    }


@pytest.mark.parametrize("tool", TOOLS)
class TestChoice:
    @pytest.mark.parametrize(
        ("installed", "model", "used"),
        [
            ("both", "auto", "lama"),
            ("migan", "auto", "migan"),
            ("none", "auto", "patchmatch"),
            ("both", "migan", "migan"),
            ("both", "patchmatch", "patchmatch"),
        ],
    )
    def test_auto_takes_the_best_installed_and_a_name_that_one(
        self, tool: str, installed: str, model: str, used: str, engines: dict[str, EngineCache]
    ) -> None:
        answer = outcome(engines[installed], tool, model=model)
        assert (answer.model, answer.device, answer.warnings) == (used, "cpu", [])

    @pytest.mark.parametrize("name", ["migan", "lama"])
    def test_a_named_one_that_is_not_installed_is_refused_before_any_work(
        self, tool: str, name: str, engines: dict[str, EngineCache]
    ) -> None:
        context = Calm({}, engines["none"])
        params = catalogue.TOOLS[tool].params.model_validate(form(tool, model=name))
        with pytest.raises(ModelUnavailable) as refused:
            catalogue.TOOLS[tool].run(Picture(PHOTO, "png"), params, context)
        assert refused.value.command == f"bgeraser models pull {name}"
        assert context.fractions == []

    def test_other_names_are_refused_by_parameter(self, tool: str) -> None:
        with pytest.raises(ValidationError) as refused:
            catalogue.TOOLS[tool].params.model_validate(form(tool, model="dalle"))
        assert refused.value.errors()[0]["loc"] == ("model",)

    def test_the_catalogue_lists_what_is_installed_best_first(
        self, tool: str, models: dict[str, Path], tmp_path: Path
    ) -> None:
        found = {
            name: engine_selection.select(
                catalogue.TOOLS[tool], GenerativeConfig(), folder, tmp_path, CPU
            ).installed
            for name, folder in models.items()
        }
        assert found == {
            "both": ("lama", "migan", "patchmatch"),
            "migan": ("migan", "patchmatch"),
            "none": ("patchmatch",),
        }

    def test_the_network_and_patchmatch_differ_and_each_repeats_itself(
        self, tool: str, engines: dict[str, EngineCache]
    ) -> None:
        one, same, other = (
            outcome(engines["both"], tool, model=model).pixels for model in ("lama", "lama", "patchmatch")
        )
        assert np.array_equal(one, same)
        assert not np.array_equal(one, other)


class TestWithoutEffect:
    @pytest.mark.parametrize("tool", ["generative-fill", "generative-expand"])
    def test_a_model_with_a_prompt_is_refused(self, tool: str) -> None:
        with pytest.raises(ValidationError) as refused:
            catalogue.TOOLS[tool].params.model_validate(form(tool, model="lama", prompt="a cat"))
        assert refused.value.errors()[0]["ctx"]["param"] == "model"

    @pytest.mark.parametrize("op", ["erase", "blur"])
    def test_a_model_without_heal_is_refused(self, op: str) -> None:
        with pytest.raises(ValidationError) as refused:
            catalogue.TOOLS["brush"].params.model_validate({"op": op, "model": "lama"})
        assert refused.value.errors()[0]["ctx"]["param"] == "model"


class TestPixels:
    def test_pixels_beyond_grow_and_feather_are_unchanged(self, engines: dict[str, EngineCache]) -> None:
        hole = disc(PHOTO, 120, 180, 25)
        answer = outcome(engines["both"], "generative-fill").pixels
        assert np.array_equal(answer[~disc(PHOTO, 120, 180, 25 + 13 + 1)], PHOTO[~disc(PHOTO, 120, 180, 39)])
        assert not np.array_equal(answer[hole], PHOTO[hole])

    def test_transparency_is_kept_and_hidden_colours_are_not_shown(
        self, engines: dict[str, EngineCache]
    ) -> None:
        alpha = np.full(PHOTO.shape[:2], 255, np.uint8)
        alpha[:, 200:] = 0
        answers = []
        for hidden in ((0, 255, 0), (255, 0, 255)):
            pixels = np.dstack([PHOTO, alpha])
            pixels[:, 200:, :3] = hidden
            answer = outcome(engines["both"], "generative-fill", pixels).pixels
            assert np.array_equal(answer[..., 3], alpha)
            answers.append(answer[disc(PHOTO, 120, 180, 25) & (alpha > 0)])
        assert np.array_equal(answers[0], answers[1])

    @pytest.mark.parametrize("tool", TOOLS)
    def test_grey_pictures_stay_grey(self, tool: str, engines: dict[str, EngineCache]) -> None:
        grey = PHOTO[..., :1].repeat(3, axis=2)
        answer = outcome(engines["both"], tool, grey).pixels
        assert (np.ptp(answer, axis=2) == 0).all()

    def test_expanding_keeps_the_image_and_its_size(self, engines: dict[str, EngineCache]) -> None:
        answer = outcome(engines["both"], "generative-expand", left="0", right="1500", overlap="0")
        assert answer.pixels.shape == (240, 1860, 3)
        assert np.array_equal(answer.pixels[:, :360], PHOTO)

    def test_where_the_network_has_no_context_patchmatch_fills_and_says_so(
        self, engines: dict[str, EngineCache]
    ) -> None:
        mask = np.full(PHOTO.shape[:2], 255, np.uint8)
        mask[0, :60] = 0
        nearly_invisible = np.dstack([PHOTO, 255 - mask])
        answer = outcome(
            engines["both"], "generative-fill", nearly_invisible, mask, grow_mask="0", feather="0"
        )
        assert answer.model == "patchmatch"
        assert answer.warnings == [
            "The area was filled by patchmatch instead of lama: too little of the image is known around the"
            " area."
        ]

    def test_an_unstable_network_is_replaced_by_patchmatch(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tiny_erasers.install(tmp_path, monkeypatch, "lama", gain=float("nan"))
        unstable = EngineCache(tmp_path, tmp_path / "cache", "cpu", 4 << 30, threads=2)
        answer = outcome(unstable, "generative-fill")
        usual = outcome(unstable, "generative-fill", model="patchmatch")
        assert "its result was not usable" in answer.warnings[0]
        assert np.array_equal(answer.pixels, usual.pixels)


class TestThinMasks:
    """The default margins follow the thickness of the mask; given ones are taken as they are."""

    @staticmethod
    def changed_columns(thickness: int, **more: str) -> int:
        pixels = photos.photo("gravel")[:200, :300]
        mask = np.zeros((200, 300), np.uint8)
        mask[20:180, 150 : 150 + thickness] = 255
        answer = outcome(NoEngines(), "generative-fill", pixels, mask, **more).pixels
        return int(np.ptp(np.flatnonzero((answer != pixels).any(axis=(0, 2))))) + 1

    def test_a_scratch_of_one_pixel_changes_a_few_columns(self) -> None:
        assert self.changed_columns(1) <= 5

    def test_given_margins_are_kept(self) -> None:
        assert self.changed_columns(1, grow_mask="5", feather="8") > 15

    def test_an_object_has_the_usual_margins(self) -> None:
        assert self.changed_columns(30) > 45
