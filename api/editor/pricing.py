"""What is free in the editor besides drawing: another look of a paid cut-out, and our samples for guests.

Applying a tool costs one credit, as a call of the API does; `api.calls.admission` takes it.
"""

from collections.abc import Mapping
from typing import Any

from api.editor.models import Project, Step
from api.editor.owners import ProjectOwner

CREDITS_PER_RUN = 1
CUTOUT_TOOL = "bg-removal"
#: Background, shadow, edge and frame of a cut-out. What decides what is foreground is not among them.
LOOK_PARAMS = frozenset(
    {
        "bg_color",
        "bg_blur",
        "bg_image",
        "bg_image_id",
        "shadow",
        "shadow_opacity",
        "feather",
        "shift_edge",
        "decontaminate",
        "preset",
        "crop",
        "crop_margin",
        "scale",
        "position",
        "output_size",
        "format",
        "quality",
    }
)


def is_free_for_guests(project: Project, owner: ProjectOwner) -> bool:
    """Whether a guest may run tools here: on our own samples, and on nothing else."""
    return owner.is_guest and project.sample is not None


def only_changes_the_look(
    paid: Step, params: Mapping[str, Any], *, source: Step, tool: str, paid_params: Mapping[str, Any]
) -> bool:
    """Whether this is the paid cut-out once more, of the same picture, with another look."""
    same_work = paid.tool == tool == CUTOUT_TOOL and paid.parent_id == source.id and paid.is_paid
    return same_work and _core(params) == _core(paid_params)


def _core(params: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in params.items() if name not in LOOK_PARAMS}
