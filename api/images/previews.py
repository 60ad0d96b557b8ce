"""Previews and conversions of stored pictures, made by a worker.

The server's own process never decodes a picture, so a preview is a call to a worker like any other, but an
unbilled one: `api.calls.unbilled_admission` limits how many are made at a time. Each preview is made once, as WebP, and kept
beside its picture.
"""

import asyncio

from sqlmodel import Session

from api.calls import unbilled_admission
from api.calls.unbilled_admission import Claimant
from api.db.models import Image
from api.editor.owners import GUESTS_EMAIL
from api.images import service as images
from api.services import Services
from billing.ledger.models import Account
from billing.ledger.plans import PLANS, PlanName
from ml.backend import Priority, ToolAnswer, ToolCall
from ml.tools import rendition
from ml.tools.rendition import RenditionParams

#: Width of the preview that answers offer; wide enough for most screens.
OFFERED_WIDTH = 1600
_QUALITY = 82


async def read(services: Services, image: Image, width: int, claimant: Claimant) -> bytes:
    """The WebP of `image`, `width` pixels wide or as wide as the picture if that is less.

    Its making is cancelled when all who wait for it are. Raises `NotFound` if the picture was deleted
    meanwhile, `RateLimited` and `Overloaded` when too many previews are being made, `UnreadablePicture`,
    `PictureTooLarge` and whatever else a worker finds.
    """
    name = f"preview-{width}"
    kept = await asyncio.to_thread(services.storage.read_artefact, image.id, name)
    if kept is not None:
        return kept
    return await services.previews.do(
        f"{image.id}/{name}", lambda: _make(services, image, width, name, claimant)
    )


async def render(services: Services, image: Image, params: RenditionParams, claimant: Claimant) -> ToolAnswer:
    """A rendition of a stored picture, kept nowhere; the caller has admitted it, see `api.calls.unbilled_admission`.

    The worker stops when this is cancelled.
    """
    content = await asyncio.to_thread(services.storage.read, image.id)
    timeout_seconds = services.call_timeout_seconds
    if claimant.is_guest:
        timeout_seconds = min(timeout_seconds, unbilled_admission.GUEST_RENDITION_SECONDS)
    call = ToolCall(
        rendition.TOOL.name,
        params,
        {"image": content},
        claimant.priority,
        timeout_seconds,
        is_billed=False,
    )
    ticket = services.backend.submit(call)
    answer = asyncio.wrap_future(ticket.answer)
    try:
        # Shielded, because cancelling the wrapper would cancel the backend's own future.
        return await asyncio.shield(answer)
    except asyncio.CancelledError:
        answer.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        ticket.cancel()
        raise


async def owner_of(services: Services, image: Image, network: str) -> Claimant:
    """The claimant of a preview that somebody at `network` asks for by its signed address.

    Nothing tells guests apart there but their network address.
    """

    def look(session: Session) -> Claimant:
        account = session.get(Account, image.account_id)
        if account is None or account.email == GUESTS_EMAIL:
            return Claimant(f"guests at {network}", network, Priority.GUEST)
        is_paid = PLANS[PlanName(account.plan)].paid
        return Claimant(account.id, network, Priority.PAID if is_paid else Priority.FREE)

    return await services.database.read(look)


async def _make(services: Services, image: Image, width: int, name: str, claimant: Claimant) -> bytes:
    params = RenditionParams(width=width, format="webp", quality=_QUALITY)
    async with services.unbilled.preview_turn(claimant):
        answer = await render(services, image, params, claimant)
    if image.width is None:
        await images.record_size(services, image.id, answer.source_width, answer.source_height)
    room_bytes = services.guests_storage_bytes if claimant.is_guest else None
    await images.keep_artefacts(services, image.id, {name: answer.content}, room_bytes=room_bytes)
    return answer.content
