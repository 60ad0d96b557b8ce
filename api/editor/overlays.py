"""Previews of a selection while the visitor clicks: free, small and not downloadable."""

from typing import Any

from api import response_bodies
from api.calls import unbilled
from api.editor import unbilled_images
from api.editor.owners import ProjectOwner
from api.services import Services
from ml.backend import ToolAnswer
from ml.tools import selection_overlay
from ml.tools.magic_select import MagicSelectParams


async def select(
    services: Services, owner: ProjectOwner, image_id: str, params: MagicSelectParams
) -> ToolAnswer:
    """The selection as a PNG mask of at most 1024 pixels a side. The caller admits the work.

    Raises what magic-select raises: `NothingFound`, `BadParameter`, `ModelUnavailable`, …
    """
    files = {"image": await unbilled_images.read(services, image_id)}
    small = params.model_copy(update={"output": "mask", "multimask": 1, "format": "png"})
    work = unbilled.UnbilledCall(selection_overlay.TOOL, small, files, image_id, owner.priority)
    return await unbilled.run(services, work)


def overlay_data(answer: ToolAnswer) -> dict[str, Any]:
    """Score, confidence, box and area ratio, but no id or URL that gives access to the mask."""
    data = response_bodies.picture_data(answer, "")
    return {name: data[name] for name in ("score", "confidence", "bbox", "areaRatio") if name in data}
