"""Backgrounds of cut-outs: own images, scenes, presets, and an account's brand colours."""

from typing import Any

from fastapi import FastAPI, Request
from sqlmodel import Session
from starlette.responses import FileResponse, Response

from api.calls.unbilled_admission import UnbilledKind
from api.editor import backgrounds, brand_colors, owners, unbilled_images
from api.errors import Forbidden, InvalidParameter, NotFound
from api.http import dependencies, forms, responses
from api.http.routes.get_and_head import add_get
from api.images import previews
from api.images.previews import OFFERED_WIDTH
from ml.imaging import scenes
from ml.tools import cutout_presets
from web.editor import access, schemas
from web.editor.access import AccountOwner, EditorServices, EditorServicesDependency, Reader

_SCENE_FILES = {
    scenes.path_of(name, is_thumbnail=is_thumbnail).name: scenes.path_of(name, is_thumbnail=is_thumbnail)
    for name in scenes.NAMES
    for is_thumbnail in (False, True)
}


def add_to(app: FastAPI) -> None:
    hidden: dict[str, Any] = {"include_in_schema": False, "response_class": Response}
    add_get(app, "/editor/backgrounds", list_backgrounds, include_in_schema=False)
    app.add_api_route("/editor/backgrounds", store_background, methods=["POST"], **hidden)
    add_get(app, "/editor/backgrounds/{image_id}", show_background, include_in_schema=False)
    app.add_api_route("/editor/brand-colors", set_brand_colors, methods=["PUT"], **hidden)
    add_get(app, f"{schemas.SCENES_PREFIX}/{{file_name}}", scene_file, include_in_schema=False)


def offered() -> dict[str, Any]:
    """The scenes and presets that the editor shows."""
    return {
        "scenes": [
            {
                "name": name,
                "title": scenes.TITLES[name],
                "url": schemas.scene_url(name),
                "thumbnailUrl": f"{schemas.SCENES_PREFIX}/{scenes.path_of(name, is_thumbnail=True).name}",
            }
            for name in scenes.NAMES
        ],
        "presets": [_preset(name) for name in cutout_presets.NAMES],
        "brandColorsMax": brand_colors.COLORS_MAX,
    }


def _preset(name: cutout_presets.PresetName) -> dict[str, Any]:
    preset = cutout_presets.PRESETS[name]
    background = preset.background
    return {
        "name": name,
        "title": preset.title,
        "rule": preset.rule,
        "fields": dict(preset.fields),
        "background": None if background is None else "#{:02x}{:02x}{:02x}".format(*background[:3]),
    }


async def scene_file(file_name: str) -> Response:
    path = _SCENE_FILES.get(file_name)
    if path is None:
        raise NotFound("No such scene.")
    return FileResponse(path, media_type="image/webp", headers={"Cache-Control": "public, max-age=604800"})


async def list_backgrounds(request: Request, owner: Reader, editor: EditorServicesDependency) -> Response:
    """The images that were used as backgrounds and are still stored, most recent first."""
    now = editor.services.clock()
    image_ids = await editor.services.database.read(lambda session: backgrounds.recent(session, owner, now))
    return responses.success(request, [_background(editor, image_id) for image_id in image_ids])


async def store_background(
    request: Request, owner: AccountOwner, editor: EditorServicesDependency
) -> Response:
    """Store an image to use as the background of a cut-out."""
    with access.admit(request, owner, UnbilledKind.OPENING):
        content = await forms.read_image_form(request)
        claimant = owner.claimant(dependencies.address_of(request))
        storing = unbilled_images.store_opened(editor.services, owner, claimant, content)
        stored = await dependencies.while_connected(request, storing)
    return responses.success(request, _background(editor, stored.id))


async def show_background(image_id: str, request: Request, editor: EditorServicesDependency) -> Response:
    """The image at the size of previews without loss, for who has the signed address of its preview."""
    services = editor.services
    width = services.signer.verify(image_id, request.query_params.multi_items(), services.clock())
    if width != OFFERED_WIDTH:
        raise Forbidden("This URL is not one of a preview.")
    image = await unbilled_images.find(services, image_id)
    claimant = await owners.claimant_of_image(services, image, dependencies.address_of(request))
    reading = previews.read_lossless(services, image, claimant)
    content = await dependencies.while_connected(request, reading)
    headers = {
        **responses.file_headers("background", "png"),
        "Content-Disposition": "inline",
        "Cache-Control": "private, max-age=86400, immutable",
    }
    return Response(content, headers=headers)


def _background(editor: EditorServices, image_id: str) -> dict[str, str]:
    return {
        "imageId": image_id,
        "thumbnailUrl": schemas.address(editor.services, image_id, schemas.THUMBNAIL_WIDTH),
        "previewUrl": schemas.address(editor.services, image_id, OFFERED_WIDTH),
    }


async def set_brand_colors(
    request: Request, owner: AccountOwner, editor: EditorServicesDependency
) -> Response:
    """Replace the account's brand colours. Guests' colours stay in their browser."""
    colors = (await access.read_json(request)).get("colors")
    if not isinstance(colors, list):
        raise InvalidParameter("colors", "colors must be a list of colours such as #1f3a5f.")

    def replace(session: Session) -> list[str]:
        return brand_colors.replace(session, owner.account_id, colors)

    return responses.success(request, {"colors": await editor.services.database.run(replace)})
