"""Crops cut-outs: all layers alike, so that nothing about them has to be paid again.

The cut-out of a crop is the one that was paid, and its photo is the same part of the same photo: restoring
brings back nothing else.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from api import response_bodies
from api.calls import unbilled
from api.calls.tool_runner import OnProgress
from api.editor import rendering, unbilled_images
from api.editor.layers import BACKGROUND_ID, Layers
from api.editor.models import Project
from api.editor.owners import ProjectOwner
from api.editor.projects import NewStep
from api.images import service as images
from api.services import Services
from ml.backend import Progress, Ticket, ToolAnswer
from ml.params import Params
from ml.tools import crop, cutout_crop
from ml.tools.crop import CropParams
from ml.tools.cutout_crop import CutoutCropParams, Layer

#: What the tool answers about the layers, not about the result.
_OWN_FIELDS = frozenset({"look", "has_own_background"})


@dataclass(frozen=True)
class CroppedCutout:
    """The new step's image, size and layers, and the ids of all its images."""

    step: NewStep
    image_ids: list[str]


async def crop_layers(
    services: Services,
    owner: ProjectOwner,
    project: Project,
    layers: Layers,
    params: Params,
    on_progress: OnProgress,
    on_ticket: Callable[[Ticket], None],
) -> CroppedCutout:
    """The layers cropped in the frame of their look. The caller admits the work.

    What was stored is deleted again if this fails or is cancelled. Raises `NotFound` for deleted images,
    `StorageFull`, and any `MlError`.
    """
    assert isinstance(params, CropParams)
    look = dict(layers.look)
    background_id = look.pop(BACKGROUND_ID, None)
    wanted = CutoutCropParams(crop=params, look=look, has_picture=background_id is not None, format="png")
    files = {
        "image": await unbilled_images.read(services, layers.photo_id),
        "cutout": await unbilled_images.read(services, layers.cutout_id),
    }
    if background_id is not None:
        await rendering.check_background(services, owner, project, layers)
        files["bg_image"] = await images.read_for_call(services, owner.account_id, background_id)
    image_ids: list[str] = []

    async def store(layer: Layer, part: int, **changes: Any) -> ToolAnswer:
        call = unbilled.UnbilledCall(
            cutout_crop.TOOL,
            wanted.model_copy(update={"layer": layer, **changes}),
            files,
            layers.photo_id,
            owner.priority,
        )
        answer = await unbilled.run(services, call, _share(on_progress, part), on_ticket)
        image_ids.append((await unbilled_images.store_result(services, owner, answer)).id)
        return answer

    try:
        cutout = await store("cutout", 0)
        box = tuple(cutout.fields["bbox"])
        await store("photo", 1, box=box)
        made = {str(name): str(text) for name, text in cutout.fields["look"].items()}
        if cutout.fields["has_own_background"]:
            await store("background", 2, box=box)
            made[BACKGROUND_ID] = image_ids[2]
    except BaseException:
        await unbilled_images.delete(services, image_ids)
        raise
    background = made.get(BACKGROUND_ID)
    new = Layers(image_ids[0], image_ids[1], cutout.width, cutout.height, made, background)
    fields = {name: value for name, value in cutout.fields.items() if name not in _OWN_FIELDS}
    step = NewStep(
        image_id=new.cutout_id,
        width=new.width,
        height=new.height,
        format=cutout.format,
        tool=crop.TOOL.name,
        answer=response_bodies.picture_data(replace(cutout, fields=fields), new.cutout_id),
        layers=new,
        is_rendered=new.is_plain,
    )
    return CroppedCutout(step, image_ids)


def _share(on_progress: OnProgress, part: int) -> OnProgress:
    """Reports the progress of one of at most three calls."""

    def report(progress: Progress) -> None:
        on_progress(replace(progress, fraction=(part + progress.fraction) / 3))

    return report
