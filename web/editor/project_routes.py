"""`/editor/projects`: open images, list and show projects, undo and redo, download steps."""

import asyncio
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request
from sqlmodel import Session
from starlette.responses import Response

from api.calls.unbilled_admission import Claimant, UnbilledKind
from api.editor import projects, rendering, shared_runs, unbilled_images
from api.editor.models import Project, Step
from api.editor.owners import ProjectOwner
from api.editor.projects import NewStep
from api.errors import InvalidParameter
from api.http import dependencies, forms, responses, stored_images
from api.http.routes.get_and_head import add_get
from api.images import previews
from api.images import service as images
from api.images.service import NewImage
from ml.tools.rendition import RenditionParams
from web.editor import access, schemas
from web.editor.access import EditorServices, EditorServicesDependency, Reader, Writer
from web.editor.session_routes import SAMPLES, SAMPLES_FOLDER

_FORMATS = ("png", "jpg", "webp", "avif")
#: What a downloaded file's name says about the tool that made it; "edited" for the others.
_SUFFIXES = {
    "bg-removal": "cutout",
    "upscale": "enlarged",
    "generative-expand": "extended",
    "crop": "cropped",
    "magic-select": "selection",
}


def add_to(app: FastAPI) -> None:
    prefix = "/editor/projects"
    hidden: dict[str, Any] = {"include_in_schema": False, "response_class": Response}
    add_get(app, prefix, list_projects, include_in_schema=False)
    app.add_api_route(prefix, open_project, methods=["POST"], **hidden)
    add_get(app, f"{prefix}/{{project_id}}", show_project, include_in_schema=False)
    app.add_api_route(f"{prefix}/{{project_id}}", delete_project, methods=["DELETE"], **hidden)
    app.add_api_route(f"{prefix}/{{project_id}}/current", set_current_step, methods=["PUT"], **hidden)
    add_get(app, f"{prefix}/{{project_id}}/steps/{{step_id}}/file", download, include_in_schema=False)


async def list_projects(request: Request, owner: Reader, editor: EditorServicesDependency) -> Response:
    """The owner's recent projects."""
    now = editor.services.clock()
    listed = await editor.services.database.read(lambda session: projects.listed(session, owner, now))
    data = [schemas.listed_project(editor.services, project, current) for project, current in listed]
    return responses.success(request, data)


async def open_project(
    request: Request, owner: Writer, editor: EditorServicesDependency, name: str = ""
) -> Response:
    """Create a project from the image in the form, or from the sample that the JSON body names."""
    with access.admit(request, owner, UnbilledKind.OPENING):
        owner = await access.ensure_session(request, owner)
        await unbilled_images.require_room(editor.services, owner)
        content, name, sample = await _read_image(request, name)
        return await open_content(request, editor, owner, content, name, sample)


async def open_content(
    request: Request,
    editor: EditorServices,
    owner: ProjectOwner,
    content: bytes,
    name: str,
    sample: str | None = None,
) -> Response:
    """Store an image and answer with a project of it. Admit it before."""
    claimant = owner.claimant(dependencies.address_of(request))
    opening = _store_and_record(editor, owner, claimant, content, name, sample)
    return responses.success(request, await dependencies.while_connected(request, opening))


async def _read_image(request: Request, name: str) -> tuple[bytes, str, str | None]:
    """The image to open: bytes, name, and the sample's name if it is one."""
    if not request.headers.get("content-type", "").startswith("application/json"):
        return await forms.read_image_form(request), name, None
    sample = access.string_field(await access.read_json(request), "sample")
    if sample not in SAMPLES:
        raise InvalidParameter("sample", f"sample must be one of {', '.join(SAMPLES)}.")
    content = await asyncio.to_thread((SAMPLES_FOLDER / f"{sample}.jpg").read_bytes)
    return content, f"{sample}.jpg", sample


async def show_project(
    project_id: str, request: Request, owner: Reader, editor: EditorServicesDependency
) -> Response:
    """A project with its steps, and the run that may add the next one."""
    services = editor.services
    now = services.clock()
    # Before the steps: if it ends in between, its step is among them.
    run = editor.runs.active_of(project_id)
    own_state = None if run is None else run.state()

    def read_project(session: Session) -> dict[str, Any]:
        project = projects.find(session, owner, project_id, now)
        state = own_state or shared_runs.active_of(session, project_id, now)
        active = None if state is None else schemas.active_run(state)
        steps = projects.steps_of(session, project)
        stored = projects.stored_images(session, steps, now)
        return schemas.project(services, project, steps, stored, active)

    return responses.success(request, await services.database.read(read_project))


