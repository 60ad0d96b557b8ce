"""Looks of cut-outs: `/editor/projects/{id}/looks`, `…/cutouts/{image_id}`, `…/photos/{image_id}`,
`…/steps/{id}/rendering`.
"""

import contextlib
import json
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request
from sqlmodel import Session
from starlette.responses import Response

from api.calls.unbilled_admission import UnbilledKind
from api.editor import looks, projects, rendering, unbilled_images
from api.editor.layers import BACKGROUND_ID, layers_of
from api.editor.models import Step
from api.editor.owners import ProjectOwner
from api.errors import InvalidParameter, NotFound, RateLimited, StorageFull
from api.http import dependencies, forms, responses
from api.http.routes.get_and_head import add_get
from api.images import previews
from ml.catalogue import TOOLS
from ml.errors import MlError
from ml.imaging import codecs
from ml.tools.bg_removal_params import BgRemovalParams
from web.editor import access, schemas
from web.editor.access import EditorServices, EditorServicesDependency, Reader, Writer
from web.editor.project_routes import find_step

#: Left, top, right and bottom of what is visible of a cut-out at full size, as JSON; null if nothing is.
BOX_HEADER = "X-Object-Box"
#: Parameters of the removal itself.
_NOT_OF_LOOKS = frozenset({"model", "channels", "roi"})


def add_to(app: FastAPI) -> None:
    prefix = "/editor/projects/{project_id}"
    hidden: dict[str, Any] = {"methods": ["POST"], "include_in_schema": False, "response_class": Response}
    app.add_api_route(f"{prefix}/looks", add_look, **hidden)
    app.add_api_route(f"{prefix}/steps/{{step_id}}/rendering", render, **hidden)
    add_get(app, f"{prefix}/steps/{{step_id}}/thumbnail", show_thumbnail, include_in_schema=False)
    add_get(app, f"{prefix}/cutouts/{{image_id}}", show_cutout, include_in_schema=False)
    add_get(app, f"{prefix}/photos/{{image_id}}", show_photo, include_in_schema=False)


async def add_look(
    project_id: str, request: Request, owner: Writer, editor: EditorServicesDependency
) -> Response:
    """Add another look of a cut-out as a step. It is drawn at full size only when that is needed."""
    with access.admit(request, owner, UnbilledKind.LOOK):
        body = await access.read_json(request)
        form = access.string_params(body)
        fields = {name: text for name, text in form.items() if name != BACKGROUND_ID}
        params = forms.validated(BgRemovalParams, fields)
        for name in sorted(_NOT_OF_LOOKS & form.keys()):
            raise InvalidParameter(name, f"{name} belongs to the cut-out, not to its look.")
        project, source = await find_step(editor, owner, project_id, access.string_field(body, "stepId"))
        _check_size(params, source)
        made = await looks.add_look(editor.services, owner, project, source, form)
    data = {"step": schemas.step(editor.services, made.step), "removedId": made.removed_id}
    return responses.success(request, data)


def _check_size(params: BgRemovalParams, source: Step) -> None:
    """Raise `PictureTooLarge` for a look that could not be drawn."""
    size = TOOLS["bg-removal"].answer_size(params, (source.width, source.height))
    if size is not None:
        codecs.check_output_size(*size)


async def render(
    project_id: str, step_id: str, request: Request, owner: Writer, editor: EditorServicesDependency
) -> Response:
    """Draw a look at full size; the step shows it from then on."""
    project, step = await find_step(editor, owner, project_id, step_id)
    if rendering.needs_rendering(step):
        with access.admit(request, owner, UnbilledKind.RENDERING):
            drawing = rendering.ensure_rendered(editor.services, owner, project, step)
            step = await dependencies.while_connected(request, drawing)
    return responses.success(request, {"step": schemas.step(editor.services, step)})


async def show_thumbnail(
    project_id: str, step_id: str, request: Request, owner: Reader, editor: EditorServicesDependency
) -> Response:
    """A small picture of a step, whose look is drawn first; the cut-out if that is impossible for now."""
    services = editor.services
    project, step = await find_step(editor, owner, project_id, step_id)
    claimant = owner.claimant(dependencies.address_of(request))

    async def draw() -> bytes:
        drawn = step
        with contextlib.suppress(RateLimited, MlError, StorageFull, NotFound):
            async with services.unbilled.preview_turn(claimant):
                with access.admit(request, owner, UnbilledKind.RENDERING):
                    drawn = await rendering.ensure_rendered(services, owner, project, step)
        image = await unbilled_images.find(services, drawn.image_id)
        return await previews.read(services, image, schemas.THUMBNAIL_WIDTH, claimant)

    content = await dependencies.while_connected(request, draw())
    headers = {
        **responses.file_headers("thumbnail", "webp"),
        "Content-Disposition": "inline",
        "Cache-Control": "private, no-cache",
    }
    return Response(content, headers=headers)


async def show_cutout(
    project_id: str, image_id: str, request: Request, owner: Reader, editor: EditorServicesDependency
) -> Response:
    """The stored cut-out at the size of previews, without loss, for the browser to draw looks from."""
    services = editor.services
    await _check_layer(editor, owner, project_id, lambda step: step.cutout_id == image_id)
    image = await unbilled_images.find(services, image_id)
    claimant = owner.claimant(dependencies.address_of(request))
    reading = previews.read_cutout(services, image, claimant)
    preview = await dependencies.while_connected(request, reading)
    headers = {
        **_layer_headers("cutout", "png"),
        # A frame that follows the subject depends on its box to the pixel, which the preview does not show.
        BOX_HEADER: json.dumps(preview.box),
    }
    return Response(preview.content, headers=headers)


async def show_photo(
    project_id: str, image_id: str, request: Request, owner: Reader, editor: EditorServicesDependency
) -> Response:
    """The photo of a cut-out at the size of previews, hardly compressed, for looks that show parts of it."""

    def is_photo(step: Step) -> bool:
        layers = layers_of(step)
        return layers is not None and layers.photo_id == image_id

    await _check_layer(editor, owner, project_id, is_photo)
    image = await unbilled_images.find(editor.services, image_id)
    claimant = owner.claimant(dependencies.address_of(request))
    reading = previews.read_sharp(editor.services, image, claimant)
    content = await dependencies.while_connected(request, reading)
    return Response(content, headers=_layer_headers("photo", "jpg"))


async def _check_layer(
    editor: EditorServices, owner: ProjectOwner, project_id: str, is_of: Callable[[Step], bool]
) -> None:
    """Raise `NotFound` unless the image belongs to a step of this project."""
    now = editor.services.clock()

    def check(session: Session) -> None:
        project = projects.find(session, owner, project_id, now)
        if not any(is_of(step) for step in projects.steps_of(session, project)):
            raise NotFound("No such cut-out in this project.")

    await editor.services.database.read(check)


def _layer_headers(name: str, format: str) -> dict[str, str]:
    return {
        **responses.file_headers(name, format),
        "Content-Disposition": "inline",
        "Cache-Control": "private, max-age=86400, immutable",
    }
