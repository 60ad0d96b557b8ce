"""Chooses the parts of an inpainting pipeline (number type, LoRA, VAE, scheduler), estimates its memory."""

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml import device as devices
from ml.checkpoints import registry
from ml.device import Device
from ml.engines.pipeline_folder import PipelineFolder
from ml.errors import ModelUnavailable
from ml.generative_config import AUTO, COMMAND, NONE, GenerativeConfig

#: Names in the registry, for Stable Diffusion 1.x.
LORA, TINY_VAE = "lcm-lora-sd15", "taesd"

# Text embedding width and first layer width of an SD 1.x UNet.
_SD1_WIDTHS = (768, 320)
_GUIDANCE = {f"StableDiffusion{kind}Pipeline": 7.5 for kind in ("", "Inpaint", "XL", "XLInpaint")}
_FEW_STEP_SCHEDULERS = ("LCMScheduler", "TCDScheduler")
# Memory of torch and related libraries, and of activations at 512 x 512.
_LIBRARY_BYTES = 500_000_000
_WORK_BYTES_AT_512 = 1_000_000_000
_HEADER_BYTES_MAX = 50_000_000


@dataclass(frozen=True)
class Parts:
    """Additions to the folder's own components, and how the pipeline is used."""

    lora: Path | None
    tiny_vae: Path | None
    scheduler: str  # own, lcm or turbo
    is_few_step: bool
    guidance: float | None  # None: the pipeline's default
    numbers: str  # bfloat16, float16 or float32
    side_pixels: int  # of the training resolution
    with_checker: bool

    @property
    def steps(self) -> int:
        return 4 if self.is_few_step else 25


def choose(folder: PipelineFolder, config: GenerativeConfig, models_dir: Path, device: Device) -> Parts:
    """Choose the parts. Raises `ModelUnavailable` for a configured part that is missing."""
    is_sd1 = _is_sd1(folder)
    suits = is_sd1 and device == "cpu"  # on which 25 guided steps would take minutes
    own_scheduler = _scheduler_class(folder)
    wants_own = config.inpaint_scheduler in ("own", "turbo") or own_scheduler in _FEW_STEP_SCHEDULERS
    lora = _file(config.inpaint_lora, LORA, suits and not wants_own, models_dir)
    scheduler = config.inpaint_scheduler
    if scheduler == AUTO:
        scheduler = "lcm" if lora is not None else "own"
    if config.inpaint_safety_checker and "safety_checker" not in folder.components:
        raise ModelUnavailable(folder.name, COMMAND, "has no safety checker, although it is enabled")
    is_few_step = scheduler in ("lcm", "turbo") or own_scheduler in _FEW_STEP_SCHEDULERS
    return Parts(
        lora=lora,
        tiny_vae=_file(config.inpaint_tiny_vae, TINY_VAE, suits, models_dir),
        scheduler=scheduler,
        is_few_step=is_few_step,
        guidance=1.0 if is_few_step else _GUIDANCE.get(folder.pipeline),
        numbers=number_type(device),
        side_pixels=_side_pixels(folder),
        with_checker=config.inpaint_safety_checker,
    )


def number_type(device: Device) -> str:
    """The name of torch's dtype to compute with."""
    if device != "cpu":
        return "float16"
    return "bfloat16" if devices.has_fast_bf16() else "float32"


def memory_bytes(folder: PipelineFolder, parts: Parts) -> int:
    """Approximate memory of the pipeline while it runs at its native size."""
    skipped = set() if parts.with_checker else {"safety_checker"}
    if parts.tiny_vae is not None:
        skipped.add("vae")
    numbers = sum(_count(path) for path in folder.weights() if path.parent.name not in skipped)
    width_bytes = 4 if parts.numbers == "float32" else 2
    work_bytes = _WORK_BYTES_AT_512 * width_bytes / 2 * (parts.side_pixels / 512) ** 2
    return _LIBRARY_BYTES + numbers * width_bytes + int(work_bytes)


def _count(weights: Path) -> int:
    """The number of weights in a safetensors file, from its header."""
    with weights.open("rb") as file:
        (header_bytes,) = struct.unpack("<Q", file.read(8))
        if header_bytes > _HEADER_BYTES_MAX:
            raise ModelUnavailable(weights.parent.name, COMMAND, f"is damaged ({weights.name})")
        header: dict[str, Any] = json.loads(file.read(header_bytes))
    return sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")


def _file(wanted: str, from_table: str, suits: bool, models_dir: Path) -> Path | None:
    if wanted == NONE or (wanted == AUTO and not suits):
        return None
    if wanted == AUTO:
        is_installed = registry.installed(models_dir, from_table)
        return registry.path(models_dir, from_table) if is_installed else None
    if wanted == from_table:
        return registry.path(models_dir, from_table)
    path = Path(wanted)
    if path.is_file() and path.suffix != ".safetensors":
        raise ModelUnavailable(path.name, COMMAND, "is not a .safetensors file, the only supported format")
    if not path.exists():
        raise ModelUnavailable(path.name, COMMAND, "does not exist")
    return path


def _is_sd1(folder: PipelineFolder) -> bool:
    unet = _config(folder, "unet")
    widths = (unet.get("cross_attention_dim"), (unet.get("block_out_channels") or [None])[0])
    return widths == _SD1_WIDTHS


def _scheduler_class(folder: PipelineFolder) -> str:
    try:
        text = (folder.path / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8")
        return str(json.loads(text)["_class_name"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _side_pixels(folder: PipelineFolder) -> int:
    """The side of its training pictures: 512 for SD 1.x, 1024 for SDXL and newer ones."""
    for key in ("unet", "transformer"):
        sample = _config(folder, key).get("sample_size")
        blocks = _config(folder, "vae").get("block_out_channels")
        if isinstance(sample, int) and isinstance(blocks, list):
            return int(sample * 2 ** (len(blocks) - 1))
    return 1024


def _config(folder: PipelineFolder, component: str) -> dict[str, Any]:
    try:
        content = json.loads((folder.path / component / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
