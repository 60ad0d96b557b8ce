"""A tool applied to a step: the work of a run, paid through `api.calls` or free, and the step it makes."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlmodel import Session

from api import response_bodies
from api.calls import service as calls
from api.calls import unbilled
from api.calls.account_status import AccountStatus
from api.calls.in_flight import CallWaiter
from api.calls.types import CallRequest
from api.editor import pricing, projects, unbilled_images
from api.editor.models import Project, Step
from api.editor.owners import ProjectOwner
from api.editor.projects import NewStep
from api.editor.runs import Done, Run, RunFailed
from api.errors import Forbidden, InvalidParameter, NotFound
from api.images import service as images
from api.services import Services
from billing.identifiers import new_id
from ml.backend import Progress
from ml.errors import Cancelled
from ml.params import Params
from ml.tool import Tool

SIGN_UP = "Sign up to work on your own pictures. It is free, and this picture will be there."
_IMAGE = "image"
_URLS = frozenset({"imageUrl", "expiresAt", "creditsCharged", "creditsRemaining"})


@dataclass(frozen=True)
class RunRequest:
    """What is applied to what. `form` is what was sent: texts, and ids of stored pictures for files."""

    project: Project
    source: Step
    tool: Tool
    params: Params
    form: Mapping[str, str]
    file_ids: Mapping[str, str]  # stored pictures by the form name of the file that each stands for
    run_key: str
    base_url: str
    #: The paid cut-out whose look this changes.
    look_of: Step | None = None


def check_guest(owner: ProjectOwner, project: Project) -> None:
    """Raises `Forbidden` for a guest's own picture: guests work on our samples only."""
    if owner.is_guest and not pricing.is_free_for_guests(project, owner):
        raise Forbidden(SIGN_UP)


def check_look(application: RunRequest) -> None:
    """Raises `InvalidParameter` for what is no mere change of look."""
    paid = application.look_of
    if paid is not None and not pricing.only_changes_the_look(
        paid,
        application.form,
        source=application.source,
        tool=application.tool.name,
        paid_params=json.loads(paid.params),
    ):
        raise InvalidParameter("lookOf", "This is more than another look of that step.")


async def execute(services: Services, owner: ProjectOwner, application: RunRequest, run: Run) -> Done:
    """Do the work, which was admitted, and add its step. Raises what the work raises, and `RunFailed`."""
    files = await _files(services, owner, application)
    params = await images.with_mask_mode(services, owner.account_id, application.params, application.file_ids)
    application = replace(application, params=params)
    if application.look_of is None and not owner.is_guest:
        return await _paid(services, owner, application, files, run)
    await unbilled_images.require_room(services, owner)
    return await _free(services, owner, application, files, run)


async def _paid(
    services: Services, owner: ProjectOwner, application: RunRequest, files: Mapping[str, bytes], run: Run
) -> Done:
    presence = CallWaiter()
    _stop_by(run, presence.stop)
    call = CallRequest(
        request_id=new_id("req"),
        account_id=owner.account_id,
        priority=owner.priority,
        tool=application.tool,
        params=application.params,
        files=files,
        base_url=application.base_url,
        idempotency_key=f"editor:{application.project.id}:{application.run_key}",
        source_id=application.source.image_id,
    )
    standing = AccountStatus()
    answer = await calls.run(services, call, standing, _teller(run), presence)
    body = json.loads(answer.body)
    if answer.image_id is None:
        raise RunFailed(answer.status_code, body["error"])
    data = body["data"]
    made = _new_step(
        application,
        image_id=data["imageId"],
        width=data["width"],
        height=data["height"],
        format=data["format"],
        answer={name: value for name, value in data.items() if name not in _URLS},
    )
    step = await _record(services, owner, application, made)
    if call.is_random:
        await calls.mark_delivered(services, answer)
    return Done(step, standing.credits_charged)


async def _free(
    services: Services, owner: ProjectOwner, application: RunRequest, files: Mapping[str, bytes], run: Run
) -> Done:
    work = unbilled.UnbilledCall(
        application.tool, application.params, files, application.source.image_id, owner.priority
    )
    answer = await unbilled.run(
        services, work, _teller(run), on_ticket=lambda ticket: _stop_by(run, ticket.cancel)
    )
    if run.is_stopped:
        raise Cancelled("The run was stopped.")
    stored = await unbilled_images.store_result(services, owner, answer)
    made = _new_step(
        application,
        image_id=stored.id,
        width=answer.width,
        height=answer.height,
        format=answer.format,
        answer=response_bodies.picture_data(answer, stored.id),
    )
    return Done(await _record(services, owner, application, made), 0)


def _new_step(
    application: RunRequest,
    *,
    image_id: str,
    width: int,
    height: int,
    format: str,
    answer: Mapping[str, Any],
) -> NewStep:
    selects = application.tool.name == "magic-select"
    return NewStep(
        image_id=image_id,
        width=width,
        height=height,
        format=format,
        tool=application.tool.name,
        params=application.form,
        answer=answer,
        parent_id=application.source.id,
        is_mask=selects and application.form.get("output") != "cutout",
        is_paid=True,
        run_key=application.run_key,
    )


async def _record(services: Services, owner: ProjectOwner, application: RunRequest, made: NewStep) -> Step:
    """The run's step. A cut-out's new look takes the place of the old one where nothing builds on it yet."""
    now = services.clock()
    replaced: list[str] = []

    def record(session: Session) -> Step:
        replaced.clear()
        project = projects.lock(session, projects.find(session, owner, application.project.id, now))
        made_before = projects.step_of_run(session, project, application.run_key)
        if made_before is not None:  # by another process, of which the call's answer is a replay
            return made_before
        if application.look_of is not None:
            looked = projects.step_of(session, project, application.look_of.id)
            if not projects.has_children(session, looked):
                replaced.append(looked.image_id)
                return projects.change_look(session, project, looked, made, now, services.retention)
        return projects.add_step(session, project, made, now, services.retention)

    try:
        step = await services.database.run(record)
    except NotFound:  # the project was deleted meanwhile
        await unbilled_images.delete(services, [made.image_id])
        raise
    await unbilled_images.delete(services, replaced)
    return step


async def _files(services: Services, owner: ProjectOwner, application: RunRequest) -> dict[str, bytes]:
    """Raises `NotFound` for pictures of others; a guest's must be of the same project."""
    own: set[str] = set()
    if owner.is_guest and application.file_ids:
        steps = await services.database.read(lambda session: projects.steps_of(session, application.project))
        own = {step.image_id for step in steps}
    files = {_IMAGE: await unbilled_images.read(services, application.source.image_id)}
    for name, image_id in application.file_ids.items():
        if owner.is_guest and image_id not in own:
            raise NotFound("No such picture in this project.")
        files[name] = await images.read_for_call(services, owner.account_id, image_id)
    return files


def _teller(run: Run) -> Callable[[Progress], None]:
    """Tells the run from the backend's threads."""
    loop = asyncio.get_running_loop()
    return lambda progress: _quietly(loop, run, progress)


def _quietly(loop: asyncio.AbstractEventLoop, run: Run, progress: Progress) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(run.progressed, progress)


def _stop_by(run: Run, stop: Callable[[], None]) -> None:
    run.stop = stop
    if run.is_stopped:
        stop()
