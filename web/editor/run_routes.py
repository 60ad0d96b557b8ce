"""`/editor/projects/{id}/runs` and `/overlay`: apply a tool, watch it, stop it; see what clicks select."""

import base64
from contextlib import ExitStack
from typing import Any

from fastapi import FastAPI, Request
from sqlmodel import Session
from starlette.responses import Response

from api.calls.unbilled_admission import UnbilledKind
from api.editor import overlays, projects, run_service
from api.editor.models import Project, Step
from api.editor.owners import ProjectOwner
from api.editor.run_service import RunRequest
from api.editor.runs import Done, Run
from api.errors import InvalidParameter
from api.http import dependencies, forms, responses
from api.http.routes.get_and_head import add_get
from ml.catalogue import TOOLS
from ml.tool import Tool
from web.editor import access, schemas
from web.editor.access import EditorServices, EditorServicesDependency, Reader, Writer
from web.editor.project_routes import found_step

_LONGEST_WAIT_SECONDS = 15.0


def add_to(app: FastAPI) -> None:
    place = "/editor/projects/{project_id}"
    hidden: dict[str, Any] = {"include_in_schema": False, "response_class": Response}
    app.add_api_route(f"{place}/runs", start, methods=["POST"], **hidden)
    add_get(app, f"{place}/runs/{{run_id}}", watch, include_in_schema=False)
    app.add_api_route(f"{place}/runs/{{run_id}}", cancel, methods=["DELETE"], **hidden)
    app.add_api_route(f"{place}/overlay", overlay, methods=["POST"], **hidden)


async def start(project_id: str, request: Request, owner: Writer, desk: EditorServicesDependency) -> Response:
    """Apply a tool to a step. The header `Idempotency-Key` names the run: asked twice, it runs once."""
    key = forms.idempotency_key(request)
    if key is None or len(key) > 64:
        raise InvalidParameter("Idempotency-Key", "A run needs a key of 1 to 64 characters.")
    services = desk.services
    project = await _project(desk, owner, project_id)
    made = await services.database.read(lambda session: projects.step_of_run(session, project, key))
    known = desk.runs.of_key(project, key)
    if known is None and made is not None:
        known = desk.runs.ended(owner, project, made)
    if known is None:
        known = await _start(request, desk, owner, project, key)
    return responses.success(request, schemas.run(known))


async def _start(
    request: Request, desk: EditorServices, owner: ProjectOwner, project: Project, key: str
) -> Run:
    """A new run. What is unbilled is admitted before anything of it is done, of guests before it is read."""
    with ExitStack() as places:
        if owner.is_guest:
            run_service.check_guest(owner, project)
            places.enter_context(access.admit(request, owner, UnbilledKind.RUN))
        application = await _application(request, desk, project, key)
        run_service.check_look(application)
        if application.look_of is not None and not owner.is_guest:
            places.enter_context(access.admit(request, owner, UnbilledKind.LOOK))
        steps = await desk.services.database.read(lambda session: projects.count_steps(session, project))
        # Nothing is awaited from here on, so of two requests at once one starts, and each counts the other.
        known = desk.runs.of_key(project, key)
        if known is not None:
            return known
        projects.require_room(steps + desk.runs.active_in(project))
        held = places.pop_all()

    async def work(run: Run) -> Done:
        with held:
            return await run_service.execute(desk.services, owner, application, run)

    is_billed = application.look_of is None and not owner.is_guest
    try:
        return desk.runs.start(owner, project, key, work, is_billed=is_billed)
    except Exception:
        held.close()
        raise


async def watch(
    project_id: str,
    run_id: str,
    request: Request,
    owner: Reader,
    desk: EditorServicesDependency,
    seen: int = -1,
) -> Response:
    """How far the run is; waits until there is news since version `seen`. With its step once it is done."""
    run = await _find(desk, owner, project_id, run_id)
    with run.watched():
        await dependencies.while_connected(request, run.changed_since(seen, _LONGEST_WAIT_SECONDS))
    data = schemas.run(run)
    if run.step_id is not None:
        _, step = await found_step(desk, owner, project_id, run.step_id)
        data["step"] = schemas.step(desk.services, step)
    if run.has_ended:
        data["creditsAvailable"] = await schemas.credits_available(desk.services, owner)
    return responses.success(request, data)


async def cancel(
    project_id: str, run_id: str, request: Request, owner: Writer, desk: EditorServicesDependency
) -> Response:
    """Stop it: queued at once, running at its next step. Its credit comes back; watch it to see it end."""
    run = await _find(desk, owner, project_id, run_id)
    run.cancel()
    return responses.success(request, schemas.run(run))


async def overlay(
    project_id: str, request: Request, owner: Writer, desk: EditorServicesDependency
) -> Response:
    """What clicks and a box select, as a small mask to draw over the picture."""
    run_service.check_guest(owner, await _project(desk, owner, project_id))
    with access.admit(request, owner, UnbilledKind.OVERLAY):
        body = await access.read_json(request)
        _, step = await found_step(desk, owner, project_id, access.text_of(body, "stepId"))
        params = forms.validated(TOOLS["magic-select"].params, _texts(body))
        answer = await dependencies.while_connected(
            request,
            overlays.select(desk.services, owner, step, params),  # type: ignore[arg-type]
        )
    mask = base64.b64encode(answer.content).decode()
    data = {**overlays.overlay_data(answer), "mask": f"data:image/png;base64,{mask}"}
    return responses.success(request, data)


async def _project(desk: EditorServices, owner: ProjectOwner, project_id: str) -> Project:
    """Raises `NotFound`."""
    now = desk.services.clock()
    return await desk.services.database.read(lambda session: projects.find(session, owner, project_id, now))


async def _find(desk: EditorServices, owner: ProjectOwner, project_id: str, run_id: str) -> Run:
    return desk.runs.find(owner, await _project(desk, owner, project_id), run_id)


async def _application(request: Request, desk: EditorServices, project: Project, key: str) -> RunRequest:
    body = await access.read_json(request)
    tool = TOOLS.get(access.text_of(body, "tool"))
    if tool is None:
        raise InvalidParameter("tool", f"There is no such tool. There are: {', '.join(TOOLS)}.")
    form = _texts(body)
    texts, file_ids = _sorted_out(tool, form)
    params = forms.validated(tool.params, texts)
    step_id = access.text_of(body, "stepId")
    look_id = access.text_of(body, "lookOf", optional=True)

    def look(session: Session) -> tuple[Step, Step | None]:
        looked = projects.step_of(session, project, look_id) if look_id else None
        return projects.step_of(session, project, step_id), looked

    source, looked = await desk.services.database.read(look)
    return RunRequest(
        project=project,
        source=source,
        tool=tool,
        params=params,
        form=form,
        file_ids=file_ids,
        run_key=key,
        base_url=dependencies.base_url_of(request),
        look_of=looked,
    )


def _texts(body: dict[str, Any]) -> dict[str, str]:
    """The tool's parameters, each as the text that a form would carry."""
    params = body.get("params")
    if not isinstance(params, dict) or not all(isinstance(value, str) for value in params.values()):
        raise InvalidParameter("params", "params must be an object of texts, as form fields are.")
    return params


def _sorted_out(tool: Tool, form: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Parameters, and ids of stored pictures by the file that each stands for.

    A file without an id field of its own is named as `<file>_id` here, because the editor sends no files.
    """
    id_fields = {field.id_field or f"{field.name}_id": field.name for field in tool.files}
    file_ids = {id_fields[name]: value for name, value in form.items() if name in id_fields}
    return {name: value for name, value in form.items() if name not in id_fields}, file_ids
