"""Executes a run: applies a tool to a step, billed by `api.calls` or free, and stores the resulting step."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlmodel import Session

from api import response_bodies
from api.calls import idempotency, unbilled
from api.calls import service as calls
from api.calls.in_flight import CallWaiter
from api.calls.types import CallFailed, CallRequest, CallResult
from api.editor import (
    cropping,
    guest_previews,
    looks,
    pricing,
    projects,
    rendering,
    run_names,
    selections,
    shared_runs,
    unbilled_images,
)
from api.editor import layers as layers_module
from api.editor.guest_previews import MadePreview
from api.editor.layers import Layers, layers_of
from api.editor.models import Step
from api.editor.owners import ProjectOwner
from api.editor.projects import NewStep
from api.editor.run import Run, RunFailed
from api.editor.run_requests import RunRequest
from api.editor.runs import Done
from api.errors import IdempotencyInProgress, NotFound
from api.images import service as images
from api.services import Services
from billing.identifiers import new_id
from ml.backend import Progress, Ticket
from ml.errors import Cancelled
from ml.params import Params
from ml.tools import crop

_IMAGE, _ORIGINAL = "image", "original"
#: Parameters of bg-removal that its cut-out is made with; all others belong to the look.
_CUTOUT_PARAMS = ("model", "roi")
#: Longer parameters (a brush's strokes) and answer fields (run lengths) are not stored with the step: every
#: request for the project would parse them, and they do not count towards a storage quota.
KEPT_CHARACTERS = 4 * 1024
_ELSEWHERE_POLL_SECONDS = 1.0
_URLS = frozenset({"imageUrl", "expiresAt", "creditsCharged", "creditsRemaining"})


async def execute(services: Services, owner: ProjectOwner, run_request: RunRequest, run: Run) -> Done:
    """Run the admitted work and add its step. Raises what the work raises, and `RunFailed`."""
    await _check_not_refused(services, run_request, run)
    if run_request.is_look:
        look = await looks.add_look(
            services, owner, run_request.project, run_request.source, run_request.form
        )
        return Done(look.step, 0)
    layers = layers_of(run_request.source)
    if layers is not None and run_request.tool is crop.TOOL:
        return await _execute_crop(services, owner, run_request, layers, run)
    work = await _prepare(services, owner, run_request, run)
    if run_request.is_billed_to(owner):
        return await _execute_billed(services, owner, work, run)
    await unbilled_images.require_room(services, owner)
    return await _execute_unbilled(services, owner, work, run)


async def _check_not_refused(services: Services, run_request: RunRequest, run: Run) -> None:
    """Stop a run whose key was refused after its request was admitted. Raises `Cancelled`."""
    project_id, key = run_request.project.id, run_request.run_key
    if await services.database.read(lambda session: shared_runs.is_refused(session, project_id, key)):
        run.cancel()
    if run.is_stopped:
        raise Cancelled("The run was stopped.")


@dataclass(frozen=True)
class _Work:
    """A run with everything that its call needs. `layers`: of its step, but for the cut-out it makes."""

    request: RunRequest
    params: Params
    files: Mapping[str, bytes]
    image_id: str
    layers: Layers | None
    makes_cutout: bool


async def _prepare(services: Services, owner: ProjectOwner, run_request: RunRequest, run: Run) -> _Work:
    """Read the run's images, draw the look that the tool acts on, find its selection."""
    layers = layers_of(run_request.source)
    tool = run_request.tool.name
    makes_cutout = tool == pricing.CUTOUT_TOOL or run_request.form.get("output") == "cutout"
    makes_cutout = makes_cutout and run_request.form.get("channels", "rgba") == "rgba"
    reporter = _progress_reporter(run)
    if layers is not None and tool == "magic-select":
        image_id = layers.photo_id  # whose objects may be missing in the cut-out
    elif layers is not None and tool == "brush":
        image_id = layers.cutout_id
        makes_cutout = True
    else:
        source = await rendering.ensure_rendered(
            services, owner, run_request.project, run_request.source, reporter, _stopper(run)
        )
        image_id, layers = source.image_id, None
    files = await _files(services, owner, run_request, image_id, layers)
    params = await images.with_mask_mode(services, owner.account_id, run_request.params, run_request.file_ids)
    selection = run_request.selection
    if run_request.is_new_preview and selection is None:
        selection, params = selections.of_marks(tool, params, image_id)
    if selection is not None:
        files[selections.MASK] = await selections.find_mask(
            services, owner, selection, reporter, _stopper(run), is_preview=run_request.is_preview
        )
        params = params.model_copy(update={"mask_mode": "luminance"})
    if not makes_cutout:
        return _Work(run_request, params, files, image_id, None, makes_cutout=False)
    if layers is None:
        look = layers_module.look_of(run_request.form) if tool == pricing.CUTOUT_TOOL else {}
        if run_request.is_preview:  # whose cut-out has no pixels beyond the region either
            look.pop("roi", None)
        layers = Layers("", image_id, 0, 0, look)
        await rendering.check_background(services, owner, run_request.project, layers)
    if tool == pricing.CUTOUT_TOOL:
        params, files = _without_look(params), {_IMAGE: files[_IMAGE]}
    return _Work(run_request, params, files, image_id, layers, makes_cutout=True)


