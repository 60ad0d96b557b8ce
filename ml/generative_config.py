"""What the operator chose for the engines that are installed by choice: diffusion and Segment Anything.

Plain values, light enough for the server's process; `api.settings` fills them in.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Scheduler = Literal["auto", "own", "lcm", "turbo"]

#: The inpainting checkpoint that is used where none is chosen, a name in `ml.checkpoints`.
DEFAULT_INPAINTING = "stable-diffusion-inpainting"
#: What installs a checkpoint that follows words.
COMMAND = "bgeraser models pull --profile generative"
#: What must be installed to follow words, besides torch and a checkpoint.
LIBRARIES = ("diffusers", "transformers", "accelerate")
#: How far words may change what was there, where a call does not say.
FULL_STRENGTH = 1.0
#: In place of a checkpoint: whatever suits, or nothing.
AUTO, NONE = "auto", "none"


@dataclass(frozen=True)
class SettingNames:
    """What the operator knows these settings as; messages refer to them by these names."""

    sam_checkpoint: str = "sam_checkpoint"
    allow_noncommercial: str = "allow_noncommercial"
    worker_memory: str = "memory_limit_bytes"


@dataclass(frozen=True)
class GenerativeConfig:
    """`inpaint_checkpoint` is a name in `ml.checkpoints`, a directory, or a hub id (owner/name).

    `inpaint_lora` and `inpaint_tiny_vae` are `auto` (the table's own where they suit and are installed),
    `none`, or a .safetensors file; the tiny VAE may also be a directory. The rest, where None, is as the
    checkpoint and its scheduler want it.
    """

    inpaint_checkpoint: str = DEFAULT_INPAINTING
    inpaint_lora: str = AUTO
    inpaint_scheduler: Scheduler = "auto"
    inpaint_steps: int | None = None
    inpaint_guidance: float | None = None
    inpaint_tiny_vae: str = AUTO
    inpaint_safety_checker: bool = False
    allow_noncommercial: bool = False
    sam_checkpoint: Path | None = None  # a Segment Anything .pth of the operator's own
    setting_names: SettingNames = field(default_factory=SettingNames)
