"""Inpainting by prompt_options: any checkpoint that diffusers' auto pipeline knows; imported when first used.

One `Inpainter` holds one pipeline. It sees pictures of about its own native size only: what is cut out of a
larger one and how it goes back is `ml.editing.repainting`'s work.
"""

import inspect
import logging
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ml.device import Device
from ml.engines import diffusion_parts, torch_runtime
from ml.engines.diffusion_parts import Parts
from ml.engines.pipeline_folder import PipelineFolder
from ml.engines.torch_runtime import silence_libraries, translate_memory_errors
from ml.errors import BadParameter, ModelUnavailable
from ml.generative_config import COMMAND, FULL_STRENGTH, LIBRARIES, GenerativeConfig
from ml.pixels import Mask, Pixels

log = logging.getLogger(__name__)

# Guidance for a few-step checkpoint that is told what to keep out: without any it would not listen.
_MIN_GUIDANCE_AGAINST = 1.5
# The pipelines that have a safety checker among their parts, and load one unless told not to.
_MAY_CHECK = ("StableDiffusionInpaintPipeline", "StableDiffusionPipeline")

Step = Callable[[float], None]


@dataclass(frozen=True)
class PromptOptions:
    """What to paint and how; None: as the checkpoint wants it."""

    prompt: str
    negative_prompt: str = ""
    seed: int = 0
    steps: int | None = None
    guidance_scale: float | None = None
    strength: float | None = None  # over 0..1


class Inpainter:
    """Raises `ModelUnavailable` if the libraries are missing or the folder holds no pipeline that fits."""

    def __init__(
        self, folder: PipelineFolder, parts: Parts, config: GenerativeConfig, device: Device, threads: int
    ) -> None:
        torch_runtime.check_installed(*LIBRARIES)
        # Loading is from folders only, and says so; this is for what the libraries ask on their own.
        os.environ["HF_HUB_OFFLINE"] = "1"
        self._torch = torch_runtime.import_torch(threads)
        self.checkpoint = folder.name
        self.device = torch_runtime.usable_device(self._torch, device)
        self._parts = parts
        self._pipeline = _loaded(self._torch, folder, parts, self.device)
        self._accepted = inspect.signature(self._pipeline.__call__).parameters
        self._guidance = config.inpaint_guidance
        self._steps = config.inpaint_steps or parts.steps

    @property
    def side_pixels(self) -> int:
        """The side of the square it was trained on: other sizes of about that area do as well."""
        return self._parts.side_pixels

    @property
    def multiple(self) -> int:
        """Sides are multiples of this."""
        scale = int(self._pipeline.vae_scale_factor)
        unet = getattr(self._pipeline, "unet", None)
        levels = len(unet.config.block_out_channels) if unet is not None else 2
        return int(scale * 2 ** (levels - 1))

    @property
    def default_guidance(self) -> float:
        if self._guidance is not None:
            return self._guidance
        if self._parts.guidance is not None:
            return self._parts.guidance
        own = self._accepted.get("guidance_scale")
        return 1.0 if own is None else float(own.default)

    def repaint(self, picture: Pixels, mask: Mask, prompt_options: PromptOptions, step: Step) -> Pixels:
        """`picture` (H x W x 3) with what `prompt_options` say where `mask` (H x W) is 255; all of it painted anew.

        Height and width are multiples of `multiple`. The same words on the same machine make the same
        pixels. `step` is told the fraction done, 0..1, after each denoising step, and may raise. Raises
        `BadParameter` for words that this checkpoint cannot follow, `OutOfMemory`.
        """
        options = self._options(prompt_options)
        height, width = mask.shape

        def on_step(pipeline: Any, number: int, _timestep: Any, _tensors: Any) -> dict[str, Any]:
            step((number + 1) / max(1, pipeline.num_timesteps))
            return {}

        if "callback_on_step_end" in self._accepted:
            options["callback_on_step_end"] = on_step
        step(0.0)
        try:
            with silence_libraries(), translate_memory_errors(), self._torch.inference_mode():
                made = self._pipeline(
                    image=Image.fromarray(picture),
                    mask_image=Image.fromarray(mask),
                    height=height,
                    width=width,
                    # On the processor everywhere: other devices have other random numbers.
                    generator=self._torch.Generator("cpu").manual_seed(prompt_options.seed),
                    output_type="np",
                    **options,
                )
        finally:
            self._pipeline.maybe_free_model_hooks()
        if any(getattr(made, "nsfw_content_detected", None) or ()):
            raise BadParameter(
                "prompt", "prompt: the safety checker objects to what it would make; nothing is answered"
            )
        values = np.nan_to_num(np.asarray(made.images[0], np.float32))
        answer: Pixels = np.clip(np.rint(values * 255), 0, 255).astype(np.uint8)
        return answer

    def truncated(self, prompt: str) -> bool:
        """Whether the checkpoint reads only the beginning of so long a prompt."""
        tokenizer = getattr(self._pipeline, "tokenizer", None)
        if tokenizer is None:
            return False
        with silence_libraries():
            return len(tokenizer(prompt).input_ids) > int(tokenizer.model_max_length)

    def _options(self, prompt_options: PromptOptions) -> dict[str, Any]:
        """The pipeline's arguments for `prompt_options`."""
        strength = FULL_STRENGTH if prompt_options.strength is None else prompt_options.strength
        # Of so many steps the pipeline takes only the share `strength`, and it needs at least one.
        steps = max(prompt_options.steps or self._steps, math.ceil(1 / strength))
        guidance = (
            self.default_guidance if prompt_options.guidance_scale is None else prompt_options.guidance_scale
        )
        if prompt_options.negative_prompt.strip():
            if "negative_prompt" not in self._accepted:
                raise BadParameter("negative_prompt", f"negative_prompt: {self.checkpoint} knows none")
            if guidance <= 1 and prompt_options.guidance_scale is not None:
                raise BadParameter("negative_prompt", "negative_prompt needs a guidance_scale above 1")
            guidance = max(guidance, _MIN_GUIDANCE_AGAINST)
        options: dict[str, Any] = {
            "prompt": prompt_options.prompt,
            "negative_prompt": prompt_options.negative_prompt or None,
            "num_inference_steps": steps,
            "guidance_scale": guidance,
            "strength": strength,
        }
        return {name: value for name, value in options.items() if name in self._accepted}


