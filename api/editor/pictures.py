"""The editor's pictures that no credit answers for: opened ones, and results of free work."""

import asyncio

from sqlmodel import Session

from api import images, previews
from api.editor.owners import Owner
from api.errors import NotFound
from api.images import NewImage
from api.models import Image, ImageKind
from api.services import Services
from ml.backend import ToolAnswer

#: All guests together may have as much stored as this many accounts.
_GUESTS_ROOM = 4


async def store_opened(services: Services, owner: Owner, content: bytes) -> NewImage:
    """Keep a picture that somebody opened, and learn its size from a worker, which makes its preview.

    Of an account it takes one call of the rate, as `POST /api/images` does. Raises `FileTooLarge`,
    `UnsupportedFormat`, `StorageFull`, `RateLimited`; `UnreadablePicture`, `PictureTooLarge` and whatever
    else a worker finds: it is not kept then.
    """
    if owner.is_guest:
        stored, content = await images.clean_upload(services, owner.account_id, content)
        await images.store_free_of_rate(services, stored, content, room_bytes=_room_bytes(services, owner))
    else:
        stored, _ = await images.store_upload(services, owner.account_id, content)
    try:
        await previews.read(services, stored.row(), previews.OFFERED_WIDTH)
    except BaseException:
        await delete(services, [stored.id])
        raise
    return stored


async def store_result(services: Services, owner: Owner, answer: ToolAnswer) -> NewImage:
    """Keep the result of free work. Raises `StorageFull`."""
    stored = await asyncio.to_thread(
        images.describe,
        services,
        owner.account_id,
        ImageKind.RESULT,
        answer.format,
        answer.content,
        answer.width,
        answer.height,
    )
    room_bytes = _room_bytes(services, owner)
    await images.store_free_of_rate(services, stored, answer.content, room_bytes=room_bytes)
    return stored


async def find(services: Services, image_id: str) -> Image:
    """A picture of a step that was found for its owner. Raises `NotFound`."""
    return await services.database.read(lambda session: images.find(session, services, None, image_id))


async def read(services: Services, image_id: str) -> bytes:
    """Its bytes; its life starts anew. Raises `NotFound`."""
    image = await find(services, image_id)
    content = await asyncio.to_thread(services.storage.read, image.id)
    await images.keep_longer(services, image)
    return content


async def delete(services: Services, image_ids: list[str]) -> None:
    """Remove pictures; those that are gone already are no matter."""

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


def _room_bytes(services: Services, owner: Owner) -> int | None:
    return services.account_storage_bytes * _GUESTS_ROOM if owner.is_guest else None
