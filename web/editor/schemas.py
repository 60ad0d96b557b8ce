"""What the editor's routes answer, as JSON. Addresses of pictures are paths: the page has their origin."""

import json
from typing import Any

from api import response_bodies
from api.editor import pricing
from api.editor.models import Project, Step
from api.editor.owners import ProjectOwner
from api.editor.runs import Run
from api.images import service as images
from api.services import Services
from billing.ledger.models import Account
from ml.catalogue import TOOLS
from ml.imaging import codecs, selection_prompts, strokes

SCREEN_WIDTH = 1600  # as `api.images.previews.OFFERED_WIDTH`, which exists once a picture was opened
CLOSE_WIDTH = 3200  # for looking closely
STRIP_WIDTH = 240
_SHOWN_VALUE_LENGTH = 10_000


def project(services: Services, found: Project, steps: list[Step], living_images: set[str]) -> dict[str, Any]:
    return {
        "id": found.id,
        "name": found.name,
        "sample": found.sample,
        "currentStepId": found.current_step_id,
        "expiresAt": response_bodies.timestamp(found.expires_at),
        "steps": [step(services, one, is_available=one.image_id in living_images) for one in steps],
    }


def listed_project(services: Services, found: Project, current: Step) -> dict[str, Any]:
    return {
        "id": found.id,
        "name": found.name,
        "usedAt": response_bodies.timestamp(found.used_at),
        "thumbnailUrl": _address(services, current.image_id, STRIP_WIDTH),
    }


def step(services: Services, found: Step, *, is_available: bool = True) -> dict[str, Any]:
    addresses = {
        "previewUrl": SCREEN_WIDTH,
        "closeUrl": CLOSE_WIDTH,
        "thumbnailUrl": STRIP_WIDTH,
    }
    return {
        "id": found.id,
        "parentId": found.parent_id,
        "number": found.number,
        "tool": found.tool,
        "title": TOOLS[found.tool].title if found.tool in TOOLS else "Original",
        "params": _short(json.loads(found.params)),
        "answer": json.loads(found.answer),
        "imageId": found.image_id,
        "width": found.width,
        "height": found.height,
        "format": found.format,
        "isMask": found.is_mask,
        "isAvailable": is_available,
        **{name: _address(services, found.image_id, width) for name, width in addresses.items()},
    }


def _short(params: dict[str, Any]) -> dict[str, Any]:
    """Without long values: a project of many steps would repeat megabytes of strokes that no page shows."""
    return {
        name: value
        for name, value in params.items()
        if not isinstance(value, str) or len(value) <= _SHOWN_VALUE_LENGTH
    }


def run(found: Run) -> dict[str, Any]:
    return {
        "id": found.id,
        "status": found.status.value,
        "stage": found.stage,
        "fraction": round(found.fraction, 3),
        "queuePosition": found.queue_position,
        "version": found.version,
        "stepId": found.step_id,
        "error": found.error,
        "creditsCharged": found.credits_charged,
    }


def limits(services: Services) -> dict[str, int]:
    """What the editor's scripts check before they send anything. The server checks all of it again."""
    return {
        "fileBytes": images.FILE_LIMIT_BYTES,
        "outputPixels": codecs.MAX_OUTPUT_PIXELS,
        "strokes": strokes.MAX_STROKES,
        "strokePoints": strokes.MAX_POINTS,
        "brushSizePixels": int(strokes.MAX_SIZE_PIXELS),
        "selectionPoints": selection_prompts.MAX_POINTS,
        "retentionHours": round(services.retention.total_seconds() / 3600),
        "creditsPerRun": pricing.CREDITS_PER_RUN,
    }


async def credits_available(services: Services, owner: ProjectOwner) -> int | None:
    """The account's remaining credits; the credit of a run that failed is among them. None for guests."""
    if owner.is_guest:
        return None
    account = await services.database.read(lambda session: session.get_one(Account, owner.account_id))
    return account.available


def _address(services: Services, image_id: str, width: int) -> str:
    url = images.address(services, "", image_id, width).url
    return url[url.index("/api/images/") :]
