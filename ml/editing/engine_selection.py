"""Determines which engines of a tool are usable, without loading them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ml.checkpoints import registry
from ml.checkpoints.registry import Profile
from ml.device import Device
from ml.editing import erasing_models
from ml.editing.text_prompts import PromptParams
from ml.engines import diffusion_parts, pipeline_folder, torch_runtime
from ml.engines.network_facts import ERASING_FACTS, OWN_SAM, PATCHMATCH
from ml.errors import ModelUnavailable
from ml.generative_config import DEFAULT_INPAINTING, FULL_STRENGTH, LIBRARIES, GenerativeConfig
from ml.tool import Tool

_MAGIC_SELECT = "magic-select"


@dataclass(frozen=True)
class EngineSelection:
    """`missing` are messages about configured engines that are unusable; `defaults` are of parameters."""

    installed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    defaults: dict[str, Any] = field(default_factory=dict)


def of_all(
    tools: Mapping[str, Tool], config: GenerativeConfig, models_dir: Path, cache_dir: Path, device: Device
) -> dict[str, EngineSelection]:
    """The engines of each of the `tools`, required and optional. Reads files only."""
    return {
        name: _with_checkpoints(tool, models_dir, select(tool, config, models_dir, cache_dir, device))
        for name, tool in tools.items()
    }


def _with_checkpoints(tool: Tool, models_dir: Path, optional: EngineSelection) -> EngineSelection:
    """Add the installed checkpoints of a tool, and messages about required ones that are missing."""
    installed, missing = [], []
    for name in tool.checkpoints:
        if registry.installed(models_dir, name):
            installed.append(name)
        elif registry.CHECKPOINTS[name].profile is Profile.EMBEDDED:
            # Missing optional checkpoints are not a problem to report.
            missing.append(str(ModelUnavailable(name, registry.CHECKPOINTS[name].command)))
    return EngineSelection(
        (*installed, *optional.installed), (*missing, *optional.missing), optional.defaults
    )


def select(
    tool: Tool, config: GenerativeConfig, models_dir: Path, cache_dir: Path, device: Device
) -> EngineSelection:
    """The optional engines of `tool`. Reads files only."""
    if tool.name == _MAGIC_SELECT and config.sam_checkpoint is not None:
        if config.sam_checkpoint.is_file():
            return EngineSelection(installed=(OWN_SAM,))
        setting = config.setting_names.sam_checkpoint
        return EngineSelection(missing=(f"{OWN_SAM} is not installed: {setting} does not name a file.",))
    erasers: tuple[str, ...] = ()
    if erasing_models.uses_model(tool.params):
        erasers = (*(name for name in ERASING_FACTS if registry.installed(models_dir, name)), PATCHMATCH)
    if not issubclass(tool.params, PromptParams):
        return EngineSelection(installed=erasers)
    try:
        folder = pipeline_folder.find(config, models_dir, cache_dir)
        torch_runtime.check_installed(*LIBRARIES)
        parts = diffusion_parts.choose(folder, config, models_dir, device)
    except ModelUnavailable as error:
        # A missing default checkpoint is not a problem to report: the tool works without a prompt.
        return EngineSelection(
            installed=erasers,
            missing=() if config.inpaint_checkpoint == DEFAULT_INPAINTING else (str(error),),
        )
    defaults: dict[str, Any] = {"steps": config.inpaint_steps or parts.steps}
    guidance = parts.guidance if config.inpaint_guidance is None else config.inpaint_guidance
    if guidance is not None:
        defaults["guidance_scale"] = guidance
    if "strength" in tool.params.model_fields:
        defaults["strength"] = FULL_STRENGTH
    return EngineSelection(installed=(*erasers, folder.name), defaults=defaults)
