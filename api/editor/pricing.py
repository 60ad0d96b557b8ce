"""Which runs of the editor are free: small edits, looks of a paid cut-out, and samples for guests.

No free run of an account runs a network, except for the overlays while selecting.

Every other run costs one credit, as an API call does; `api.calls.admission` charges it.
"""

from api.editor.models import Project
from api.editor.owners import ProjectOwner
from ml.params import Params

CUTOUT_TOOL = "bg-removal"
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
