"""New looks of a cut-out: steps without work, which only hold parameters until they are drawn."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlmodel import Session

from api.editor import guest_previews, pricing, projects, rendering, unbilled_images
from api.editor.layers import BACKGROUND_ID, Layers, layers_of
from api.editor.models import Project, Step
from api.editor.owners import ProjectOwner
from api.editor.projects import NewStep
from api.errors import InvalidParameter
from api.images import service as images
from api.services import Services
from ml.tools import cutout_look
from ml.tools.bg_removal_params import BgRemovalParams

_NO_CUTOUT = "This step is not a cut-out: remove its background first."


@dataclass(frozen=True)
class NewLook:
    """The step of a look, and the id of an old look that made room for it."""

    step: Step
    removed_id: str | None


async def add_look(
    services: Services, owner: ProjectOwner, project: Project, source: Step, form: Mapping[str, str]
) -> NewLook:
    """Add a look of the source's cut-out, which becomes the current step. `form` has been validated.

    Raises `InvalidParameter` if the source has no layers, `NotFound` for deleted images and for others'
    backgrounds.
    """
    layers = layers_of(source)
    if layers is None:
        raise InvalidParameter("stepId", _NO_CUTOUT)
    made = layers.with_look(form)
    await rendering.check_background(services, owner, project, made)
    for image_id in (made.cutout_id, made.photo_id):  # both are needed when the look is drawn
        await images.keep_longer(services, await unbilled_images.find(services, image_id))
    carried = guest_previews.origin_of(source)
    now = services.clock()
    width, height = _size(made)
    new_step = NewStep(
        image_id=made.cutout_id,
        width=width,
        height=height,
        format="png",
        tool=pricing.CUTOUT_TOOL,
        params=form,
        answer={} if carried is None else {guest_previews.ORIGIN: carried},
        parent_id=source.id,
        is_preview=source.is_preview,
        layers=made,
        is_rendered=made.is_plain,
    )

    def record(session: Session) -> NewLook:
        locked = projects.lock(session, projects.find(session, owner, project.id, now))
        projects.step_of(session, locked, source.id)  # it may have been deleted meanwhile
        removed_id = projects.remove_oldest_look(session, locked)
        projects.require_room(projects.count_steps(session, locked))
        return NewLook(projects.add_step(session, locked, new_step, now, services.retention), removed_id)

    return await services.database.run(record)


def _size(layers: Layers) -> tuple[int, int]:
    """The size of the look; of a crop, which is known once it is drawn, that of the cut-out."""
    size = layers.width, layers.height
    look = {name: text for name, text in layers.look.items() if name != BACKGROUND_ID}
    return cutout_look.answer_size(BgRemovalParams.model_validate(look), size) or size
