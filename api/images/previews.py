"""Previews and conversions of stored images, rendered by a worker.

The server's own process never decodes an image, so a preview is an unbilled call to a worker;
`api.calls.unbilled_admission` limits how many are rendered at a time. Each preview is rendered once, as WebP,
and stored beside its image.
"""

import asyncio

from sqlmodel import Session

from api.calls import unbilled_admission
from api.calls.tool_runner import run_tool
from api.calls.types import priority_of
from api.calls.unbilled_admission import Claimant
from api.editor.owners import GUESTS_EMAIL
from api.images import service as images
from api.images.models import Image
from api.services import Services
from billing.ledger.models import Account
from billing.ledger.plans import PlanName
from ml.backend import Priority, ToolAnswer, ToolCall
from ml.tools import rendition
from ml.tools.rendition import RenditionParams

#: Width in pixels of the preview that answers link to; wide enough for most screens.
OFFERED_WIDTH = 1600
_QUALITY = 82


async def read(services: Services, image: Image, width: int, claimant: Claimant) -> bytes:
    """The WebP of `image`, at most `width` pixels wide; rendered if it is not stored yet.

    Rendering is cancelled when everyone who waits for it is. Raises `NotFound` if the image was deleted
    meanwhile, `RateLimited` and `Overloaded` when too many previews are being rendered, and any `MlError`.
    """
    name = f"preview-{width}"
    stored = await asyncio.to_thread(services.storage.read_artefact, image.id, name)
    if stored is not None:
        return stored
    return await services.previews.do(
        f"{image.id}/{name}", lambda: _render_preview(services, image, width, name, claimant)
    )


async def render(services: Services, image: Image, params: RenditionParams, claimant: Claimant) -> ToolAnswer:
    """Render a stored image in another size or format; the result is not stored.

    The caller has admitted the work through `api.calls.unbilled_admission`. Cancelling this stops it.
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
    return await run_tool(services, call)


async def owner_of(services: Services, image: Image, network: str) -> Claimant:
    """The claimant of a preview that is requested from `network` by its signed URL.

    Guests can only be told apart by their network address there.
    """

    def find_account(session: Session) -> Claimant:
        account = session.get(Account, image.account_id)
        if account is None or account.email == GUESTS_EMAIL:
            return Claimant(f"guests at {network}", network, Priority.GUEST)
        return Claimant(account.id, network, priority_of(PlanName(account.plan)))

    return await services.database.read(find_account)


async def _render_preview(
    services: Services, image: Image, width: int, name: str, claimant: Claimant
) -> bytes:
    params = RenditionParams(width=width, format="webp", quality=_QUALITY)
    async with services.unbilled.preview_turn(claimant):
        answer = await render(services, image, params, claimant)
    if image.width is None:
        await images.record_size(services, image.id, answer.source_width, answer.source_height)
    room_bytes = services.guests_storage_bytes if claimant.is_guest else None
    await images.keep_artefacts(services, image.id, {name: answer.content}, room_bytes=room_bytes)
    return answer.content
