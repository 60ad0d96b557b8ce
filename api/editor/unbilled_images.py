"""Images of the editor without a billed call: opened images, and results of unbilled work."""

import asyncio

from sqlmodel import Session, col, func, select

from api.auth.models import BrowserSession
from api.calls.unbilled_admission import Claimant
from api.editor.layers import image_ids_of
from api.editor.models import Project, Step
from api.editor.owners import ProjectOwner
from api.errors import NotFound, StorageFull
from api.images import previews, uploads
from api.images import service as images
from api.images.models import Image
from api.images.service import NewImage
from api.services import Services
from ml.backend import ToolAnswer

#: The fractions (1 / n) of the guests' common storage quota that the images of one session, and of all
#: sessions that began at one network address, may fill.
_SESSION_SHARE = 64
_NETWORK_SHARE = 16


async def store_opened(
    services: Services, owner: ProjectOwner, claimant: Claimant, content: bytes
) -> NewImage:
    """Store an opened image; a worker renders its preview and reports its size.

    For an account it takes one call of the rate, as `POST /api/images` does. Raises `FileTooLarge`,
    `UnsupportedFormat`, `StorageFull`, `RateLimited`, and the `MlError`s of rendering. The image is deleted
    again if rendering fails or this is cancelled.
    """
    # In a separate task, because interrupting it could leave bytes without a row.
    storing = services.running.start(_store_upload(services, owner, content))
    try:
        stored = await asyncio.shield(storing)
        await previews.read(services, stored.row(), previews.OFFERED_WIDTH, claimant)
    except BaseException:
        await asyncio.wait({storing})
        if not storing.cancelled() and storing.exception() is None:
            await delete(services, [storing.result().id])
        raise
    return stored


async def _store_upload(services: Services, owner: ProjectOwner, content: bytes) -> NewImage:
    if not owner.is_guest:
        stored, _ = await uploads.store_upload(services, owner.account_id, content)
        return stored
    stored, clean = await uploads.clean_upload(services, owner.account_id, content)
    await _store(services, owner, stored, clean)
    return stored


async def store_result(services: Services, owner: ProjectOwner, answer: ToolAnswer) -> NewImage:
    """Store the result of unbilled work. Raises `StorageFull`."""
    stored = await asyncio.to_thread(
        images.describe,
        services,
        owner.account_id,
        images.result_kind(answer),
        answer.format,
        answer.content,
        answer.width,
        answer.height,
    )
    await _store(services, owner, stored, answer.content)
    return stored


async def require_room(services: Services, owner: ProjectOwner) -> None:
    """Refuse work whose result could not be stored, before it begins. Raises `StorageFull`."""
    if owner.is_guest:
        await services.database.read(lambda session: _require_guest_room(session, services, owner, 1))
    else:
        await images.require_room(services, owner.account_id)


async def _store(services: Services, owner: ProjectOwner, image: NewImage, content: bytes) -> None:
    if not owner.is_guest:
        await images.store_without_rate(services, image, content)
        return
    await images.store_without_rate(
        services,
        image,
        content,
        room_bytes=services.guests_storage_bytes,
        check=lambda session: _require_guest_room(session, services, owner, image.size_bytes),
    )


async def find(services: Services, image_id: str) -> Image:
    """The image of a step whose owner was checked. Raises `NotFound`."""
    return await services.database.read(lambda session: images.find(session, services, None, image_id))


async def read(services: Services, image_id: str) -> bytes:
    """The image's bytes; extends its lifetime. Raises `NotFound`."""
    image = await find(services, image_id)
    content = await asyncio.to_thread(services.storage.read, image.id)
    await images.keep_longer(services, image)
    return content


async def delete(services: Services, image_ids: list[str]) -> None:
    """Delete images; missing ones are ignored."""

    def forget(session: Session) -> None:
        for image_id in image_ids:
            image = session.get(Image, image_id)
            if image is not None:
                session.delete(image)

    await services.database.run(forget)
    for image_id in image_ids:
        try:
            await asyncio.to_thread(services.storage.delete, image_id)
        except NotFound:
            continue


def _require_guest_room(session: Session, services: Services, owner: ProjectOwner, size_bytes: int) -> None:
    """Raises `StorageFull` if the guest's session or network address has no room for `size_bytes` more."""
    network = select(BrowserSession.address).where(BrowserSession.id == owner.session_id).scalar_subquery()
    of_network = select(BrowserSession.id).where(
        col(BrowserSession.account_id).is_(None), BrowserSession.address == network
    )
    parts = {
        _SESSION_SHARE: col(Project.session_id) == owner.session_id,
        _NETWORK_SHARE: col(Project.session_id).in_(of_network),
    }
    for share, condition in parts.items():
        room_bytes = services.guests_storage_bytes // share
        total = func.coalesce(func.sum(col(Image.size_bytes) + col(Image.artefact_bytes)), 0)
        projects = select(Project.id).where(condition)
        own = image_ids_of(col(Step.project_id).in_(projects))
        used = session.exec(select(total).where(col(Image.id).in_(own))).one()
        if used + size_bytes > room_bytes:
            raise StorageFull(
                f"Guests' images may fill {room_bytes // 1024**2} MiB here. Sign up for more room."
            )
