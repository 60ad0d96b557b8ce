"""What a run is asked to do: a tool, its input step and parameters, and what that costs."""

from collections.abc import Mapping
from dataclasses import dataclass

from api.editor import pricing, rendering
from api.editor.layers import layers_of
from api.editor.models import Project, Step
from api.editor.owners import ProjectOwner
from api.editor.selections import ToolSelection
from api.errors import InvalidParameter
from ml.params import Params
from ml.tool import Tool

#: Tools that act on the layers of a cut-out instead of its look.
_LAYER_TOOLS = frozenset({"brush", "crop", "magic-select"})


@dataclass(frozen=True)
class RunRequest:
    """A tool, its input step and parameters. `form`: the fields as sent, files as image ids."""

    project: Project
    source: Step
    tool: Tool
    params: Params
    form: Mapping[str, str]
    file_ids: Mapping[str, str]  # ids of stored images by form field
    run_key: str
    base_url: str
    #: The result is small and marked: a guest's own photo gets a preview, and what is made of one stays one.
    is_preview: bool = False
    #: Selects the mask that the tool acts in.
    selection: ToolSelection | None = None

    @property
    def is_free_edit(self) -> bool:
        """Whether this costs nothing in the editor, and no preview of a guest."""
        return self.selection is None and pricing.is_free_edit(self.tool.name, self.params)

    @property
    def is_new_preview(self) -> bool:
        """Whether this takes one of a guest's previews. Free changes of a preview take none."""
        return self.is_preview and not self.source.is_preview

    @property
    def is_look(self) -> bool:
        """Whether this is another look of a cut-out: one is never made from a cut-out again."""
        return self.tool.name == pricing.CUTOUT_TOOL and layers_of(self.source) is not None

    @property
    def draws_look(self) -> bool:
        """Whether the source's look has to be drawn first."""
        uses_layers = self.is_look or self.tool.name in _LAYER_TOOLS
        return rendering.needs_rendering(self.source) and not uses_layers

    def is_billed_to(self, owner: ProjectOwner) -> bool:
        """Whether this costs the owner a credit."""
        return not (self.is_look or self.is_free_edit or owner.is_guest)


def check_layers(run_request: RunRequest) -> None:
    """Raises `InvalidParameter` if a cut-out would be made again, or restored from another image."""
    layers = layers_of(run_request.source)
    if layers is None:
        return
    if run_request.is_look:
        params = run_request.params
        for name in ("model", "channels"):
            if getattr(params, name) != type(params).model_fields[name].default:
                raise InvalidParameter(
                    name, f"{name}: this is a cut-out already. Go back to the photo to cut it out anew."
                )
    original_id = run_request.file_ids.get("original")
    if run_request.tool.name == "brush" and original_id not in (None, layers.photo_id):
        raise InvalidParameter("original_id", "A cut-out is restored from the photo that it was made from.")
