"""Free previews for guests: what a tool makes of their own photo, small and marked.

The source is reduced before the tool runs, so no larger result exists anywhere. A preview has no layers:
nothing can be drawn from it at full size. An account applies the tool to the photo itself, for a credit.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from sqlmodel import Session

from api.auth import throttle
from api.auth.throttle import Limit
from api.calls import unbilled
from api.calls.tool_runner import OnProgress
from api.calls.unbilled import UnbilledCall
from api.editor import projects
from api.editor.models import Project, Step
from api.editor.owners import ProjectOwner
from api.errors import Forbidden, InvalidParameter, RateLimited
from api.services import Services
from ml.backend import Ticket, ToolAnswer
from ml.tools import preview_mark, rendition
from ml.tools.preview_mark import PreviewMarkParams
from ml.tools.rendition import RenditionParams

LONGEST_SIDE = 1024
#: Tools whose parameters do not depend on pixels of the photo, which the reduced one does not have.
TOOLS = frozenset({"bg-removal"})
#: Of one network address.
LIMIT = Limit(5, timedelta(days=1))

_TEXT = "Preview · bgeraser"
_OTHER_TOOLS = "Sign up to use this tool on your own images. It is free, and this image is kept."


def are_for(owner: ProjectOwner, project: Project) -> bool:
    """Whether the owner gets previews here instead of results."""
    return owner.is_guest and project.sample is None


def check_tool(tool_name: str) -> None:
    """Raises `Forbidden` for tools without previews."""
    if tool_name not in TOOLS:
        raise Forbidden(_OTHER_TOOLS)


def source_of(session: Session, project: Project, step_id: str, tool_name: str) -> Step:
    """The step that a tool is applied to: instead of a preview, the photo that it was made from.

    Raises `NotFound`; `InvalidParameter` for tools whose parameters would be meant for the preview's pixels.
    """
    step = projects.step_of(session, project, step_id)
    if step.is_preview and tool_name not in TOOLS:
        raise InvalidParameter("stepId", "This is a preview. Choose the photo in the history first.")
    while step.is_preview and step.parent_id is not None:
        step = projects.step_of(session, project, step.parent_id)
    return step


async def take(services: Services, address: str) -> None:
    """Take one of the network's previews. Raises `RateLimited`."""
    now = services.clock()
    bucket = throttle.by_address("preview", address)
    wait = await services.database.run(lambda session: throttle.take(session, bucket, LIMIT, now))
    if wait is not None:
        raise RateLimited(
            "Your network has had its free previews for now. Sign up to go on: it is free, and this image is"
            " kept.",
            -(-wait // timedelta(seconds=1)),
        )


async def give_back(services: Services, address: str) -> None:
    """Return a preview that was taken and not made."""
    now = services.clock()
    bucket = throttle.by_address("preview", address)
    await services.database.run(lambda session: throttle.give_back(session, bucket, LIMIT, now))


async def make(
    services: Services,
    call: UnbilledCall,
    source: Step,
    on_progress: OnProgress | None = None,
    on_ticket: Callable[[Ticket], None] | None = None,
) -> ToolAnswer:
    """The marked preview of `call` on `source`. Raises any `MlError`."""
    size = (source.width, source.height)
    reduced = preview_mark.reduced_size(size, LONGEST_SIDE)
    shrinking = UnbilledCall(
        rendition.TOOL,
        RenditionParams(width=reduced[0], format="png"),
        {"image": call.files["image"]},
        call.source_id,
        call.priority,
    )
    small = await unbilled.run(services, shrinking, on_ticket=on_ticket)
    params = call.params.for_reduced(size, (small.width, small.height))
    params = params.model_copy(update={"format": "png"})
    working = replace(call, params=params, files={**call.files, "image": small.content})
    result = await unbilled.run(services, working, on_progress, on_ticket)
    marking = replace(
        shrinking,
        tool=preview_mark.TOOL,
        params=PreviewMarkParams(side=LONGEST_SIDE, text=_TEXT),
        files={"image": result.content},
    )
    marked = await unbilled.run(services, marking, on_ticket=on_ticket)
    return replace(
        result, content=marked.content, format=marked.format, width=marked.width, height=marked.height
    )
