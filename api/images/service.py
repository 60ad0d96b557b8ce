"""Stored images of an account: their quota, lifetime and signed URLs."""

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TypeVar

import structlog
from sqlmodel import Session, col, func, select, update

from api.errors import ApiError, FileTooLarge, NotFound, StorageFull
from api.images.models import Image, ImageKind
from api.images.signing import unix_seconds
from api.images.storage import is_image_id
from api.services import Services
from billing.errors import AccountSuspended
from billing.identifiers import new_id
from billing.ledger import accounts
from billing.ledger.models import Account
from ml.backend import ToolAnswer
from ml.imaging import codecs
from ml.params import Params
from ml.tool import ARTEFACT_PREFIX, Tool

T = TypeVar("T")
P = TypeVar("P", bound=Params)

FILE_LIMIT_BYTES = 25 * 1024 * 1024
ARTEFACT_BYTES_MAX = 16 * 1024 * 1024
#: A use extends an image's lifetime only if that gains more than this, so that not every use writes.
_SLACK = timedelta(hours=1)
_STRAYS_AT_ONCE = 500
_NO_SUCH_IMAGE = "No such image: it may have expired or been deleted."


log = structlog.get_logger()


@dataclass(frozen=True)
class Address:
    """A signed URL of an image, which needs no key and works until `expires_at`."""

    url: str
    expires_at: datetime


def check_size(size_bytes: int, limit_bytes: int = FILE_LIMIT_BYTES) -> None:
    """Raises `FileTooLarge` for an uploaded file over the limit."""
    if size_bytes > limit_bytes:
        raise FileTooLarge(f"The file is too large: at most {limit_bytes // 1024**2} MiB.")


def sniff(content: bytes) -> str:
    """The format of an uploaded file by its first bytes. Raises `UnsupportedFormat`."""
    return codecs.sniff(content[: codecs.SNIFF_BYTES])


@dataclass(frozen=True)
class NewImage:
    """An image that is about to be stored."""

    id: str
    account_id: str
    kind: ImageKind
    format: str
    size_bytes: int
    sha256: str
    width: int | None  # upright, in pixels, where known
    height: int | None
    created_at: datetime
    expires_at: datetime
    warnings: tuple[str, ...] = ()  # about the file as it was sent; they are not stored

    def row(self) -> Image:
        """A new row each time: a transaction may be retried, and a row belongs to one session."""
        columns = asdict(self)
        del columns["warnings"]
        return Image(**{**columns, "kind": self.kind.value})


def describe(
    services: Services,
    account_id: str,
    kind: ImageKind,
    format: str,
    content: bytes,
    width: int | None = None,
    height: int | None = None,
) -> NewImage:
    """Describe `content` under a new id. Hashes it, so run it in a thread.

    `width` and `height` are the upright size in pixels, where known.
    """
    sha256 = hashlib.sha256(content).hexdigest()
    return describe_hashed(
        services, account_id, kind, format, len(content), sha256, width=width, height=height
    )


def describe_hashed(
    services: Services,
    account_id: str,
    kind: ImageKind,
    format: str,
    size_bytes: int,
    sha256: str,
    *,
    width: int | None = None,
    height: int | None = None,
) -> NewImage:
    """As `describe`, for content whose hash is known."""
    now = services.clock()
    return NewImage(
        id=new_id("img"),
        account_id=account_id,
        kind=kind,
        format=format,
        size_bytes=size_bytes,
        sha256=sha256,
        width=width,
        height=height,
        created_at=now,
        expires_at=now + services.retention + _SLACK,
    )


async def store_without_rate(
    services: Services,
    image: NewImage,
    content: bytes,
    *,
    room_bytes: int | None = None,
    check: Callable[[Session], None] = lambda _session: None,
) -> None:
    """Store an image that costs neither a credit nor a call of the rate; the caller limits how many.

    `room_bytes` replaces the usual storage quota of an account. `check` runs in the same transaction and
    raises to refuse. Raises `StorageFull`.
    """

    def record(session: Session) -> None:
        accounts.lock_even_closed(session, image.account_id)  # so that two images cannot share the last room
        check_room(session, services, image.account_id, image.size_bytes, room_bytes)
        check(session)
        session.add(image.row())

    await store_bytes_and_row(services, image.id, content, record)


