"""Selections as part of a run: magic-select finds the mask of a tool, for one credit altogether."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from api.calls import unbilled
from api.calls.tool_runner import OnProgress
from api.editor import unbilled_images
from api.editor.layers import layers_of
from api.editor.models import Step
from api.editor.owners import ProjectOwner
from api.services import Services
from ml.backend import Ticket
from ml.params import Params
from ml.tools import magic_select, selection_overlay
from ml.tools.magic_select import MagicSelectParams

#: Tools that act in a mask, and the name of its file.
MASKED_TOOLS = frozenset({"generative-fill", "brush"})
MASK = "mask"
_MARKS = ("strokes", "points", "box")


@dataclass(frozen=True)
class ToolSelection:
    """What is selected, in the image `image_id`. `step_id` and `form`: as they were sent, if they were."""

    params: MagicSelectParams
    image_id: str
    step_id: str = ""
    form: Mapping[str, str] = field(default_factory=dict)


def selected_image_id(step: Step) -> str:
    """The image that a selection in this step is made in: of a cut-out, the photo, which shows more."""
    layers = layers_of(step)
    return step.image_id if layers is None else layers.photo_id


def of_marks(tool: str, params: Params, image_id: str) -> tuple[ToolSelection | None, Params]:
    """What a masked tool's own strokes, points and box select, and the parameters without them."""
    marks = {name: mark for name in _MARKS if (mark := getattr(params, name, None)) is not None}
    if tool not in MASKED_TOOLS or not marks:
        return None, params
    rest = params.model_copy(update=dict.fromkeys(marks))
    return ToolSelection(MagicSelectParams(**marks), image_id), rest


async def find_mask(
    services: Services,
    owner: ProjectOwner,
    selection: ToolSelection,
    on_progress: OnProgress | None,
    on_ticket: Callable[[Ticket], None],
    *,
    is_preview: bool = False,
) -> bytes:
    """The selection's mask as a PNG, at full size, or as small as a preview. It is never stored or answered.

    The caller admits the work and charges what is done with the mask. Raises what magic-select raises.
    """
    files = {"image": await unbilled_images.read(services, selection.image_id)}
    params = selection.params.model_copy(update={"output": "mask", "multimask": 1, "format": "png"})
    tool = selection_overlay.TOOL if is_preview else magic_select.TOOL
    work = unbilled.UnbilledCall(tool, params, files, selection.image_id, owner.priority)
    answer = await unbilled.run(services, work, on_progress, on_ticket)
    return answer.content
