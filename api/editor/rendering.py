"""Draws the looks of cut-outs at full size, once, when a download or the next tool needs them.

Until then a step holds only the look's parameters: the browser draws its own preview, so that trying colours
takes no worker.
"""

from collections.abc import Callable

from sqlmodel import Session

from api.calls import unbilled
from api.calls.tool_runner import OnProgress
from api.editor import guest_previews, projects, unbilled_images
from api.editor.layers import BACKGROUND_ID, Layers, layers_of
from api.editor.models import Project, Step
from api.editor.owners import ProjectOwner
from api.editor.projects import NewStep
from api.errors import InvalidParameter, NotFound
from api.images import service as images
from api.services import Services
from ml.backend import Ticket
from ml.tools import cutout_look
from ml.tools.bg_removal_params import BgRemovalParams

_BACKGROUNDS = ("bg_color", "bg_gradient", "bg_scene", "bg_blur")


def needs_rendering(step: Step) -> bool:
    return not step.is_rendered and layers_of(step) is not None


async def check_background(services: Services, owner: ProjectOwner, project: Project, layers: Layers) -> None:
    """Refuse a background image that the look could not be drawn with.

    Raises `NotFound` for others' images, for guests also for other projects', and `InvalidParameter`.
    """
    image_id = layers.look.get(BACKGROUND_ID)
    if image_id is None:
        return
    other = next((name for name in _BACKGROUNDS if layers.look.get(name, "0") != "0"), None)
    if other is not None:
        raise InvalidParameter(BACKGROUND_ID, f"{BACKGROUND_ID} cannot be combined with {other}.")

    def check(session: Session) -> None:
        images.find(session, services, owner.account_id, image_id)
        guest_previews.refuse_as_file(session, owner, image_id)
        if owner.is_guest and image_id not in _pictures(projects.steps_of(session, project)):
            raise NotFound("No such image in this project.")

    await services.database.read(check)


def _pictures(steps: list[Step]) -> set[str | None]:
    """The images of steps, and the backgrounds that cropping has made."""
    return {step.image_id for step in steps} | {step.background_id for step in steps}


async def ensure_rendered(
    services: Services,
    owner: ProjectOwner,
    project: Project,
    step: Step,
    on_progress: OnProgress | None = None,
    on_ticket: Callable[[Ticket], None] | None = None,
) -> Step:
    """The step with an image of its look. The caller admits the work.

    Concurrent requests for one step share the work. Raises `NotFound` for deleted images, `StorageFull`, and
    any `MlError`.
    """
    if not needs_rendering(step):
        return step
    return await services.running.share(
        f"look of {step.id}", lambda: _render(services, owner, project, step, on_progress, on_ticket)
    )


async def _read_layers(
    services: Services,
    owner: ProjectOwner,
    layers: Layers,
    on_ticket: Callable[[Ticket], None] | None,
    *,
    is_preview: bool,
) -> dict[str, bytes]:
    photo = await unbilled_images.read(services, layers.photo_id)
    cutout = await unbilled_images.read(services, layers.cutout_id)
    if is_preview:
        small = await guest_previews.reduce(
            services, layers.photo_id, photo, layers.width, owner.priority, on_ticket
        )
        photo, cutout = small.content, await guest_previews.read_cutout(services, layers.cutout_id)
    return {"image": photo, "cutout": cutout}


async def _render(
    services: Services,
    owner: ProjectOwner,
    project: Project,
    step: Step,
    on_progress: OnProgress | None,
    on_ticket: Callable[[Ticket], None] | None,
) -> Step:
    layers = layers_of(step)
    assert layers is not None
    await unbilled_images.require_room(services, owner)
    files = await _read_layers(services, owner, layers, on_ticket, is_preview=step.is_preview)
    look = dict(layers.look)
    background_id = look.pop(BACKGROUND_ID, None)
    if background_id is not None:
        await check_background(services, owner, project, layers)
        files["bg_image"] = await images.read_for_call(services, owner.account_id, background_id)
    params = BgRemovalParams.model_validate({**look, "format": "png"})
    work = unbilled.UnbilledCall(cutout_look.TOOL, params, files, layers.photo_id, owner.priority)
    answer = await unbilled.run(services, work, on_progress, on_ticket)
    if step.is_preview:
        answer = (
            await guest_previews.mark(services, answer, layers.photo_id, owner.priority, on_ticket)
        ).answer
    stored = await unbilled_images.store_result(services, owner, answer)
    drawn = NewStep(stored.id, answer.width, answer.height, answer.format)
    now = services.clock()

    def record(session: Session) -> tuple[Step, bool]:
        locked = projects.lock(session, projects.find(session, owner, project.id, now))
        current = projects.step_of(session, locked, step.id)
        return current, projects.record_rendering(session, current, drawn)

    try:
        recorded, is_new = await services.database.run(record)
    except NotFound:  # the project or the step was deleted meanwhile
        await unbilled_images.delete(services, [stored.id])
        raise
    if not is_new:  # another process drew it as well
        await unbilled_images.delete(services, [stored.id])
    return recorded