async def store_bytes_and_row(
    services: Services, image_id: str, content: bytes, record: Callable[[Session], T]
) -> T:
    """Write the bytes, then their row through `record`: bytes without a row are cleaned up later."""
    await asyncio.to_thread(services.storage.write, image_id, content)
    try:
        return await services.database.run(record)
    except Exception:
        await asyncio.to_thread(services.storage.delete, image_id)
        raise


async def read_for_call(services: Services, account_id: str, image_id: str) -> bytes:
    """The bytes of the account's image, for a call; this extends its lifetime. Raises `NotFound`."""
    image = await services.database.read(lambda session: find(session, services, account_id, image_id))
    content = await asyncio.to_thread(services.storage.read, image.id)
    await keep_longer(services, image)
    return content


def result_kind(answer: ToolAnswer) -> ImageKind:
    """The kind under which a tool's answer is stored."""
    return ImageKind.CUTOUT if answer.mask_mode == "alpha" else ImageKind.RESULT


async def with_mask_mode(services: Services, account_id: str, params: P, stored_ids: Mapping[str, str]) -> P:
    """`params` with the mask mode that fits the stored image used as the mask.

    A selection's cut-out is read by its alpha, unless `params` sets a mode: its pixels alone could equally
    be an image with holes to fill. Raises `NotFound`.
    """
    image_id = stored_ids.get("mask")
    if image_id is None or getattr(params, "mask_mode", None) != "auto":
        return params
    image = await services.database.read(lambda session: find(session, services, account_id, image_id))
    return params.model_copy(update={"mask_mode": "alpha"}) if image.kind == ImageKind.CUTOUT else params


async def read_artefacts(services: Services, image_id: str, tool: Tool) -> dict[str, bytes]:
    """The stored artefacts of an image that `tool` uses, by the file names that a worker expects."""
    artefacts = {}
    for name in tool.artefacts:
        content = await read_artefact(services, image_id, name)
        if content is not None:
            artefacts[f"{ARTEFACT_PREFIX}{name}"] = content
    return artefacts


async def read_artefact(services: Services, image_id: str, name: str) -> bytes | None:
    """What was stored for an image under this name."""
    return await asyncio.to_thread(services.storage.read_artefact, image_id, name)


async def keep_announced_artefacts(
    services: Services, image_id: str, tool: Tool, answer: ToolAnswer, *, room_bytes: int | None = None
) -> None:
    """Store the artefacts of an answer for the next call on the same image, as `keep_artefacts` does.

    A worker opens untrusted images, so only artefacts that the tool declares are stored.
    """
    announced = {name: answer.artefacts[name] for name in tool.artefacts if name in answer.artefacts}
    if announced:
        await keep_artefacts(services, image_id, announced, room_bytes=room_bytes)


async def keep_artefacts(
    services: Services, image_id: str, artefacts: Mapping[str, bytes], *, room_bytes: int | None = None
) -> None:
    """Store what was computed for an image, such as an embedding or a preview.

    It can be computed again, so without room, or if the image was deleted meanwhile, nothing is stored and
    nothing is raised. `room_bytes` as in `store_without_rate`.
    """
    try:
        await _keep_artefacts(services, image_id, artefacts, room_bytes)
    except ApiError as error:
        log.info("an artefact is not stored", image_id=image_id, reason=str(error))


async def _keep_artefacts(
    services: Services, image_id: str, artefacts: Mapping[str, bytes], room_bytes: int | None
) -> None:
    size_bytes = sum(map(len, artefacts.values()))
    if size_bytes > ARTEFACT_BYTES_MAX:
        raise FileTooLarge(f"Artefacts of {size_bytes} bytes")

    def check(session: Session) -> None:
        account_id = find(session, services, None, image_id).account_id
        check_room(session, services, account_id, size_bytes, room_bytes)

    await services.database.read(check)
    for name, content in artefacts.items():
        await asyncio.to_thread(services.storage.write_artefact, image_id, name, content)
    # Recompute the total, so that two calls that store the same artefact at once count it once.
    total_bytes = await asyncio.to_thread(services.storage.artefact_bytes, image_id)
    count = update(Image).where(col(Image.id) == image_id).values(artefact_bytes=total_bytes)

    def record(session: Session) -> bool:
        session.execute(count)
        return session.get(Image, image_id) is not None

    if not await services.database.run(record):
        await asyncio.to_thread(services.storage.delete_artefacts, image_id)


