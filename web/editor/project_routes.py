"""`/editor/projects`: open a picture, see what was made of it, go back and forth, take it away."""

import asyncio
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request
from sqlmodel import Session
from starlette.responses import FileResponse, Response

from api.calls.unbilled_admission import Claimant, UnbilledKind
from api.editor import projects, unbilled_images
from api.editor.models import Project, Step
from api.editor.owners import ProjectOwner
from api.editor.projects import NewStep
from api.errors import InvalidParameter
from api.http import dependencies, forms, responses
from api.http.routes.get_and_head import add_get
from api.images import previews
from api.images import service as images
from api.images.service import NewImage
from ml.tools.rendition import RenditionParams
from web.auth import visitor
from web.editor import access, schemas
from web.editor.access import EditorServices, EditorServicesDependency, Reader, Writer
from web.editor.session_routes import SAMPLES, SAMPLES_FOLDER

_FORMATS = ("png", "jpg", "webp", "avif")


def add_to(app: FastAPI) -> None:
    place = "/editor/projects"
    hidden: dict[str, Any] = {"include_in_schema": False, "response_class": Response}
    add_get(app, place, listed, include_in_schema=False)
    app.add_api_route(place, open_picture, methods=["POST"], **hidden)
    add_get(app, f"{place}/{{project_id}}", show, include_in_schema=False)
    app.add_api_route(f"{place}/{{project_id}}", remove, methods=["DELETE"], **hidden)
    app.add_api_route(f"{place}/{{project_id}}/current", stand_at, methods=["PUT"], **hidden)
    add_get(app, f"{place}/{{project_id}}/steps/{{step_id}}/file", download, include_in_schema=False)


async def listed(request: Request, owner: Reader, desk: EditorServicesDependency) -> Response:
    """The owner's projects of the last day, to go on with."""
    now = desk.services.clock()
    found = await desk.services.database.read(lambda session: projects.listed(session, owner, now))
    data = [schemas.listed_project(desk.services, project, current) for project, current in found]
    return responses.success(request, data)


async def open_picture(
    request: Request, owner: Writer, desk: EditorServicesDependency, name: str = ""
) -> Response:
    """A new project: of the picture in the form, or of the sample that a JSON body names."""
    with access.admit(request, owner, UnbilledKind.OPENING):
        owner = await access.with_session(request, owner)
        await unbilled_images.require_room(desk.services, owner)
        content, name, sample = await _picture_of(request, name)
        opening = _open(desk, owner, owner.claimant(visitor.address_of(request)), content, name, sample)
        return responses.success(request, await dependencies.while_connected(request, opening))


async def _picture_of(request: Request, name: str) -> tuple[bytes, str, str | None]:
    """What the request opens: bytes, name, and which sample it is."""
    if not request.headers.get("content-type", "").startswith("application/json"):
        return await forms.read_image_form(request), name, None
    sample = access.text_of(await access.read_json(request), "sample")
    if sample not in SAMPLES:
        raise InvalidParameter("sample", f"There are these samples: {', '.join(SAMPLES)}.")
    content = await asyncio.to_thread((SAMPLES_FOLDER / f"{sample}.jpg").read_bytes)
    return content, f"{sample}.jpg", sample


async def show(project_id: str, request: Request, owner: Reader, desk: EditorServicesDependency) -> Response:
    """A project with its steps; looking at it keeps it."""
    services = desk.services
    now = services.clock()

    def look(session: Session) -> dict[str, Any]:
        project = projects.find(session, owner, project_id, now)
        steps = projects.steps_of(session, project)
        return schemas.project(services, project, steps, projects.stored_images(session, steps, now))

    return responses.success(request, await services.database.read(look))


async def remove(
    project_id: str, request: Request, owner: Writer, desk: EditorServicesDependency
) -> Response:
    """Forget a project and delete its pictures."""
    now = desk.services.clock()
    image_ids = await desk.services.database.run(
        lambda session: projects.delete_project(session, projects.find(session, owner, project_id, now))
    )
    await unbilled_images.delete(desk.services, image_ids)
    return responses.success(request, {"id": project_id, "deleted": True})


