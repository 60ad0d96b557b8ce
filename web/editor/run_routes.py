"""`/editor/projects/{id}/runs` and `/overlay`: apply tools, follow and cancel runs, preview selections.

`/expectation` answers how long a run would take; `/encoding` prepares an image for selections.
"""

import base64
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from fastapi import FastAPI, Request
from starlette.responses import Response

from api.calls.unbilled_admission import UnbilledKind
from api.editor import (
    guest_previews,
    overlays,
    pricing,
    projects,
    run_cancellation,
    run_requests,
    run_service,
    selections,
    shared_runs,
)
from api.editor.models import Project
from api.editor.owners import ProjectOwner
from api.editor.run import Run
from api.editor.run_requests import RunRequest
from api.editor.run_states import RunState
from api.editor.runs import Done
from api.editor.selections import ToolSelection, selected_image_id
from api.errors import InvalidParameter
from api.http import dependencies, forms, responses
from api.http.routes.get_and_head import add_get
from ml.catalogue import TOOLS
from ml.tool import Tool
from web.editor import access, schemas
from web.editor.access import EditorServices, EditorServicesDependency, Reader, Writer
from web.editor.project_routes import find_step

_LONG_POLL_SECONDS = 15.0
_KEY_LENGTH_MAX = 64


def add_to(app: FastAPI) -> None:
    prefix = "/editor/projects/{project_id}"
    hidden: dict[str, Any] = {"include_in_schema": False, "response_class": Response}
    app.add_api_route(f"{prefix}/runs", start_run, methods=["POST"], **hidden)
    app.add_api_route(f"{prefix}/runs", cancel_run_of_key, methods=["DELETE"], **hidden)
    add_get(app, f"{prefix}/runs/{{run_id}}", show_run, include_in_schema=False)
    app.add_api_route(f"{prefix}/runs/{{run_id}}", cancel_run, methods=["DELETE"], **hidden)
    app.add_api_route(f"{prefix}/expectation", expect, methods=["POST"], **hidden)
    app.add_api_route(f"{prefix}/encoding", prepare_selection, methods=["POST"], **hidden)
    app.add_api_route(f"{prefix}/overlay", select_overlay, methods=["POST"], **hidden)


async def start_run(
    project_id: str, request: Request, owner: Writer, editor: EditorServicesDependency
) -> Response:
    """Apply a tool to a step. Requests with the same `Idempotency-Key` start only one run."""
    key = forms.idempotency_key(request)
    if key is None or len(key) > _KEY_LENGTH_MAX:
        raise InvalidParameter("Idempotency-Key", "Idempotency-Key must be a string of 1 to 64 characters.")
    services = editor.services
    project = await _find_project(editor, owner, project_id)
    stored_step, elsewhere = await services.database.read(
        lambda session: (
            projects.step_of_run(session, project, key),
            shared_runs.of_key(session, project.id, key, services.clock()),
        )
    )
    run = editor.runs.of_key(project, key)
    if run is None and stored_step is not None:
        run = editor.runs.ended(owner, project, stored_step)
    if run is None and elsewhere is not None:
        return responses.success(request, elsewhere.as_data())
    if run is None:
        run = await _start(request, editor, owner, project, key)
    return responses.success(request, run.state().as_data())


async def _start(
    request: Request, editor: EditorServices, owner: ProjectOwner, project: Project, key: str
) -> Run:
    """Start a run. Unbilled runs are admitted first; those of guests even before the body is read."""
    address = dependencies.address_of(request)
    with ExitStack() as slots:
        if owner.is_guest:
            slots.enter_context(access.admit(request, owner, UnbilledKind.RUN))
        run_request = await _read_run_request(request, editor, owner, project, key)
        run_requests.check_layers(run_request)
        is_billed = run_request.is_billed_to(owner)
        if not owner.is_guest:
            for kind in _unbilled_kinds(run_request, is_billed=is_billed):
                slots.enter_context(access.admit(request, owner, kind))
        now, own_ids = editor.services.clock(), editor.runs.ids_of(project)
        steps = await editor.services.database.read(
            lambda session: (
                projects.count_steps(session, project)
                + shared_runs.count_active(session, project.id, now, except_ids=own_ids)
            )
        )
        projects.require_room(steps)
        takes_preview = run_request.is_new_preview
        if takes_preview:
            await guest_previews.take(editor.services, address)
        # Without an await from here on, so that of two simultaneous requests with one key only one starts.
        existing = editor.runs.of_key(project, key)
        if existing is not None:
            if takes_preview:
                await guest_previews.give_back(editor.services, address)
            return existing
        try:
            projects.require_room(steps + editor.runs.active_in(project))
        except Exception:
            if takes_preview:
                await guest_previews.give_back(editor.services, address)
            raise
        held_slots = slots.pop_all()

    async def work(run: Run) -> Done:
        try:
            with held_slots:
                return await run_service.execute(editor.services, owner, run_request, run)
        except BaseException:
            if takes_preview:
                await guest_previews.give_back(editor.services, address)
            raise

    try:
        run = editor.runs.start(owner, project, key, run_request.tool.name, work, is_billed=is_billed)
    except Exception:
        held_slots.close()
        if takes_preview:
            await guest_previews.give_back(editor.services, address)
        raise
    run.expected_seconds = _expected_seconds(editor, run_request)
    return run