def _loaded(torch: Any, folder: PipelineFolder, parts: Parts, device: Device) -> Any:
    """The pipeline with its parts, on its device. Nothing is downloaded, no code of the folder is run."""
    import diffusers
    import transformers

    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    dtype = getattr(torch, parts.numbers)
    without: dict[str, Any] = {}
    if not parts.with_checker and folder.pipeline in _MAY_CHECK:
        without = {"safety_checker": None, "requires_safety_checker": False}
    try:
        with silence_libraries(), translate_memory_errors():
            if parts.tiny_vae is not None:
                without["vae"] = _tiny_vae(diffusers, parts.tiny_vae, dtype)
            pipeline = diffusers.AutoPipelineForInpainting.from_pretrained(
                str(folder.path),
                dtype=dtype,
                variant=folder.variant,
                use_safetensors=True,
                local_files_only=True,
                **without,
            )
            if parts.lora is not None:
                _fuse(pipeline, parts.lora)
            _set_scheduler(diffusers, pipeline, parts.scheduler)
            _place(torch, pipeline, folder, parts, device)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        log.exception("%s cannot be loaded", folder.name)
        problem = (
            f"cannot be loaded as an inpainting pipeline ({type(error).__name__}; the server's log says more)"
        )
        raise ModelUnavailable(folder.name, COMMAND, problem) from None
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _tiny_vae(diffusers: Any, place: Path, dtype: Any) -> Any:
    """A quick autoencoder from a folder, or from the bare weights of one of TAESD's shape."""
    if place.is_dir():
        return diffusers.AutoencoderTiny.from_pretrained(
            str(place), dtype=dtype, use_safetensors=True, local_files_only=True
        )
    import safetensors.torch

    vae = diffusers.AutoencoderTiny()
    vae.load_state_dict(safetensors.torch.load_file(place))
    return vae.to(dtype)


def _fuse(pipeline: Any, lora: Path) -> None:
    """Add a LoRA to the weights for good: as quick as without, and no second set of weights stays."""
    import safetensors.torch

    torch_runtime.check_installed("peft")
    pipeline.load_lora_weights(safetensors.torch.load_file(lora))
    pipeline.fuse_lora()
    pipeline.unload_lora_weights()


def _set_scheduler(diffusers: Any, pipeline: Any, scheduler: str) -> None:
    present = pipeline.scheduler.config
    if scheduler == "lcm":
        pipeline.scheduler = diffusers.LCMScheduler.from_config(present)
    elif scheduler == "turbo":
        trailing = {"timestep_spacing": "trailing"}
        pipeline.scheduler = diffusers.EulerAncestralDiscreteScheduler.from_config(present, **trailing)


def _place(torch: Any, pipeline: Any, folder: PipelineFolder, parts: Parts, device: Device) -> None:
    """Onto the device; part by part as it is needed where a graphics card cannot hold all of it."""
    if device == "cuda":
        free_bytes, _total = torch.cuda.mem_get_info()
        needed_bytes = diffusion_parts.memory_bytes(folder, parts)
        if needed_bytes > free_bytes:
            pipeline.enable_attention_slicing()
            pipeline.enable_model_cpu_offload()
            return
    if device == "mps":
        pipeline.enable_attention_slicing()
    pipeline.to(device)
