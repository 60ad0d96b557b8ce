"""The families of tools whose engines share replicas, and how many replicas each has.

A family scales, fails and is updated by itself.
"""

import math

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ml.backend import ToolCall

#: Tools of each family. Calls with a prompt belong to PROMPT, and all others to EDIT.
FAMILIES: dict[str, tuple[str, ...]] = {
    "cutout": ("bg-removal",),
    "upscale": ("upscale",),
    "select": ("magic-select", "selection-encoding", "selection-overlay"),
    "erase": ("generative-fill", "generative-expand", "brush"),
}
PROMPT = "prompt"
EDIT = "edit"


class FamilySize(BaseModel):
    """How many replicas a family has, and what each one takes. A part of a GPU, such as 0.25, is shared."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_replicas: int = Field(1, ge=0, le=1000)
    max_replicas: int = Field(4, ge=1, le=1000)
    cpus: float = Field(1.0, gt=0, le=256)
    gpus: float = Field(0.0, ge=0, le=16)

    @model_validator(mode="after")
    def _is_a_range(self) -> "FamilySize":
        if self.min_replicas > self.max_replicas:
            raise ValueError("min_replicas must not be above max_replicas")
        return self

    @field_validator("gpus")
    @classmethod
    def _is_a_part_or_whole(cls, value: float) -> float:
        if value > 1 and value != int(value):
            raise ValueError("above 1 must be a whole number")
        return value

    @property
    def threads(self) -> int:
        return math.ceil(self.cpus)

    def room(self, running: int) -> tuple[int, int]:
        """How many calls `running` replicas take at once, and how many may be sent besides.

        By those that have no replica yet, Serve sees that more are wanted.
        """
        room = self.max_replicas - running
        return running, min(room, max(1, running // 4)) if room > 0 else 0


#: Enlarging and prompts are asked for less often: their first replica is started by their first call.
DEFAULT_SIZES: dict[str, FamilySize] = {
    **{name: FamilySize() for name in (*FAMILIES, EDIT)},
    "upscale": FamilySize(min_replicas=0),
    PROMPT: FamilySize(min_replicas=0, max_replicas=2),
}


def family_of(call: ToolCall) -> str:
    if getattr(call.params, "has_prompt", False):
        return PROMPT
    return next((name for name, tools in FAMILIES.items() if call.tool in tools), EDIT)
