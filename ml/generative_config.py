"""Configuration of the optional engines, diffusion and Segment Anything, as plain values."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Scheduler = Literal["auto", "own", "lcm", "turbo"]

#: The default inpainting checkpoint, a name in `ml.checkpoints.registry`.
DEFAULT_INPAINTING = "stable-diffusion-inpainting"
#: Installs the default inpainting checkpoint.
COMMAND = "bgeraser models pull --profile generative"
#: Libraries that inpainting needs besides torch.
LIBRARIES = ("diffusers", "transformers", "accelerate")
#: Default denoising strength.
FULL_STRENGTH = 1.0
#: Instead of a checkpoint: choose automatically, or use none.
AUTO, NONE = "auto", "none"


@dataclass(frozen=True)
class SettingNames:
    """What the operator knows these settings as; messages refer to them by these names."""

    sam_checkpoint: str = "sam_checkpoint"
    allow_noncommercial: str = "allow_noncommercial"
    worker_memory: str = "memory_limit_bytes"


@dataclass(frozen=True)
class GenerativeConfig:
    """`inpaint_checkpoint` is a name in the registry, a directory, or a hub id (owner/name).

    `inpaint_lora` and `inpaint_tiny_vae` are `auto` (those of the registry if compatible and installed),
    `none`, or a .safetensors file; the tiny VAE may also be a directory. Other values default to those of
    the checkpoint and its scheduler.
    """

    inpaint_checkpoint: str = DEFAULT_INPAINTING
    inpaint_lora: str = AUTO
    inpaint_scheduler: Scheduler = "auto"
    inpaint_steps: int | None = None
    inpaint_guidance: float | None = None
    inpaint_tiny_vae: str = AUTO
    inpaint_safety_checker: bool = False
    allow_noncommercial: bool = False
    sam_checkpoint: Path | None = None  # a custom Segment Anything .pth
    setting_names: SettingNames = field(default_factory=SettingNames)