def _without_look(params: Params) -> Params:
    """The parameters that the cut-out itself is made with."""
    kept = {name: getattr(params, name) for name in _CUTOUT_PARAMS}
    return type(params).model_validate({**kept, "format": "png"})


async def _execute_billed(services: Services, owner: ProjectOwner, work: _Work, run: Run) -> Done:
    run_request = work.request
    waiter = CallWaiter()
    _stop_by(run, waiter.stop)
    call = CallRequest(
        request_id=new_id("req"),
        account_id=owner.account_id,
        person_id=owner.person_id,
        priority=owner.priority,
        tool=run_request.tool,
        params=work.params,
        files=work.files,
        base_url=run_request.base_url,
        idempotency_key=run_names.idempotency_key(run_request.project.id, run_request.run_key),
        source_id=work.image_id,
    )
    answer = await _answer(services, call, waiter, run)
    if answer.error is not None:
        raise RunFailed(answer.status, answer.error)
    data = answer.data or {}
    made = _new_step(
        work,
        image_id=data["imageId"],
        width=data["width"],
        height=data["height"],
        format=data["format"],
        answer={name: value for name, value in data.items() if name not in _URLS},
    )
    step = await _record(services, owner, run_request, made, is_charged=True)
    if call.is_random:
        await calls.mark_delivered(services, answer)
    return Done(step, answer.account_status.credits_charged)


async def _answer(services: Services, call: CallRequest, waiter: CallWaiter, run: Run) -> CallResult:
    """The answer of a billed call.

    If another process is making the same run, this waits until that one has ended or its lease has lapsed.
    """
    key = call.idempotency_key
    assert key is not None
    while True:
        is_elsewhere = await services.database.read(
            lambda session: idempotency.is_key_running(session, call.account_id, key, services.clock())
        )
        if run.is_stopped:
            raise Cancelled("The run was stopped.")
        if not is_elsewhere:
            try:
                return await calls.run(services, call, _progress_reporter(run), waiter)
            except CallFailed as failed:
                if not isinstance(failed.error, IdempotencyInProgress):
                    raise failed.error from None
        await asyncio.sleep(_ELSEWHERE_POLL_SECONDS)


async def _execute_unbilled(services: Services, owner: ProjectOwner, work: _Work, run: Run) -> Done:
    run_request = work.request
    call = unbilled.UnbilledCall(run_request.tool, work.params, work.files, work.image_id, owner.priority)
    preview = None
    if run_request.is_preview:
        preview = await guest_previews.make(
            services, call, run_request.source, _progress_reporter(run), _stopper(run)
        )
        answer = preview.answer
    else:
        answer = await unbilled.run(services, call, _progress_reporter(run), on_ticket=_stopper(run))
    if run.is_stopped:
        raise Cancelled("The run was stopped.")
    stored = await unbilled_images.store_result(services, owner, answer)
    data = response_bodies.picture_data(answer, stored.id)
    if preview is not None:
        has_room = await guest_previews.keep_cutout(services, owner, stored.id, preview) if work.layers else 0
        if not has_room:
            work = replace(work, layers=None)
        data[guest_previews.ORIGIN] = _origin(work, preview)
    made = _new_step(
        work,
        image_id=stored.id,
        width=answer.width,
        height=answer.height,
        format=answer.format,
        answer=data,
    )
    return Done(await _record(services, owner, run_request, made), 0)


async def _execute_crop(
    services: Services, owner: ProjectOwner, run_request: RunRequest, layers: Layers, run: Run
) -> Done:
    """Crop the layers of a cut-out, which is free."""
    await unbilled_images.require_room(services, owner)
    cropped = await cropping.crop_layers(
        services,
        owner,
        run_request.project,
        layers,
        run_request.params,
        _progress_reporter(run),
        _stopper(run),
    )
    if run.is_stopped:
        await unbilled_images.delete(services, cropped.image_ids)
        raise Cancelled("The run was stopped.")
    made = replace(
        cropped.step,
        params=_kept_params(run_request),
        parent_id=run_request.source.id,
        run_key=run_request.run_key,
    )
    return Done(await _record(services, owner, run_request, made, cropped.image_ids), 0)


def _kept_params(run_request: RunRequest) -> dict[str, str]:
    return {name: text for name, text in run_request.form.items() if len(text) <= KEPT_CHARACTERS}


