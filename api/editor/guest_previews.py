"""Free previews for guests: what a tool makes of their own photo, small and marked.

The photo is reduced before the tool runs, so that neither source nor result exceeds `LONGEST_SIDE`. A preview
of Enlarge is therefore made from a smaller photo than any other, of which it shows all: an excerpt at full
size would show a part that nobody chose. The editor compares it with that reduced photo.

Each preview takes one of the few of its network address. Free changes of a preview's cut-out take none: its
layers have the preview's size, and whatever is drawn from them is marked again. The cut-out without the mark
is an artefact of the marked image, which no address leads to. Previews stay marked after sign-up; an account
applies the tool to the photo itself, for a credit.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from sqlmodel import Session, col, or_, select

from api.auth import throttle
from api.auth.throttle import Limit
from api.calls import unbilled
from api.calls.tool_runner import OnProgress
from api.calls.unbilled import UnbilledCall
from api.editor import pricing, projects
from api.editor.layers import layers_of
from api.editor.models import Project, Step
from api.editor.owners import ProjectOwner
from api.errors import Forbidden, InvalidParameter, NotFound, RateLimited
from api.images import service as images
from api.services import Services
from ml.backend import Priority, Ticket, ToolAnswer
from ml.imaging import codecs
from ml.params import Params
from ml.tool import Tool
from ml.tools import preview_mark, rendition, selection_overlay
from ml.tools.preview_mark import PreviewMarkParams
from ml.tools.rendition import RenditionParams

LONGEST_SIDE = selection_overlay.OVERLAY_PIXELS
#: Of one network address.
LIMIT = Limit(5, timedelta(days=1))
#: The longest request that a preview is stored with, in characters of its values; less with layers.
_REQUEST_CHARACTERS, _REQUEST_WITH_LAYERS_CHARACTERS = 16 * 1024, 4 * 1024
#: The key of `Origin` in a step's answer.
ORIGIN = "preview"

_TEXT = "Preview · bgeraser"
_CUTOUT = "preview-cutout"
_PROMPTS = "Sign up to create pictures from words. It is free, and this image is kept."
_SHAPES = "A preview shows the selection as a picture: output must be mask or cutout. Sign up for the others."
_NOT_OF_PREVIEWS = "This is a preview. Choose the photo in the history first."
_USED_UP = (
    "Your network has had its free previews for now. Sign up to go on: it is free, and this image is kept."
)

OnTicket = Callable[[Ticket], None]


@dataclass(frozen=True)
class MadePreview:
    """`answer` with the marked image, the content without the mark, and the box of the mark in pixels."""

    answer: ToolAnswer
    unmarked: bytes
    mark_box: list[int]


def are_for(owner: ProjectOwner, project: Project) -> bool:
    """Whether the owner gets previews here instead of results that cost a credit."""
    return owner.is_guest and project.sample is None


def check(tool: Tool, params: Params, source: Step) -> None:
    """Raises `Forbidden` and `InvalidParameter` for runs without previews, and what the tool itself would."""
    if getattr(params, "has_prompt", False):
        raise Forbidden(_PROMPTS)
    if getattr(params, "output", "mask") not in ("mask", "cutout"):
        raise InvalidParameter("output", _SHAPES)
    size = tool.answer_size(params, (source.width, source.height))
    if size is not None:
        codecs.check_output_size(*size)


def source_of(session: Session, project: Project, step_id: str, tool: Tool, *, is_free_edit: bool) -> Step:
    """The step that a tool is applied to: to remove the background, the photo that a preview was made from.

    Raises `NotFound`; `InvalidParameter` for tools whose parameters would be meant for the preview's pixels.
    Free retouching of a preview's cut-out changes that cut-out.
    """
    step = projects.step_of(session, project, step_id)
    if not step.is_preview:
        return step
    if tool.name == "brush" and is_free_edit and layers_of(step) is not None:
        return step
    if tool.name != pricing.CUTOUT_TOOL:
        raise InvalidParameter("stepId", _NOT_OF_PREVIEWS)
    while step.is_preview and step.parent_id is not None:
        step = projects.step_of(session, project, step.parent_id)
    return step


def require_photo(step: Step) -> None:
    """Raises `InvalidParameter` for a preview, in which no selection can be made."""
    if step.is_preview:
        raise InvalidParameter("stepId", _NOT_OF_PREVIEWS)


def refuse_as_file(session: Session, owner: ProjectOwner, image_id: str) -> None:
    """Raises `NotFound` for the image of a preview: drawn into another picture, it would lose its mark."""
    shows = or_(col(Step.image_id) == image_id, col(Step.cutout_id) == image_id)
    of_owner = select(Project.id).where(owner.owns())
    found = select(Step.id).where(col(Step.project_id).in_(of_owner), col(Step.is_preview), shows)
    if session.exec(found.limit(1)).first() is not None:
        raise NotFound("A preview cannot be used in another picture.")


async def take(services: Services, address: str) -> None:
    """Take one of the network's previews. Raises `RateLimited`."""
    now = services.clock()
    bucket = throttle.by_address("preview", address)
    wait = await services.database.run(lambda session: throttle.take(session, bucket, LIMIT, now))
    if wait is not None:
        raise RateLimited(_USED_UP, -(-wait // timedelta(seconds=1)))


async def wait_seconds(services: Services, address: str) -> int:
    """How long it is until the network has a preview; 0 if it has one."""
    now = services.clock()
    bucket = throttle.by_address("preview", address)
    return await services.database.read(lambda session: throttle.wait_seconds(session, bucket, LIMIT, now))


async def give_back(services: Services, address: str) -> None:
    """Return a preview that was taken and not made."""
    now = services.clock()
    bucket = throttle.by_address("preview", address)
    await services.database.run(lambda session: throttle.give_back(session, bucket, LIMIT, now))


def reduced_size(tool: Tool, params: Params, source: tuple[int, int]) -> tuple[int, int]:
    """(width, height) of the photo that the tool is applied to."""
    result = tool.answer_size(params, source) or source
    side = max(1, LONGEST_SIDE * max(source) // max(result))
    return preview_mark.reduced_size(source, min(LONGEST_SIDE, side))


async def make(
    services: Services,
    call: UnbilledCall,
    source: Step,
    on_progress: OnProgress | None = None,
    on_ticket: OnTicket | None = None,
) -> MadePreview:
    """The marked preview of `call` on `source`, or on the layers of a preview. Raises any `MlError`."""
    params = call.params.model_copy(update={"format": "png"})
    if call.tool.name == "magic-select":  # which uses what was computed for the whole photo
        call = replace(call, tool=selection_overlay.TOOL)
        params = params.model_copy(update={"multimask": 1})
    elif not source.is_preview:
        size = source.width, source.height
        width, _ = reduced_size(call.tool, params, size)
        small = await reduce(services, call.source_id, call.files["image"], width, call.priority, on_ticket)
        params = params.for_reduced(size, (small.width, small.height))
        call = replace(call, files={**call.files, "image": small.content})
    result = await unbilled.run(services, replace(call, params=params), on_progress, on_ticket)
    return await mark(services, result, call.source_id, call.priority, on_ticket)


async def reduce(
    services: Services,
    image_id: str,
    content: bytes,
    width: int,
    priority: Priority,
    on_ticket: OnTicket | None = None,
) -> ToolAnswer:
    """The image at the width of its preview, as a PNG."""
    params = RenditionParams(width=width, format="png")
    call = UnbilledCall(rendition.TOOL, params, {"image": content}, image_id, priority)
    return await unbilled.run(services, call, on_ticket=on_ticket)


async def mark(
    services: Services,
    result: ToolAnswer,
    image_id: str,
    priority: Priority,
    on_ticket: OnTicket | None = None,
) -> MadePreview:
    """`result` with the mark, at most `LONGEST_SIDE` pixels a side. `image_id`: of its source."""
    params = PreviewMarkParams(side=LONGEST_SIDE, text=_TEXT, format="png")
    call = UnbilledCall(preview_mark.TOOL, params, {"image": result.content}, image_id, priority)
    marked = await unbilled.run(services, call, on_ticket=on_ticket)
    answer = replace(
        result, content=marked.content, format=marked.format, width=marked.width, height=marked.height
    )
    return MadePreview(answer, result.content, marked.fields["mark_box"])


async def keep_cutout(services: Services, owner: ProjectOwner, image_id: str, made: MadePreview) -> bool:
    """Keep the cut-out without its mark for looks of it; whether there was room."""
    room_bytes = services.guests_storage_bytes if owner.is_guest else None
    await images.keep_artefacts(services, image_id, {_CUTOUT: made.unmarked}, room_bytes=room_bytes)
    return await _read_cutout(services, image_id) is not None


async def read_cutout(services: Services, image_id: str) -> bytes:
    """The cut-out of a preview without its mark, never to be answered. Raises `NotFound`."""
    content = await _read_cutout(services, image_id)
    if content is None:
        raise NotFound("No such image.")
    return content


async def _read_cutout(services: Services, image_id: str) -> bytes | None:
    return await images.read_artefact(services, image_id, _CUTOUT)


def origin(
    source: Step,
    made: MadePreview,
    tool: Tool,
    request: Mapping[str, Any],
    width: int,
    *,
    has_layers: bool,
) -> dict[str, Any]:
    """What is stored with a preview: its photo, the photo's width in it, and what made it.

    `request`: `params` and `selection` of the run on the photo, so that an account can repeat it at full
    size. It is stored as null if it is too long to be read with every step.
    """
    carried = origin_of(source)
    if source.is_preview and carried is not None:
        return {**carried, "markBox": made.mark_box}
    most = _REQUEST_WITH_LAYERS_CHARACTERS if has_layers else _REQUEST_CHARACTERS
    selected: Mapping[str, str] = {} if request["selection"] is None else request["selection"]["params"]
    characters = sum(map(len, (*request["params"].values(), *selected.values())))
    return {
        "photoId": source.image_id,
        "width": width,
        "markBox": made.mark_box,
        "request": {"tool": tool.name, **request} if characters <= most else None,
    }


def origin_of(step: Step) -> dict[str, Any] | None:
    """What `origin` stored with a preview; None for other steps and older previews."""
    stored: dict[str, Any] | None = json.loads(step.answer).get(ORIGIN) if step.is_preview else None
    return stored
