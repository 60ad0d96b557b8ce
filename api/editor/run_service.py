"""Executes a run: applies a tool to a step, billed by `api.calls` or free, and stores the resulting step."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlmodel import Session

from api import response_bodies
from api.calls import service as calls
from api.calls import unbilled
from api.calls.in_flight import CallWaiter
from api.calls.types import CallFailed, CallRequest
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

SIGN_UP = "Sign up to edit your own images. It is free, and this image is kept."
_IMAGE = "image"
#: Longer parameters (a brush's strokes) and answer fields (run lengths) are not stored with the step: every
#: request for the project would parse them, and they do not count towards a storage quota.
KEPT_CHARACTERS = 4 * 1024
_URLS = frozenset({"imageUrl", "expiresAt", "creditsCharged", "creditsRemaining"})


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
    #: The paid cut-out whose look this run changes.
    look_of: Step | None = None

    def is_billed_to(self, owner: ProjectOwner) -> bool:
        """Whether this costs the owner a credit. Guests run free tools on samples."""
        is_free = self.look_of is not None or pricing.is_free_edit(self.tool.name, self.params)
        return not (is_free or owner.is_guest)


def check_guest(owner: ProjectOwner, project: Project) -> None:
    """Raises `Forbidden` for a guest's own image: guests may edit samples only."""
    if owner.is_guest and not pricing.is_free_for_guests(project, owner):
        raise Forbidden(SIGN_UP)


def check_look(run_request: RunRequest) -> None:
    """Raises `InvalidParameter` if the run changes more than the look."""
    paid = run_request.look_of
    if paid is not None and not pricing.only_changes_the_look(
        paid,
        run_request.form,
        source=run_request.source,
        tool=run_request.tool.name,
        paid_params=json.loads(paid.params),
    ):
        raise InvalidParameter("lookOf", "These parameters change more than the look of that step.")


async def execute(services: Services, owner: ProjectOwner, run_request: RunRequest, run: Run) -> Done:
    """Run the admitted work and add its step. Raises what the work raises, and `RunFailed`."""
    files = await _files(services, owner, run_request)
    params = await images.with_mask_mode(services, owner.account_id, run_request.params, run_request.file_ids)
    run_request = replace(run_request, params=params)
    if run_request.is_billed_to(owner):
        return await _execute_billed(services, owner, run_request, files, run)
    await unbilled_images.require_room(services, owner)
    return await _execute_unbilled(services, owner, run_request, files, run)


async def _execute_billed(
    services: Services, owner: ProjectOwner, run_request: RunRequest, files: Mapping[str, bytes], run: Run
) -> Done:
    waiter = CallWaiter()
    _stop_by(run, waiter.stop)
    call = CallRequest(
        request_id=new_id("req"),
        account_id=owner.account_id,
        priority=owner.priority,
        tool=run_request.tool,
        params=run_request.params,
        files=files,
        base_url=run_request.base_url,
        idempotency_key=f"editor:{run_request.project.id}:{run_request.run_key}",
        source_id=run_request.source.image_id,
    )
    try:
        answer = await calls.run(services, call, _progress_reporter(run), waiter)
    except CallFailed as failed:
        raise failed.error from None
    if answer.error is not None:
        raise RunFailed(answer.status, answer.error)
    data = answer.data or {}
    made = _new_step(
        run_request,
        image_id=data["imageId"],
        width=data["width"],
        height=data["height"],
        format=data["format"],
        answer={name: value for name, value in data.items() if name not in _URLS},
    )
    step = await _record(services, owner, run_request, made)
    if call.is_random:
        await calls.mark_delivered(services, answer)
    return Done(step, answer.account_status.credits_charged)


async def _execute_unbilled(
    services: Services, owner: ProjectOwner, run_request: RunRequest, files: Mapping[str, bytes], run: Run
) -> Done:
    work = unbilled.UnbilledCall(
        run_request.tool, run_request.params, files, run_request.source.image_id, owner.priority
    )
    answer = await unbilled.run(
        services, work, _progress_reporter(run), on_ticket=lambda ticket: _stop_by(run, ticket.cancel)
    )
    if run.is_stopped:
        raise Cancelled("The run was stopped.")
    stored = await unbilled_images.store_result(services, owner, answer)
    made = _new_step(
        run_request,
        image_id=stored.id,
        width=answer.width,
        height=answer.height,
        format=answer.format,
        answer=response_bodies.picture_data(answer, stored.id),
    )
    return Done(await _record(services, owner, run_request, made), 0)


def _new_step(
    run_request: RunRequest,
    *,
    image_id: str,
    width: int,
    height: int,
    format: str,
    answer: Mapping[str, Any],
) -> NewStep:
    selects = run_request.tool.name == "magic-select"
    return NewStep(
        image_id=image_id,
        width=width,
        height=height,
        format=format,
        tool=run_request.tool.name,
        params={name: text for name, text in run_request.form.items() if len(text) <= KEPT_CHARACTERS},
        answer={name: value for name, value in answer.items() if len(json.dumps(value)) <= KEPT_CHARACTERS},
        parent_id=run_request.source.id,
        is_mask=selects and run_request.form.get("output") != "cutout",
        run_key=run_request.run_key,
    )


async def _record(services: Services, owner: ProjectOwner, run_request: RunRequest, made: NewStep) -> Step:
    """Store the run's step. A new look replaces the cut-out's step unless that has children."""
    now = services.clock()
    replaced: list[str] = []

    def record(session: Session) -> Step:
        replaced.clear()
        project = projects.lock(session, projects.find(session, owner, run_request.project.id, now))
        existing = projects.step_of_run(session, project, run_request.run_key)
        if existing is not None:  # added by another process; this call was a replay
            return existing
        if run_request.look_of is not None:
            cutout_step = projects.step_of(session, project, run_request.look_of.id)
            if not projects.has_children(session, cutout_step):
                replaced.append(cutout_step.image_id)
                return projects.change_look(session, project, cutout_step, made, now, services.retention)
        return projects.add_step(session, project, made, now, services.retention)

    try:
        step = await services.database.run(record)
    except NotFound:  # the project was deleted meanwhile
        await unbilled_images.delete(services, [made.image_id])
        raise
    await unbilled_images.delete(services, replaced)
    return step


async def _files(services: Services, owner: ProjectOwner, run_request: RunRequest) -> dict[str, bytes]:
    """Read the run's images. Raises `NotFound` for others' images, for guests also for other projects'."""
    own: set[str] = set()
    if owner.is_guest and run_request.file_ids:
        steps = await services.database.read(lambda session: projects.steps_of(session, run_request.project))
        own = {step.image_id for step in steps}
    files = {_IMAGE: await unbilled_images.read(services, run_request.source.image_id)}
    for name, image_id in run_request.file_ids.items():
        if owner.is_guest and image_id not in own:
            raise NotFound("No such image in this project.")
        files[name] = await images.read_for_call(services, owner.account_id, image_id)
    return files


def _progress_reporter(run: Run) -> Callable[[Progress], None]:
    """A callback that updates the run from the backend's threads."""
    loop = asyncio.get_running_loop()
    return lambda progress: _report_progress(loop, run, progress)


def _report_progress(loop: asyncio.AbstractEventLoop, run: Run, progress: Progress) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(run.progressed, progress)


def _stop_by(run: Run, stop: Callable[[], None]) -> None:
    run.stop = stop
    if run.is_stopped:
        stop()
