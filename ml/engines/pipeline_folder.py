"""Finds the folder of the configured inpainting checkpoint and inspects it before any library opens it.

A folder in diffusers' layout can reference Python files that loading would run, and pickled weights can
execute code. Both are rejected: only classes of diffusers and transformers and only safetensors are loaded.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml.checkpoints import licences, registry
from ml.checkpoints.registry import CHECKPOINTS
from ml.checkpoints.types import PIPELINE_INDEX, repository_dir
from ml.engines import sd_inpainting_config
from ml.errors import ModelUnavailable
from ml.generative_config import COMMAND, DEFAULT_INPAINTING, GenerativeConfig

# The last is the module of diffusers' safety checker.
_LIBRARIES = {"diffusers", "transformers", "stable_diffusion"}
_PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")


@dataclass(frozen=True)
class PipelineFolder:
    name: str  # for responses and messages; never a path
    path: Path
    variant: str | None  # infix of weight file names: "fp16"
    components: frozenset[str]  # that exist, e.g. unet, vae
    pipeline: str  # the class that saved it

    def weights(self) -> list[Path]:
        """Its weight files, sorted by component."""
        found = [path for path in self.path.glob("*/*.safetensors") if path.parent.name in self.components]
        return sorted(path for path in found if (path.name.count(".") > 1) == (self.variant is not None))


def find(config: GenerativeConfig, models_dir: Path, cache_dir: Path) -> PipelineFolder:
    """Find the configured pipeline. Raises `ModelUnavailable` if it is missing, unsafe or not licensed."""
    checkpoint = config.inpaint_checkpoint
    if checkpoint in CHECKPOINTS:
        return _from_registry(checkpoint, models_dir, cache_dir)
    as_path = Path(checkpoint)
    name = as_path.name if as_path.is_absolute() or as_path.exists() else checkpoint
    folder = as_path if as_path.exists() else _find_hub_repository(checkpoint, models_dir)
    if folder is None:
        command = f"bgeraser models pull {checkpoint}" if checkpoint.count("/") == 1 else COMMAND
        raise ModelUnavailable(name, command)
    pipeline_folder = inspect_folder(folder, name)
    licence = licences.read_licence(folder)
    if licence and licences.forbids_commercial_use(licence) and not config.allow_noncommercial:
        setting = config.setting_names.allow_noncommercial
        problem = f"has a licence that forbids commercial use ({licence}): {setting} is not set"
        raise ModelUnavailable(name, COMMAND, problem)
    return pipeline_folder


def inspect_folder(folder: Path, name: str) -> PipelineFolder:
    """The pipeline in `folder`. Raises `ModelUnavailable` if it is invalid or loading it could run code."""

    def refuse(problem: str) -> ModelUnavailable:
        return ModelUnavailable(name, COMMAND, problem)

    if not folder.is_dir():
        kind = "a pickle, which is never loaded" if folder.suffix in _PICKLES else "not a directory"
        raise refuse(f"is {kind}: a directory in diffusers' layout with safetensors is required")
    try:
        index: dict[str, Any] = json.loads((folder / PIPELINE_INDEX).read_text(encoding="utf-8"))
        pipeline = index["_class_name"]
    except (OSError, ValueError, KeyError, TypeError):
        raise refuse(f"has no {PIPELINE_INDEX} that is readable") from None
    named = {
        key: value for key, value in index.items() if isinstance(value, list) and not key.startswith("_")
    }
    parts = {key: value for key, value in named.items() if value and value[0] is not None}
    has_code = any(folder.rglob("*.py")) or not isinstance(pipeline, str)
    if has_code or any(value[0] not in _LIBRARIES for value in parts.values()):
        raise refuse("contains code, which is never run")
    files = [path for key in parts for path in (folder / key).glob("*") if path.is_file()]
    for key in parts:
        own = [path for path in files if path.parent.name == key]
        pickles = [path.name for path in own if path.suffix in _PICKLES]
        if pickles and not any(path.suffix == ".safetensors" for path in own):
            raise refuse(f"has pickled weights ({key}/{pickles[0]}); only safetensors are loaded")
    weights = [path for path in files if path.suffix == ".safetensors"]
    if not weights:
        raise refuse("has no safetensors")
    has_plain = any(
        path.name.count(".") == 1 for path in weights if path.parent.name in ("unet", "transformer")
    )
    return PipelineFolder(name, folder, None if has_plain else "fp16", frozenset(parts), pipeline)


def _from_registry(name: str, models_dir: Path, cache_dir: Path) -> PipelineFolder:
    if name != DEFAULT_INPAINTING:
        raise ModelUnavailable(name, COMMAND, "is not an inpainting checkpoint")
    if not registry.installed(models_dir, name):  # all of its files, verified
        raise ModelUnavailable(name, COMMAND)
    folder = cache_dir / "pipelines" / name
    for place, file_name in sd_inpainting_config.FILES.items():
        _link(folder / place, models_dir / file_name)
    for place, content in sd_inpainting_config.CONFIGURATION.items():
        _write(folder / place, json.dumps(content, indent=1))
    return inspect_folder(folder, name)


def _link(place: Path, target: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_symlink() and place.resolve() == target.resolve():
        return
    # Several workers may do this at once; their links are identical.
    temporary = place.with_name(f".{place.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target.resolve())
    temporary.replace(place)


def _write(place: Path, text: str) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.exists() and place.read_text(encoding="utf-8") == text:
        return
    temporary = place.with_name(f".{place.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(place)


def _find_hub_repository(repository: str, models_dir: Path) -> Path | None:
    """A pulled repository, or one in the Hugging Face cache; nothing is downloaded."""
    pulled = repository_dir(models_dir, repository)
    if (pulled / PIPELINE_INDEX).is_file():
        return pulled
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub") / f"models--{pulled.name}"
    try:
        revision = (cache / "refs" / "main").read_text().strip()
    except OSError:
        return None
    snapshot = cache / "snapshots" / revision
    return snapshot if (snapshot / PIPELINE_INDEX).is_file() else None
