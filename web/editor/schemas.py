"""JSON of the editor's responses. Addresses of images are paths on the page's own origin."""

import json
from typing import Any

from api import response_bodies
from api.batches.steps import STEPS_MAX
from api.calls.execution import CREDITS_PER_CALL
from api.editor import batch_uploads, guest_previews, rendering
from api.editor.layers import BACKGROUND_ID, Layers, layers_of
from api.editor.models import Project, Step
from api.editor.owners import ProjectOwner
from api.editor.run_states import RunState
from api.images import service as images
from api.images.previews import OFFERED_WIDTH
from api.services import Services
from billing.ledger.models import Account
from ml.catalogue import tool_title
from ml.imaging import codecs, selection_prompts, strokes

#: Where the files of scenes are served.
SCENES_PREFIX = "/editor/scenes"
ZOOM_WIDTH = 3200
THUMBNAIL_WIDTH = 240
_SHOWN_VALUE_LENGTH = 10_000


def project(
    services: Services,
    row: Project,
    steps: list[Step],
    available_images: set[str],
    active: dict[str, Any] | None = None,
) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "sample": row.sample,
        "currentStepId": row.current_step_id,
        "expiresAt": response_bodies.timestamp(row.expires_at),
        "steps": [step(services, one, is_available=one.image_id in available_images) for one in steps],
        "run": active,
    }


def listed_project(services: Services, row: Project, current: Step) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "usedAt": response_bodies.timestamp(row.used_at),
        "expiresAt": response_bodies.timestamp(row.expires_at),
        "thumbnailUrl": _listed_thumbnail(services, current),
    }


def _listed_thumbnail(services: Services, current: Step) -> str:
    """The path of a picture of the step. A look that is not drawn yet is drawn when it is shown."""
    if rendering.needs_rendering(current):
        return f"/editor/projects/{current.project_id}/steps/{current.id}/thumbnail"
    return address(services, current.image_id, THUMBNAIL_WIDTH)


def step(services: Services, row: Step, *, is_available: bool = True) -> dict[str, Any]:
    answer = json.loads(row.answer)
    origin = answer.pop(guest_previews.ORIGIN, None)
    cutout = _cutout(services, row)
    addresses = {
        "previewUrl": OFFERED_WIDTH,
        "closeUrl": ZOOM_WIDTH,
        "thumbnailUrl": THUMBNAIL_WIDTH,
    }
    return {
        "id": row.id,
        "parentId": row.parent_id,
        "number": row.number,
        "tool": row.tool,
        "title": "Original" if row.tool is None else tool_title(row.tool),
        "params": _short(json.loads(row.params)),
        "answer": answer,
        "imageId": row.image_id,
        "width": row.width,
        "height": row.height,
        "format": row.format,
        "isMask": row.is_mask,
        "isAvailable": is_available,
        "isRendered": row.is_rendered,
        "isPreview": row.is_preview,
        "preview": None if origin is None else _preview(services, origin),
        "cutout": None if cutout is None else {**cutout, "markBox": origin and origin["markBox"]},
        **{name: address(services, row.image_id, width) for name, width in addresses.items()},
    }


def _preview(services: Services, origin: dict[str, Any]) -> dict[str, Any]:
    """What a guest's preview was made from, and the run that an account repeats at full size."""
    return {
        "beforeUrl": address(services, origin["photoId"], origin["width"]),
        "request": origin["request"],
    }


def _cutout(services: Services, row: Step) -> dict[str, Any] | None:
    """The layers of a cut-out, which the browser draws looks from."""
    layers = layers_of(row)
    if layers is None:
        return None
    return {
        "url": f"/editor/projects/{row.project_id}/cutouts/{layers.cutout_id}",
        "photoId": layers.photo_id,
        "photoUrl": address(services, layers.photo_id, OFFERED_WIDTH),
        "sharpPhotoUrl": f"/editor/projects/{row.project_id}/photos/{layers.photo_id}",
        "backgroundUrl": _background_url(services, layers),
        "width": layers.width,
        "height": layers.height,
        "look": dict(layers.look),
    }


def _background_url(services: Services, layers: Layers) -> str | None:
    """The picture that the look has behind the subject."""
    background_id, scene = layers.look.get(BACKGROUND_ID), layers.look.get("bg_scene")
    if background_id is not None:
        return address(services, background_id, OFFERED_WIDTH)
    return None if scene is None else scene_url(scene)


def scene_url(name: str) -> str:
    return f"{SCENES_PREFIX}/{name}.webp"


def _short(params: dict[str, Any]) -> dict[str, Any]:
    """Drop long values, which the page does not show."""
    return {
        name: value
        for name, value in params.items()
        if not isinstance(value, str) or len(value) <= _SHOWN_VALUE_LENGTH
    }


def active_run(state: RunState) -> dict[str, Any]:
    """A run that has not ended, for a page that has not started it."""
    return {**state.as_data(), "tool": state.tool}


def limits(services: Services) -> dict[str, int]:
    """Limits that the editor's scripts check before they send a request. The server checks them again."""
    return {
        "fileBytes": images.FILE_LIMIT_BYTES,
        "outputPixels": codecs.MAX_OUTPUT_PIXELS,
        "strokes": strokes.MAX_STROKES,
        "strokePoints": strokes.MAX_POINTS,
        "brushSizePixels": int(strokes.MAX_SIZE_PIXELS),
        "selectionPoints": selection_prompts.MAX_POINTS,
        "retentionHours": round(services.retention.total_seconds() / 3600),
        "creditsPerRun": CREDITS_PER_CALL,
        "batchPictures": batch_uploads.PICTURES_MAX,
        "batchSteps": STEPS_MAX,
        "pieceFiles": batch_uploads.FILES_MAX,
        "pieceBytes": batch_uploads.PIECE_BYTES,
    }


async def credits_available(services: Services, owner: ProjectOwner) -> int | None:
    """The account's available credits, None for guests."""
    if owner.is_guest:
        return None
    account = await services.database.read(lambda session: session.get_one(Account, owner.account_id))
    return account.available


def address(services: Services, image_id: str, width: int) -> str:
    """The path of a signed preview."""
    url = images.address(services, "", image_id, width).url
    return url[url.index("/api/images/") :]
