"""What tools that can follow words have in common."""

import secrets
from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from ml.params import Params, parameter_error
from ml.tool import Context

if TYPE_CHECKING:
    from ml.engines.diffusion import Inpainter, PromptOptions

_MAX_CHARACTERS = 2_000
_ONLY_WITH_PROMPT = "Only with a prompt."
_NEEDS_PROMPT = ("negative_prompt", "steps", "guidance_scale", "strength")
# Of one step at 512 x 512 on 2 cores, and of all that is done once; `ml.runtime.duration_model` corrects
# them.
_STEP_SECONDS = 1.7
_ONCE_SECONDS = 2.0
_USUAL_STEPS = 4


class PromptParams(Params):
    """The parameters of words. Those that say how a prompt is followed are refused without one."""

    prompt: str = Field(
        "",
        max_length=_MAX_CHARACTERS,
        description="What to put there, in words; needs an installed inpainting checkpoint. Empty: the"
        " surroundings are continued.",
    )
    negative_prompt: str = Field(
        "", max_length=_MAX_CHARACTERS, description=f"What to keep out of it, in words. {_ONLY_WITH_PROMPT}"
    )
    seed: int | None = Field(
        None,
        ge=0,
        le=2**32 - 1,
        description="The same seed gives the same answer, another one another. Default: 0 without a prompt,"
        " a random one with it.",
    )
    steps: int | None = Field(
        None,
        ge=1,
        le=150,
        description=f"Denoising steps; the checkpoint's own by default. {_ONLY_WITH_PROMPT}",
    )
    guidance_scale: float | None = Field(
        None,
        ge=0,
        le=30,
        description="How closely the words are followed; the checkpoint's own by default."
        f" {_ONLY_WITH_PROMPT}",
    )

    @property
    def has_prompt(self) -> bool:
        return bool(self.prompt.strip())

    @model_validator(mode="after")
    def _nothing_without_effect(self) -> "PromptParams":
        """A setting that does nothing is a mistake somewhere; better said than ignored."""
        for name in _NEEDS_PROMPT:
            if not self.has_prompt and getattr(self, name, None):
                raise parameter_error(name, "has an effect only with a prompt")
        return self


def check_available(params: PromptParams, context: Context) -> None:
    """Raises `ModelUnavailable` if there are words and nothing here can follow them. Loads nothing."""
    if params.has_prompt:
        context.engines.check_inpainting()


def load_inpainter(
    params: PromptParams, context: Context, fraction: float
) -> "tuple[Inpainter, PromptOptions, list[str]]":
    """What follows the options, the options, and warnings. Raises `ModelUnavailable`, `OutOfMemory`.

    `fraction` is how much of the call is done by now.
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
    is_long = engine.truncates(params.prompt)
    return engine, options, ["The prompt is longer than the checkpoint reads: its end is ignored."] * is_long


def is_random(params: PromptParams) -> bool:
    """Whether the same call makes another picture each time."""
    return params.has_prompt and params.seed is None


def cost(params: PromptParams, megapixels: float) -> float:
    """Work of a call, see `ml.tool.Tool.cost`: of words by their steps, else by the picture's size."""
    if not params.has_prompt:
        return megapixels
    is_guided = params.guidance_scale is not None and params.guidance_scale > 1
    passes = (params.steps or _USUAL_STEPS) * (2 if is_guided else 1)
    return _ONCE_SECONDS + _STEP_SECONDS * passes
