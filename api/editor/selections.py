"""Selections as part of a run: magic-select finds the mask of a tool, for one credit altogether."""

from collections.abc import Callable
from dataclasses import dataclass

from api.calls import unbilled
from api.calls.tool_runner import OnProgress
from api.editor import unbilled_images
from api.editor.layers import layers_of
from api.editor.models import Step
from api.editor.owners import ProjectOwner
from api.services import Services
from ml.backend import Ticket
from ml.tools import magic_select
from ml.tools.magic_select import MagicSelectParams

#: Tools that act in a mask, and the name of its file.
MASKED_TOOLS = frozenset({"generative-fill", "brush"})
MASK = "mask"


@dataclass(frozen=True)
class ToolSelection:
    """What is selected, in the image `image_id`."""

    params: MagicSelectParams
    image_id: str


def selected_image_id(step: Step) -> str:
    """The image that a selection in this step is made in: of a cut-out, the photo, which shows more."""
    layers = layers_of(step)
    return step.image_id if layers is None else layers.photo_id


async def find_mask(
    services: Services,
    owner: ProjectOwner,
    selection: ToolSelection,
    on_progress: OnProgress | None,
    on_ticket: Callable[[Ticket], None],
) -> bytes:
    """The selection's mask as a PNG, at full size. It is never stored or answered.

    The caller admits the work and charges what is done with the mask. Raises what magic-select raises.
    """
    files = {"image": await unbilled_images.read(services, selection.image_id)}
    params = selection.params.model_copy(update={"output": "mask", "multimask": 1, "format": "png"})
    work = unbilled.UnbilledCall(magic_select.TOOL, params, files, selection.image_id, owner.priority)
    answer = await unbilled.run(services, work, on_progress, on_ticket)
    return answer.content
