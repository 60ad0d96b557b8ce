"""Previews of stored pictures: WebP, made once by a worker and kept beside the picture.

The server's own process never decodes a picture, so a preview is a call to a worker like any other; it costs
nothing and asks nobody's rate, because only signed addresses lead here and each preview is made once.
"""

import asyncio

from sqlmodel import Session

from api import images
from api.models import Image
from api.services import Services
from billing.models import Account
from billing.plans import PLANS, PlanName
from ml.backend import Priority, ToolAnswer, ToolCall
from ml.tools import rendition
from ml.tools.rendition import RenditionParams

#: Width of the preview that answers offer; wide enough for most screens.
OFFERED_WIDTH = 1600
_QUALITY = 82


async def read(services: Services, image: Image, width: int) -> bytes:
    """The WebP of `image`, `width` pixels wide or as wide as the picture if that is less.

    Raises `NotFound` if the picture was deleted meanwhile, `UnreadablePicture`, `PictureTooLarge`,
    `Overloaded` and whatever else a worker finds.
    """
    name = f"preview-{width}"
    kept = await asyncio.to_thread(services.storage.read_artefact, image.id, name)
    if kept is not None:
        return kept
    return await services.previews.do(f"{image.id}/{name}", lambda: _make(services, image, width, name))


async def render(
    services: Services, image: Image, params: RenditionParams, content: bytes | None = None
) -> ToolAnswer:
    """A rendition of a stored picture, kept nowhere. `content`: its bytes, where they are at hand."""
    if content is None:
        content = await asyncio.to_thread(services.storage.read, image.id)
    priority = await services.database.read(lambda session: _priority(session, image.account_id))
    call = ToolCall(rendition.TOOL.name, params, {"image": content}, priority, services.call_timeout_seconds)
    ticket = services.backend.submit(call)
    try:
        return await asyncio.wrap_future(ticket.answer)
    except asyncio.CancelledError:
        ticket.cancel()
        raise


async def _make(services: Services, image: Image, width: int, name: str) -> bytes:
    params = RenditionParams(width=width, format="webp", quality=_QUALITY)
    answer = await render(services, image, params)
    if image.width is None:
        await images.record_size(services, image.id, answer.source_width, answer.source_height)
    await images.keep_artefacts(services, image.id, {name: answer.content})
    return answer.content


def _priority(session: Session, account_id: str) -> Priority:
    """A preview waits in the queue where its owner's calls do."""
    account = session.get(Account, account_id)
    is_paid = account is not None and PLANS[PlanName(account.plan)].paid
    return Priority.PAID if is_paid else Priority.FREE
