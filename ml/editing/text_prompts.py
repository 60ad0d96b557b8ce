"""Shared parameters and engine loading of tools that accept a text prompt."""

import secrets
from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from ml.editing.erasing_models import ErasingModel, model_field
from ml.params import Params, parameter_error
from ml.tool import Context

if TYPE_CHECKING:
    from ml.engines.diffusion import Inpainter, PromptOptions
    from ml.engines.installed import InstalledEngines

_MAX_CHARACTERS = 2_000
_ONLY_WITH_PROMPT = "Requires a prompt."
_NEEDS_PROMPT = ("negative_prompt", "steps", "guidance_scale", "strength")
# Seconds of one denoising step at 512 x 512 on 2 cores, and of one-time work.
_STEP_SECONDS = 1.7
_ONCE_SECONDS = 2.0
_USUAL_STEPS = 4


class PromptParams(Params):
    """Prompt and sampling parameters. Those that need a prompt are rejected without one."""

    prompt: str = Field(
        "",
        max_length=_MAX_CHARACTERS,
        description="Text description of the content to generate; requires an installed inpainting"
        " checkpoint. If empty, the area is filled from its surroundings.",
    )
    negative_prompt: str = Field(
        "",
        max_length=_MAX_CHARACTERS,
        description=f"Text description of content to avoid. {_ONLY_WITH_PROMPT}",
    )
    model: ErasingModel = model_field("Requires an empty prompt.")
    seed: int | None = Field(
        None,
        ge=0,
        le=2**32 - 1,
        description="Random seed. The same seed gives the same result, different seeds give different"
        " results. Default: random with a prompt, otherwise 0.",
    )
    steps: int | None = Field(
        None,
        ge=1,
        le=150,
        description=f"Number of denoising steps. Default: the checkpoint's. {_ONLY_WITH_PROMPT}",
    )
    guidance_scale: float | None = Field(
        None,
        ge=0,
        le=30,
        description=f"How closely the prompt is followed. Default: the checkpoint's. {_ONLY_WITH_PROMPT}",
    )

    @property
    def has_prompt(self) -> bool:
        return bool(self.prompt.strip())

    @model_validator(mode="after")
    def _reject_without_effect(self) -> "PromptParams":
        """Reject parameters that have no effect instead of ignoring them."""
        for name in _NEEDS_PROMPT:
            if not self.has_prompt and getattr(self, name, None):
                raise parameter_error(name, "has an effect only with a prompt")
        if self.has_prompt and self.model != "auto":
            raise parameter_error("model", "has an effect only without a prompt")
        return self


def check_available(params: PromptParams, engines: "InstalledEngines") -> None:
    """Raise `ModelUnavailable` if there is a prompt but no inpainting engine. Loads nothing."""
    if params.has_prompt:
        engines.check_inpainting()


def load_inpainter(
    params: PromptParams, context: Context, fraction: float
) -> "tuple[Inpainter, PromptOptions, list[str]]":
    """The engine, its options, and warnings. Raises `ModelUnavailable`, `OutOfMemory`.

    `fraction` is the progress of the call so far.
    """
    from ml.engines.diffusion import PromptOptions

    context.step("loading", fraction)
    engine: Inpainter = context.engines.inpainter()
    options = PromptOptions(
        prompt=params.prompt,
        negative_prompt=params.negative_prompt,
        seed=secrets.randbelow(2**32) if params.seed is None else params.seed,
        steps=params.steps,
        guidance_scale=params.guidance_scale,
        strength=getattr(params, "strength", None),
    )
    is_truncated = engine.truncates(params.prompt)
    return engine, options, ["The prompt is too long for the checkpoint and was truncated."] * is_truncated


def is_random(params: PromptParams) -> bool:
    """Whether the same call gives different results each time."""
    return params.has_prompt and params.seed is None


def cost(params: PromptParams, megapixels: float) -> float:
    """Work of a call (see `ml.tool.Tool.cost`): by steps with a prompt, else by the picture's size."""
    if not params.has_prompt:
        return megapixels
    is_guided = params.guidance_scale is not None and params.guidance_scale > 1
    passes = (params.steps or _USUAL_STEPS) * (2 if is_guided else 1)
    return _ONCE_SECONDS + _STEP_SECONDS * passes
