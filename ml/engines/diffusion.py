"""Inpainting from a prompt, with any checkpoint that diffusers' auto pipeline supports. Imported lazily.

An `Inpainter` has one pipeline and processes pictures of about its native size. `ml.editing.repainting` crops
larger pictures and blends the result back.
"""

import inspect
import logging
import math
import os
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
from ml.progress import ReportProgress

log = logging.getLogger(__name__)

# Guidance of a few-step checkpoint with a negative prompt, which has no effect without guidance.
_MIN_GUIDANCE_AGAINST = 1.5
# Pipelines that load a safety checker by default.
_MAY_CHECK = ("StableDiffusionInpaintPipeline", "StableDiffusionPipeline")


@dataclass(frozen=True)
class PromptOptions:
    """The prompt and sampling options; None: the checkpoint's default."""

    prompt: str
    negative_prompt: str = ""
    seed: int = 0
    steps: int | None = None
    guidance_scale: float | None = None
    strength: float | None = None  # over 0..1


class Inpainter:
    """Raises `ModelUnavailable` if libraries are missing or the folder is not a usable pipeline."""

    def __init__(
        self, folder: PipelineFolder, parts: Parts, config: GenerativeConfig, device: Device, threads: int
    ) -> None:
        torch_runtime.check_installed(*LIBRARIES)
        # Loading is local only; this prevents other requests by the libraries.
        os.environ["HF_HUB_OFFLINE"] = "1"
        self._torch = torch_runtime.import_torch(threads)
        self.checkpoint = folder.name
        self.device = torch_runtime.usable_device(self._torch, device)
        self._parts = parts
        self._pipeline = _load_pipeline(self._torch, folder, parts, self.device)
        self._accepted = inspect.signature(self._pipeline.__call__).parameters
        self._guidance = config.inpaint_guidance
        self._steps = config.inpaint_steps or parts.steps

    @property
    def side_pixels(self) -> int:
        """The side of the square it was trained on; other shapes of about that area work as well."""
        return self._parts.side_pixels

    @property
    def multiple(self) -> int:
        """Width and height must be multiples of this."""
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

    def repaint(
        self, picture: Pixels, mask: Mask, prompt_options: PromptOptions, step: ReportProgress
    ) -> Pixels:
        """Inpaint `picture` (H x W x 3) where `mask` (H x W) is 255. The whole result is regenerated.

        Height and width must be multiples of `multiple`. Equal options give equal pixels on the same machine.
        `step` is called with the fraction done, 0..1, after each denoising step, and may raise. Raises
        `BadParameter` for options that this checkpoint does not support, `OutOfMemory`.
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
                output = self._pipeline(
                    image=Image.fromarray(picture),
                    mask_image=Image.fromarray(mask),
                    height=height,
                    width=width,
                    # Always on the CPU: random numbers differ between devices.
                    generator=self._torch.Generator("cpu").manual_seed(prompt_options.seed),
                    output_type="np",
                    **options,
                )
        finally:
            self._pipeline.maybe_free_model_hooks()
        if any(getattr(output, "nsfw_content_detected", None) or ()):
            raise BadParameter("prompt", "prompt: the safety checker rejected the generated image")
        values = np.nan_to_num(np.asarray(output.images[0], np.float32))
        answer: Pixels = np.clip(np.rint(values * 255), 0, 255).astype(np.uint8)
        return answer

    def truncates(self, prompt: str) -> bool:
        """Whether the prompt is longer than the checkpoint's text encoder reads."""
        tokenizer = getattr(self._pipeline, "tokenizer", None)
        if tokenizer is None:
            return False
        with silence_libraries():
            return len(tokenizer(prompt).input_ids) > int(tokenizer.model_max_length)

    def _options(self, prompt_options: PromptOptions) -> dict[str, Any]:
        """The pipeline's arguments for these options."""
        strength = FULL_STRENGTH if prompt_options.strength is None else prompt_options.strength
        guidance = (
            self.default_guidance if prompt_options.guidance_scale is None else prompt_options.guidance_scale
        )
        if prompt_options.negative_prompt.strip():
            if "negative_prompt" not in self._accepted:
                raise BadParameter(
                    "negative_prompt", f"negative_prompt is not supported by {self.checkpoint}"
                )
            if guidance <= 1 and prompt_options.guidance_scale is not None:
                raise BadParameter("negative_prompt", "negative_prompt needs a guidance_scale above 1")
            guidance = max(guidance, _MIN_GUIDANCE_AGAINST)
        options: dict[str, Any] = {
            "prompt": prompt_options.prompt,
            "negative_prompt": prompt_options.negative_prompt or None,
            "num_inference_steps": self._steps_for(prompt_options.steps, strength),
            "guidance_scale": guidance,
            "strength": strength,
        }
        return {name: value for name, value in options.items() if name in self._accepted}

    def _steps_for(self, asked: int | None, strength: float) -> int:
        """Denoising steps, of which the pipeline runs only the share `strength` and needs at least one."""
        scheduler = self._pipeline.scheduler
        # Consistency models' schedulers can only skip steps of the schedule that they were distilled from.
        is_distilled = "original_inference_steps" in inspect.signature(scheduler.set_timesteps).parameters
        config = scheduler.config
        most = int(config.original_inference_steps if is_distilled else config.num_train_timesteps)
        needed = math.ceil(1 / strength)
        if asked is not None and asked > most:
            raise BadParameter("steps", f"steps must be at most {most} with {self.checkpoint}")
        if needed > most:
            raise BadParameter("strength", f"strength must be at least {1 / most:g} with {self.checkpoint}")
        return max(min(asked or self._steps, most), needed)


def _load_pipeline(torch: Any, folder: PipelineFolder, parts: Parts, device: Device) -> Any:
    """Load the pipeline onto its device. Nothing is downloaded; no code of the folder is run."""
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
                without["vae"] = _load_tiny_vae(diffusers, parts.tiny_vae, dtype)
            pipeline = diffusers.AutoPipelineForInpainting.from_pretrained(
                str(folder.path),
                dtype=dtype,
                variant=folder.variant,
                use_safetensors=True,
                local_files_only=True,
                **without,
            )
            if parts.lora is not None:
                _fuse_lora(pipeline, parts.lora)
            _set_scheduler(diffusers, pipeline, parts.scheduler)
            _place(torch, pipeline, folder, parts, device)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        log.exception("%s cannot be loaded", folder.name)
        problem = f"cannot be loaded as an inpainting pipeline ({type(error).__name__}; see the server's log)"
        raise ModelUnavailable(folder.name, COMMAND, problem) from None
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _load_tiny_vae(diffusers: Any, place: Path, dtype: Any) -> Any:
    """A fast autoencoder from a folder, or from weights in TAESD's architecture."""
    if place.is_dir():
        return diffusers.AutoencoderTiny.from_pretrained(
            str(place), dtype=dtype, use_safetensors=True, local_files_only=True
        )
    import safetensors.torch

    vae = diffusers.AutoencoderTiny()
    vae.load_state_dict(safetensors.torch.load_file(place))
    return vae.to(dtype)


def _fuse_lora(pipeline: Any, lora: Path) -> None:
    """Fuse a LoRA into the weights, which costs neither time nor memory during inference."""
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
    """Move the pipeline to the device; offload components if a GPU cannot hold all of them."""
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
