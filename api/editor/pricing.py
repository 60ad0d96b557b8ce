"""Which runs of the editor are free: small edits, looks of a paid cut-out, and samples for guests.

Every other run costs one credit, as an API call does; `api.calls.admission` charges it.
"""

from collections.abc import Mapping
from typing import Any

from api.editor.models import Project, Step
from api.editor.owners import ProjectOwner
from ml.params import Params

CUTOUT_TOOL = "bg-removal"
#: Parameters of background, shadow, edge and frame, without those that determine the foreground.
LOOK_PARAMS = frozenset(
    {
        "bg_color",
        "bg_blur",
        "bg_image",
        "bg_image_id",
        "shadow",
        "shadow_opacity",
        "shadow_color",
        "shadow_blur",
        "shadow_x",
        "shadow_y",
        "outline_width",
        "outline_color",
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
        "dpi",
    }
)


#: What a brush does without a network: everything but healing.
_FREE_BRUSH_OPERATIONS = frozenset({"erase", "restore", "paint", "blur"})


def is_free_edit(tool: str, params: Params) -> bool:
    """Whether a run of this tool with these parameters is free in the editor, for accounts too."""
    if tool == "brush":
        return getattr(params, "op", None) in _FREE_BRUSH_OPERATIONS
    return tool == "crop"


def is_free_for_guests(project: Project, owner: ProjectOwner) -> bool:
    """Whether the owner is a guest who may run tools here, which is on samples only."""
    return owner.is_guest and project.sample is not None


def only_changes_the_look(
    paid: Step, params: Mapping[str, Any], *, source: Step, tool: str, paid_params: Mapping[str, Any]
) -> bool:
    """Whether this repeats the paid cut-out of the same image with another look."""
    same_work = paid.tool == tool == CUTOUT_TOOL and paid.parent_id == source.id
    return same_work and _core(params) == _core(paid_params)


def _core(params: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in params.items() if name not in LOOK_PARAMS}
