"""What tools that can follow words have in common, until an engine for words is there."""

from pydantic import Field, model_validator

from ml.errors import ModelUnavailable
from ml.params import Params, parameter_error

#: The checkpoint that would follow a prompt, and what installs it.
CHECKPOINT = "stable-diffusion-inpainting"
COMMAND = "bgeraser models pull --profile generative"

_MOST_CHARACTERS = 2_000
_ONLY_WITH_PROMPT = "Only with a prompt."
_NEEDS_PROMPT = ("negative_prompt", "steps", "guidance_scale", "strength")


class PromptParams(Params):
    """The parameters of words. Those that say how a prompt is followed are refused without one."""

    prompt: str = Field(
        "",
        max_length=_MOST_CHARACTERS,
        description="What to put there, in words; needs an installed inpainting checkpoint. Empty: the"
        " surroundings are continued.",
    )
    negative_prompt: str = Field(
        "", max_length=_MOST_CHARACTERS, description=f"What to keep out of it, in words. {_ONLY_WITH_PROMPT}"
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


def check_available(params: PromptParams) -> None:
    """Raises `ModelUnavailable` if there are words to follow: no engine here can."""
    if params.has_prompt:
        raise ModelUnavailable(CHECKPOINT, COMMAND)


def is_random(params: PromptParams) -> bool:
    """Whether the same call makes another picture each time."""
    return params.has_prompt and params.seed is None