async def record_size(services: Services, image_id: str, width: int, height: int) -> None:
    """Record the upright size in pixels that a worker reported for an upload."""
    sized = update(Image).where(col(Image.id) == image_id).values(width=width, height=height)
    await services.database.run(lambda session: session.execute(sized))


async def keep_longer(services: Services, image: Image) -> None:
    """Restart the retention of an image that was used, unless it expired meanwhile."""
    now = services.clock()
    if image.expires_at >= now + services.retention:
        return
    not_expired = (col(Image.id) == image.id, col(Image.expires_at) > now)
    longer = update(Image).where(*not_expired).values(expires_at=now + services.retention + _SLACK)
    await services.database.run(lambda session: session.execute(longer))


async def delete(services: Services, account_id: str, image_id: str) -> None:
    """Delete the account's image at once. Raises `NotFound`."""

    def forget(session: Session) -> None:
        session.delete(find(session, services, account_id, image_id))

    # The row goes first: bytes without a row are cleaned up later, a row without bytes would be a dead link.
    await services.database.run(forget)
    await asyncio.to_thread(services.storage.delete, image_id)


def find(session: Session, services: Services, account_id: str | None, image_id: str) -> Image:
    """The image, if it has not expired and belongs to this account; None: any account, for a signed URL.

    Otherwise raises `NotFound`, the same for an unknown image, an expired one and another account's.
    """
    image = session.get(Image, image_id) if is_image_id(image_id) else None
    if image is None or image.expires_at <= services.clock():
        raise NotFound(_NO_SUCH_IMAGE)
    if account_id is not None and image.account_id != account_id:
        raise NotFound(_NO_SUCH_IMAGE)
    return image


def find_shared(session: Session, services: Services, image_id: str) -> Image:
    """As `find`, for a signed URL: of any account that is not suspended. Raises AccountSuspended too."""
    image = find(session, services, None, image_id)
    if session.get_one(Account, image.account_id).suspended_at is not None:
        raise AccountSuspended("the account of this image is suspended")
    return image


async def require_room(services: Services, account_id: str) -> None:
    """Raise `StorageFull` before work starts whose result could not be stored."""
    await services.database.read(lambda session: check_room(session, services, account_id, 1))


async def room_bytes(services: Services, account_id: str) -> int:
    """How much more the account may store; less than 0 if it stores more than that."""
    used = await services.database.read(lambda session: _used_bytes(session, services, account_id))
    return services.account_storage_bytes - used


def _used_bytes(session: Session, services: Services, account_id: str) -> int:
    """What the account stores. Expired images, which the next cleanups delete, do not count."""
    total = func.coalesce(func.sum(col(Image.size_bytes) + col(Image.artefact_bytes)), 0)
    lives = col(Image.expires_at) > services.clock()
    return session.exec(select(total).where(col(Image.account_id) == account_id, lives)).one()


def check_room(
    session: Session, services: Services, account_id: str, size_bytes: int, room_bytes: int | None = None
) -> None:
    room_bytes = room_bytes or services.account_storage_bytes
    if _used_bytes(session, services, account_id) + size_bytes > room_bytes:
        limit_mb = room_bytes // 1024**2
        raise StorageFull(
            f"Your stored images fill your {limit_mb} MiB. Delete some, or wait until they expire."
        )


def address(services: Services, base_url: str, image_id: str, width: int | None = None) -> Address:
    """A signed URL of the image, or of its preview of `width` pixels; it works for the retention from now.

    `base_url`: see `api.http.dependencies.public_base_url`.
    """
    expires_at = services.clock() + services.retention
    query = services.signer.sign(image_id, expires_at, width)
    whole_second = datetime.fromtimestamp(unix_seconds(expires_at), UTC)
    return Address(f"{base_url}/api/images/{image_id}?{query}", whole_second)


async def delete_strays(services: Services, age_seconds: float = 3600.0) -> None:
    """Delete files without a row, left by processes that died between writing and recording them."""
    await asyncio.to_thread(services.storage.delete_unfinished, age_seconds)
    stored = services.storage.ids_older_than(age_seconds)
    while batch := await asyncio.to_thread(lambda: set(islice(stored, _STRAYS_AT_ONCE))):
        known = select(Image.id).where(col(Image.id).in_(batch))
        recorded = await services.database.read(lambda session, known=known: set(session.exec(known)))  # type: ignore[misc]
        for image_id in batch - recorded:
            await asyncio.to_thread(services.storage.delete, image_id)