async def expect(
    project_id: str, request: Request, owner: Writer, editor: EditorServicesDependency
) -> Response:
    """How long a run would take on this server; null if that is unknown or the run is impossible."""
    project = await _find_project(editor, owner, project_id)
    try:
        run_request = await _read_run_request(request, editor, owner, project, "")
    except InvalidParameter:  # the panel may ask while its settings are incomplete
        return responses.success(request, {"expectedSeconds": None})
    return responses.success(request, {"expectedSeconds": _expected_seconds(editor, run_request)})


def _expected_seconds(editor: EditorServices, run_request: RunRequest) -> float | None:
    tool, params = run_request.tool, run_request.params
    source = run_request.source.width, run_request.source.height
    if run_request.is_new_preview:
        source = guest_previews.reduced_size(tool, params, source)
    seconds = editor.services.backend.expected_seconds(tool.name, params, source)
    return None if seconds is None else round(seconds, 1)


def _unbilled_kinds(run_request: RunRequest, *, is_billed: bool) -> list[UnbilledKind]:
    """The unbilled work of an account's run, which is limited before it begins."""
    kinds = []
    if run_request.is_look:
        kinds.append(UnbilledKind.LOOK)
    elif not is_billed:
        kinds.append(UnbilledKind.EDIT)
    if run_request.selection is not None:
        kinds.append(UnbilledKind.OVERLAY)
    if run_request.draws_look:
        kinds.append(UnbilledKind.RENDERING)
    return kinds


async def show_run(
    project_id: str,
    run_id: str,
    request: Request,
    owner: Reader,
    editor: EditorServicesDependency,
    seen: int = -1,
) -> Response:
    """The run's progress, and its step once it is done. Waits for a version newer than `seen`."""
    project = await _find_project(editor, owner, project_id)
    following = editor.runs.follow(owner, project, run_id, seen, _LONG_POLL_SECONDS)
    state = await dependencies.while_connected(request, following)
    return await _answer_state(request, owner, editor, project_id, state)


async def _answer_state(
    request: Request, owner: ProjectOwner, editor: EditorServices, project_id: str, state: RunState
) -> Response:
    """A run with its step and the account's balance, as far as it has ended."""
    data = state.as_data()
    if state.step_id is not None:
        _, step = await find_step(editor, owner, project_id, state.step_id)
        data["step"] = schemas.step(editor.services, step)
    if state.has_ended:
        data["creditsAvailable"] = await schemas.credits_available(editor.services, owner)
    return responses.success(request, data)


async def cancel_run(
    project_id: str, run_id: str, request: Request, owner: Writer, editor: EditorServicesDependency
) -> Response:
    """Cancel a run: a queued one at once, a running one at its next checkpoint. It is not charged."""
    project = await _find_project(editor, owner, project_id)
    state = await editor.runs.cancel(owner, project, run_id)
    return responses.success(request, state.as_data())


async def cancel_run_of_key(
    project_id: str, request: Request, owner: Writer, editor: EditorServicesDependency, key: str = ""
) -> Response:
    """Cancel the run with this key, also if the request that starts it has not been received yet.

    It is never charged, unless this answers that it was done before.
    """
    if not 1 <= len(key) <= _KEY_LENGTH_MAX:
        raise InvalidParameter("key", "key must be a string of 1 to 64 characters.")
    project = await _find_project(editor, owner, project_id)
    with ExitStack() as slots:
        if not await run_cancellation.is_known(editor.services, editor.runs, project, key):
            # An unknown key is remembered in rows, which therefore have a rate.
            kind = UnbilledKind.RUN if owner.is_guest else UnbilledKind.EDIT
            slots.enter_context(access.admit(request, owner, kind))
        state = await run_cancellation.cancel(editor.services, editor.runs, owner, project, key)
    return await _answer_state(request, owner, editor, project_id, state)


