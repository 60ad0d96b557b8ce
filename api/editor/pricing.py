"""Which runs of the editor are free: small edits and looks of a paid cut-out.

No free run of an account runs a network, except for the overlays while selecting. Guests may apply every tool
to samples, and get `guest_previews` of their own photos.

Every other run costs one credit, as an API call does; `api.calls.admission` charges it.
"""

from ml.params import Params

CUTOUT_TOOL = "bg-removal"
#: What a brush does without a network: everything but healing.
_FREE_BRUSH_OPERATIONS = frozenset({"erase", "restore", "paint", "blur"})


def is_free_edit(tool: str, params: Params) -> bool:
    """Whether a run of this tool with these parameters is free in the editor, for accounts too."""
    if tool == "brush":
        return getattr(params, "op", None) in _FREE_BRUSH_OPERATIONS
    return tool == "crop"