def _new_step(
    work: _Work,
    *,
    image_id: str,
    width: int,
    height: int,
    format: str,
    answer: Mapping[str, Any],
) -> NewStep:
    run_request = work.request
    selects = run_request.tool.name == "magic-select"
    layers = None
    if work.layers is not None:
        layers = replace(work.layers, cutout_id=image_id, width=width, height=height)
    return NewStep(
        image_id=image_id,
        width=width,
        height=height,
        format=format,
        tool=run_request.tool.name,
        params=_kept_params(run_request),
        answer={name: value for name, value in answer.items() if _is_kept(name, value)},
        parent_id=run_request.source.id,
        is_mask=selects and run_request.form.get("output") != "cutout",
        is_preview=run_request.is_preview,
        run_key=run_request.run_key,
        layers=layers,
        is_rendered=layers is None or layers.is_plain,
    )


def _is_kept(name: str, value: Any) -> bool:
    return name == guest_previews.ORIGIN or len(json.dumps(value)) <= KEPT_CHARACTERS


def _origin(work: _Work, preview: MadePreview) -> dict[str, Any]:
    """What a preview's step says of how it was made."""
    run_request = work.request
    source = run_request.source
    selection = run_request.selection
    request: dict[str, Any] = {
        "params": dict(run_request.form),
        "selection": selection and {"stepId": selection.step_id, "params": dict(selection.form)},
    }
    width, _ = guest_previews.reduced_size(run_request.tool, work.params, (source.width, source.height))
    return guest_previews.origin(
        source, preview, run_request.tool, request, width, has_layers=work.layers is not None
    )


async def _record(
    services: Services,
    owner: ProjectOwner,
    run_request: RunRequest,
    made: NewStep,
    image_ids: list[str] | None = None,
    *,
    is_charged: bool = False,
) -> Step:
    """Store the run's step. `image_ids`: all images that the run has made, if they are several.

    Raises `Cancelled` if an unbilled run was cancelled at another process meanwhile.
    """
    now = services.clock()

    def record(session: Session) -> Step:
        project = projects.lock(session, projects.find(session, owner, run_request.project.id, now))
        existing = projects.step_of_run(session, project, run_request.run_key)
        if existing is not None:  # added by another process; this call was a replay
            return existing
        if not is_charged and shared_runs.is_refused(session, project.id, run_request.run_key):
            raise Cancelled("The run was stopped.")
        return projects.add_step(session, project, made, now, services.retention)

    try:
        return await services.database.run(record)
    except (NotFound, Cancelled):  # the project was deleted meanwhile, or the run cancelled
        await unbilled_images.delete(services, image_ids or [made.image_id])
        raise


async def _files(
    services: Services, owner: ProjectOwner, run_request: RunRequest, image_id: str, layers: Layers | None
) -> dict[str, bytes]:
    """Read the run's images.

    Raises `NotFound` for others' images, for those of previews, for guests also for other projects'.
    """
    file_ids = dict(run_request.file_ids)
    restores = layers is not None and getattr(run_request.params, "op", None) == "restore"
    if restores:
        file_ids.pop(_ORIGINAL, None)
    own: set[str] = set()

    def check(session: Session) -> None:
        for file_id in file_ids.values():
            guest_previews.refuse_as_file(session, owner, file_id)
        if owner.is_guest:
            own.update(step.image_id for step in projects.steps_of(session, run_request.project))

    if file_ids:
        await services.database.read(check)
    files = {_IMAGE: await unbilled_images.read(services, image_id)}
    if layers is not None and restores:
        files[_ORIGINAL] = await unbilled_images.read(services, layers.photo_id)
    if layers is not None and run_request.source.is_preview:
        files[_IMAGE] = await guest_previews.read_cutout(services, image_id)
        if restores:
            small = await guest_previews.reduce(
                services, layers.photo_id, files[_ORIGINAL], layers.width, owner.priority
            )
            files[_ORIGINAL] = small.content
    for name, file_id in file_ids.items():
        if owner.is_guest and file_id not in own:
            raise NotFound("No such image in this project.")
        files[name] = await images.read_for_call(services, owner.account_id, file_id)
    return files


def _progress_reporter(run: Run) -> Callable[[Progress], None]:
    """A callback that updates the run from the backend's threads."""
    loop = asyncio.get_running_loop()
    return lambda progress: _report_progress(loop, run, progress)


def _report_progress(loop: asyncio.AbstractEventLoop, run: Run, progress: Progress) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(run.progressed, progress)


def _stopper(run: Run) -> Callable[[Ticket], None]:
    """A callback that lets the run be stopped by cancelling a ticket."""
    return lambda ticket: _stop_by(run, ticket.cancel)


def _stop_by(run: Run, stop: Callable[[], object]) -> None:
    run.stop = stop
    if run.is_stopped:
        stop()