async def delete_project(
    project_id: str, request: Request, owner: Writer, editor: EditorServicesDependency
) -> Response:
    """Delete a project and its images."""
    now = editor.services.clock()

    def delete(session: Session) -> list[str]:
        image_ids = projects.delete_project(session, projects.find(session, owner, project_id, now))
        shared_runs.want_stop_of_project(session, project_id)
        return image_ids

    image_ids = await editor.services.database.run(delete)
    editor.runs.cancel_all(project_id)
    await unbilled_images.delete(editor.services, image_ids)
    return responses.success(request, {"id": project_id, "deleted": True})


async def set_current_step(
    project_id: str, request: Request, owner: Writer, editor: EditorServicesDependency
) -> Response:
    """Undo, redo or branch: select the step that the next tool is applied to."""
    step_id = access.string_field(await access.read_json(request), "stepId")
    services = editor.services
    now = services.clock()

    def update(session: Session) -> None:
        project = projects.find(session, owner, project_id, now)
        projects.set_current_step(session, project, step_id, now, services.retention)

    await services.database.run(update)
    return responses.success(request, {"currentStepId": step_id})


async def download(
    project_id: str,
    step_id: str,
    request: Request,
    owner: Reader,
    editor: EditorServicesDependency,
    format: str = "",
    quality: int = 90,
    width: str = "",
    bg_color: str = "",
) -> Response:
    """The step's image in any format, free of charge: at full resolution, or reduced to `width`.

    `bg_color` is for formats without transparency.
    """
    services = editor.services
    if format not in ("", *_FORMATS):
        raise InvalidParameter("format", f"format must be one of {', '.join(_FORMATS)}.")
    if not 1 <= quality <= 100:
        raise InvalidParameter("quality", "quality must be from 1 to 100.")
    project, step = await find_step(editor, owner, project_id, step_id)
    if rendering.needs_rendering(step):
        with access.admit(request, owner, UnbilledKind.RENDERING):
            drawing = rendering.ensure_rendered(services, owner, project, step)
            step = await dependencies.while_connected(request, drawing)
    image = await unbilled_images.find(services, step.image_id)
    await images.keep_longer(services, image)
    is_lossless = image.format == "png"
    changes = {"width": width, "bg_color": bg_color}
    if not any(changes.values()) and format in ("", image.format) and (is_lossless or quality == 90):
        headers = _file_headers(project, step, image.format)
        return await stored_images.send(request, services, image, headers)
    texts = {"format": format or image.format, "quality": str(quality), **changes}
    params = forms.validated(RenditionParams, texts)
    with access.admit(request, owner, UnbilledKind.CONVERSION):
        converting = previews.render(
            services, image, params, owner.claimant(dependencies.address_of(request))
        )
        rendition = await dependencies.while_connected(request, converting)
    return Response(rendition.content, headers=_file_headers(project, step, rendition.format))


async def find_step(
    editor: EditorServices, owner: ProjectOwner, project_id: str, step_id: str
) -> tuple[Project, Step]:
    """The owner's project and a step of it. Raises `NotFound`."""
    now = editor.services.clock()

    def read_step(session: Session) -> tuple[Project, Step]:
        project = projects.find(session, owner, project_id, now)
        return project, projects.step_of(session, project, step_id)

    return await editor.services.database.read(read_step)


async def _store_and_record(
    editor: EditorServices,
    owner: ProjectOwner,
    claimant: Claimant,
    content: bytes,
    name: str,
    sample: str | None,
) -> dict[str, Any]:
    services = editor.services
    stored: NewImage = await unbilled_images.store_opened(services, owner, claimant, content)
    # In a separate task, so that a disconnect cannot leave an image without its project.
    return await asyncio.shield(services.running.start(_record(editor, owner, stored, name, sample)))


async def _record(
    editor: EditorServices, owner: ProjectOwner, stored: NewImage, name: str, sample: str | None
) -> dict[str, Any]:
    services = editor.services
    now = services.clock()
    image = await unbilled_images.find(services, stored.id)
    first = NewStep(stored.id, image.width or 0, image.height or 0, stored.format)

    def record(session: Session) -> tuple[Project, Step]:
        return projects.open_project(
            session, owner, first, name=name, sample=sample, now=now, retention=services.retention
        )

    project, step = await services.database.run(record)
    return schemas.project(services, project, [step], {step.image_id})


def _file_headers(project: Project, step: Step, format: str) -> dict[str, str]:
    """The headers of a signed download, named after the opened file and what was done with it."""
    stem = project.name.rpartition(".")[0] or project.name
    if step.tool is not None:
        suffix = "preview" if step.is_preview else _SUFFIXES.get(step.tool, "edited")
        stem = f"{stem}-{suffix}"
    ascii_stem = (
        "".join(character for character in stem if character.isascii() and character not in '"\\%;')
        or "picture"
    )
    file_name = f"filename=\"{ascii_stem}.{format}\"; filename*=UTF-8''{quote(stem)}.{format}"
    headers = responses.file_headers("picture", format)
    return {
        **headers,
        "Content-Disposition": f"attachment; {file_name}",
        "Cache-Control": "private, no-store",
    }