async def select_overlay(
    project_id: str, request: Request, owner: Writer, editor: EditorServicesDependency
) -> Response:
    """A small mask of what points and a box select, to draw over the image."""
    await _find_project(editor, owner, project_id)
    with access.admit(request, owner, UnbilledKind.OVERLAY):
        body = await access.read_json(request)
        _, step = await find_step(editor, owner, project_id, access.string_field(body, "stepId"))
        guest_previews.require_photo(step)
        params = forms.validated(TOOLS["magic-select"].params, access.string_params(body))
        selecting = overlays.select(editor.services, owner, selected_image_id(step), params)  # type: ignore[arg-type]
        selection = await dependencies.while_connected(request, selecting)
    mask = base64.b64encode(selection.content).decode()
    data = {**overlays.overlay_data(selection), "mask": f"data:image/png;base64,{mask}"}
    return responses.success(request, data)


async def prepare_selection(
    project_id: str, request: Request, owner: Writer, editor: EditorServicesDependency
) -> Response:
    """Encode a step's image before the visitor clicks on it."""
    await _find_project(editor, owner, project_id)
    with access.admit(request, owner, UnbilledKind.OVERLAY):
        body = await access.read_json(request)
        _, step = await find_step(editor, owner, project_id, access.string_field(body, "stepId"))
        guest_previews.require_photo(step)
        await dependencies.while_connected(
            request, overlays.prepare(editor.services, owner, selected_image_id(step))
        )
    return responses.success(request, {"isReady": True})


async def _find_project(editor: EditorServices, owner: ProjectOwner, project_id: str) -> Project:
    """Raises `NotFound`."""
    now = editor.services.clock()
    return await editor.services.database.read(lambda session: projects.find(session, owner, project_id, now))


async def _read_run_request(
    request: Request, editor: EditorServices, owner: ProjectOwner, project: Project, key: str
) -> RunRequest:
    body = await access.read_json(request)
    tool = TOOLS.get(access.string_field(body, "tool"))
    if tool is None:
        raise InvalidParameter("tool", f"tool must be one of {', '.join(TOOLS)}.")
    form = access.string_params(body)
    fields, file_ids = _split_file_ids(tool, form)
    params = forms.validated(tool.params, fields)
    step_id = access.string_field(body, "stepId")
    is_free_edit = body.get("selection") is None and pricing.is_free_edit(tool.name, params)
    source = await editor.services.database.read(
        lambda session: guest_previews.source_of(session, project, step_id, tool, is_free_edit=is_free_edit)
    )
    selection = await _read_selection(body, editor, project, tool, form)
    run_request = RunRequest(
        project=project,
        source=source,
        tool=tool,
        params=params,
        form=form,
        file_ids=file_ids,
        run_key=key,
        base_url=dependencies.public_base_url(request),
        is_preview=source.is_preview,
        selection=selection,
    )
    if guest_previews.are_for(owner, project) and not run_request.is_free_edit:
        run_request = replace(run_request, is_preview=True)
    if run_request.is_new_preview:
        guest_previews.check(tool, params, source)
    return run_request


async def _read_selection(
    body: dict[str, Any], editor: EditorServices, project: Project, tool: Tool, form: dict[str, str]
) -> ToolSelection | None:
    """The body's `selection`: `{"stepId", "params"}`, of magic-select; its mask is that of the tool."""
    selection = body.get("selection")
    if selection is None:
        return None
    if not isinstance(selection, dict):
        raise InvalidParameter("selection", "selection must be an object.")
    if tool.name not in selections.MASKED_TOOLS or f"{selections.MASK}_id" in form:
        raise InvalidParameter("selection", "selection is for tools with a mask, instead of mask_id.")
    params = forms.validated(TOOLS["magic-select"].params, access.string_params(selection))
    step_id = access.string_field(selection, "stepId")
    step = await editor.services.database.read(lambda session: projects.step_of(session, project, step_id))
    guest_previews.require_photo(step)
    return ToolSelection(params, selected_image_id(step), step_id, access.string_params(selection))  # type: ignore[arg-type]


def _split_file_ids(tool: Tool, form: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Split a form into parameters and the ids of stored images by the name of the file that each replaces.

    The editor sends no files. The id of a file without an `id_field` is sent as `<file>_id`.
    """
    id_fields = {field.id_field or f"{field.name}_id": field.name for field in tool.files}
    file_ids = {id_fields[name]: value for name, value in form.items() if name in id_fields}
    return {name: value for name, value in form.items() if name not in id_fields}, file_ids