async def stand_at(
    project_id: str, request: Request, owner: Writer, desk: EditorServicesDependency
) -> Response:
    """Undo, redo or branch: the step that the next tool is applied to."""
    step_id = access.text_of(await access.read_json(request), "stepId")
    services = desk.services
    now = services.clock()

    def move(session: Session) -> None:
        project = projects.find(session, owner, project_id, now)
        projects.set_current_step(session, project, step_id, now, services.retention)

    await services.database.run(move)
    return responses.success(request, {"currentStepId": step_id})


async def download(
    project_id: str,
    step_id: str,
    request: Request,
    owner: Reader,
    desk: EditorServicesDependency,
    format: str = "",
    quality: int = 90,
) -> Response:
    """The step's picture at full resolution, in any format, for nothing."""
    services = desk.services
    if format not in ("", *_FORMATS):
        raise InvalidParameter("format", f"format must be one of {', '.join(_FORMATS)}.")
    if not 1 <= quality <= 100:
        raise InvalidParameter("quality", "quality must be from 1 to 100.")
    project, step = await found_step(desk, owner, project_id, step_id)
    image = await unbilled_images.find(services, step.image_id)
    await images.keep_longer(services, image)
    is_lossless = image.format == "png"
    if format in ("", image.format) and (is_lossless or quality == 90):
        headers = _file_headers(project, image.format)
        return FileResponse(services.storage.path(image.id), headers=headers)
    params = RenditionParams.model_validate({"format": format or image.format, "quality": quality})
    with access.admit(request, owner, UnbilledKind.CONVERSION):
        rendering = previews.render(services, image, params, owner.claimant(visitor.address_of(request)))
        answer = await dependencies.while_connected(request, rendering)
    return Response(answer.content, headers=_file_headers(project, answer.format))


async def found_step(
    desk: EditorServices, owner: ProjectOwner, project_id: str, step_id: str
) -> tuple[Project, Step]:
    """The owner's project and a step of it. Raises `NotFound`."""
    now = desk.services.clock()

    def look(session: Session) -> tuple[Project, Step]:
        project = projects.find(session, owner, project_id, now)
        return project, projects.step_of(session, project, step_id)

    return await desk.services.database.read(look)


async def _open(
    desk: EditorServices,
    owner: ProjectOwner,
    claimant: Claimant,
    content: bytes,
    name: str,
    sample: str | None,
) -> dict[str, Any]:
    services = desk.services
    stored: NewImage = await unbilled_images.store_opened(services, owner, claimant, content)
    # In a task of its own, so that a broken connection cannot leave a picture without its project.
    return await asyncio.shield(services.running.start(_record(desk, owner, stored, name, sample)))


async def _record(
    desk: EditorServices, owner: ProjectOwner, stored: NewImage, name: str, sample: str | None
) -> dict[str, Any]:
    services = desk.services
    now = services.clock()
    image = await unbilled_images.find(services, stored.id)
    first = NewStep(stored.id, image.width or 0, image.height or 0, stored.format)

    def record(session: Session) -> tuple[Project, Step]:
        return projects.open_project(
            session, owner, first, name=name, sample=sample, now=now, retention=services.retention
        )

    project, step = await services.database.run(record)
    return schemas.project(services, project, [step], {step.image_id})


def _file_headers(project: Project, format: str) -> dict[str, str]:
    """As a signed address answers, but named after what was opened."""
    stem = project.name.rpartition(".")[0] or project.name
    plain = "".join(letter for letter in stem if letter.isascii() and letter not in '"\\%;') or "picture"
    named = f"filename=\"{plain}.{format}\"; filename*=UTF-8''{quote(stem)}.{format}"
    headers = responses.file_headers("picture", format)
    return {
        **headers,
        "Content-Disposition": f"attachment; {named}",
        "Cache-Control": "private, no-store",
    }
