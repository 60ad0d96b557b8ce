"""Stored pictures: uploads and results of an account, their quota, their life and their addresses."""

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import structlog
from sqlmodel import Session, col, func, select, update

from api.calls import admission
from api.db.models import Image, ImageKind
from api.errors import ApiError, FileTooLarge, NotFound, StorageFull
from api.images import metadata_removal
from api.images.signing import unix_seconds
from api.images.storage import is_image_id
from api.rate_limit import RateState
from api.services import Services
from billing.identifiers import new_id
from billing.ledger import accounts
from ml.backend import ToolAnswer
from ml.imaging import codecs
from ml.params import Params

T = TypeVar("T")
P = TypeVar("P", bound=Params)

FILE_LIMIT_BYTES = 25 * 1024 * 1024
ARTEFACT_BYTES_MAX = 16 * 1024 * 1024
MEDIA_TYPES = {
    "jpg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "avif": "image/avif",
    "heic": "image/heic",
}
#: A use moves a picture's end on only when it is due by less than this, so that not every use writes.
_SLACK = timedelta(hours=1)
_NO_SUCH_PICTURE = "No such picture: it may have expired or been deleted."


log = structlog.get_logger()


@dataclass(frozen=True)
class Address:
    """Where a picture can be fetched without a key, until `expires_at`."""

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
    """A picture that is about to be stored."""

    id: str
    account_id: str
    kind: ImageKind
    format: str
    size_bytes: int
    sha256: str
    width: int | None  # pixels, where known
    height: int | None
    created_at: datetime
    expires_at: datetime

    def row(self) -> Image:
        """A new row each time: a transaction may be tried again, and a row belongs to one session."""
        return Image(**{**asdict(self), "kind": self.kind.value})


def describe(
    services: Services,
    account_id: str,
    kind: ImageKind,
    format: str,
    content: bytes,
    width: int | None = None,
    height: int | None = None,
) -> NewImage:
    """The facts about `content`, under a new id; hashes it, so await it in a thread.

    `width` and `height` in pixels, where known.
    """
    now = services.clock()
    return NewImage(
        id=new_id("img"),
        account_id=account_id,
        kind=kind,
        format=format,
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        width=width,
        height=height,
        created_at=now,
        expires_at=now + services.retention + _SLACK,
    )


async def store_upload(services: Services, account_id: str, content: bytes) -> tuple[NewImage, RateState]:
    """Keep an uploaded picture, and nothing but the picture; takes one call of the rate, no credit.

    Raises `FileTooLarge`, `UnsupportedFormat`, `StorageFull`, `RateLimited` and what `cleaning.cleaned` does.
    """
    image, content = await clean_upload(services, account_id, content)

    def record(session: Session) -> RateState:
        # Taking from the rate locks the account, so that two uploads cannot both fit in the last megabyte.
        rate = admission.take_rate(session, account_id, services.clock())
        _require_room(session, services, account_id, image.size_bytes)
        session.add(image.row())
        return rate

    return image, await _store(services, image.id, content, record)


async def clean_upload(services: Services, account_id: str, content: bytes) -> tuple[NewImage, bytes]:
    """What is to be stored of an uploaded file, and the facts about it.

    Raises `FileTooLarge`, `UnsupportedFormat` and what `cleaning.cleaned` raises.
    """
    check_size(len(content))
    sniff(content)
    clean = await metadata_removal.strip_metadata(services, content)
    check_size(len(clean))
    described = await asyncio.to_thread(describe, services, account_id, ImageKind.UPLOAD, sniff(clean), clean)
    return described, clean


async def store_free_of_rate(
    services: Services,
    image: NewImage,
    content: bytes,
    *,
    room_bytes: int | None = None,
    check: Callable[[Session], None] = lambda _session: None,
) -> None:
    """Keep a picture that neither a credit nor the rate answers for; what limits it is the caller's to know.

    `room_bytes`: how much the account may have stored, where that is not what accounts usually may. `check`
    refuses within the same transaction by raising. Raises `StorageFull`.
    """

    def record(session: Session) -> None:
        accounts.lock_even_closed(session, image.account_id)  # two cannot both fit in the last megabyte
        _require_room(session, services, image.account_id, image.size_bytes, room_bytes)
        check(session)
        session.add(image.row())

    await _store(services, image.id, content, record)


async def _store(services: Services, image_id: str, content: bytes, record: Callable[[Session], T]) -> T:
    """The bytes first, then their row: bytes without a row are swept up, a row would promise a picture."""
    await asyncio.to_thread(services.storage.write, image_id, content)
    try:
        return await services.database.run(record)
    except Exception:
        await asyncio.to_thread(services.storage.delete, image_id)
        raise


async def read_for_call(services: Services, account_id: str, image_id: str) -> bytes:
    """The bytes of the account's picture, to work on; its life starts anew. Raises `NotFound`."""
    image = await services.database.read(lambda session: find(session, services, account_id, image_id))
    content = await asyncio.to_thread(services.storage.read, image.id)
    await keep_longer(services, image)
    return content


def result_kind(answer: ToolAnswer) -> ImageKind:
    """The kind under which a tool's answer is stored."""
    return ImageKind.CUTOUT if answer.mask_mode == "alpha" else ImageKind.RESULT


async def with_mask_mode(services: Services, account_id: str, params: P, stored_ids: Mapping[str, str]) -> P:
    """`params` with the mode in which the stored picture that serves as the mask is to be read.

    A selection's cut-out is read by its alpha, unless `params` says otherwise: judged by its pixels alone, it
    could as well be the picture with holes that are to be filled. Raises `NotFound`.
    """
    image_id = stored_ids.get("mask")
    if image_id is None or getattr(params, "mask_mode", None) != "auto":
        return params
    image = await services.database.read(lambda session: find(session, services, account_id, image_id))
    return params.model_copy(update={"mask_mode": "alpha"}) if image.kind == ImageKind.CUTOUT else params


async def read_artefacts(services: Services, image_id: str, names: Iterable[str]) -> dict[str, bytes]:
    """What earlier calls kept beside a picture that was just read for a call, of these names."""
    found = {name: await asyncio.to_thread(services.storage.read_artefact, image_id, name) for name in names}
    return {name: content for name, content in found.items() if content is not None}


async def keep_artefacts(
    services: Services, image_id: str, artefacts: Mapping[str, bytes], *, room_bytes: int | None = None
) -> None:
    """Keep what a tool computed for a picture, for the next call on it.

    It can be computed again, so nothing is raised: without room, or if the picture was deleted meanwhile,
    nothing is kept. `room_bytes` as in `store_free_of_rate`.
    """
    try:
        await _keep_artefacts(services, image_id, artefacts, room_bytes)
    except ApiError as error:
        log.info("an artefact is not kept", image_id=image_id, reason=str(error))


async def _keep_artefacts(
    services: Services, image_id: str, artefacts: Mapping[str, bytes], room_bytes: int | None
) -> None:
    size_bytes = sum(map(len, artefacts.values()))
    if size_bytes > ARTEFACT_BYTES_MAX:
        raise FileTooLarge(f"Artefacts of {size_bytes} bytes")

    def check(session: Session) -> None:
        account_id = find(session, services, None, image_id).account_id
        _require_room(session, services, account_id, size_bytes, room_bytes)

    await services.database.read(check)
    for name, content in artefacts.items():
        await asyncio.to_thread(services.storage.write_artefact, image_id, name, content)
    # The whole is counted anew, so that two calls that keep the same at once count it once.
    total_bytes = await asyncio.to_thread(services.storage.artefact_bytes, image_id)
    count = update(Image).where(col(Image.id) == image_id).values(artefact_bytes=total_bytes)

    def record(session: Session) -> bool:
        session.execute(count)
        return session.get(Image, image_id) is not None

    if not await services.database.run(record):
        await asyncio.to_thread(services.storage.delete_artefacts, image_id)


async def record_size(services: Services, image_id: str, width: int, height: int) -> None:
    """Note what a worker found when it opened an upload: its upright size in pixels."""
    sized = update(Image).where(col(Image.id) == image_id).values(width=width, height=height)
    await services.database.run(lambda session: session.execute(sized))


async def keep_longer(services: Services, image: Image) -> None:
    """Count a use: the picture lives for the whole retention from now, unless its end came meanwhile."""
    now = services.clock()
    if image.expires_at >= now + services.retention:
        return
    still_lives = (col(Image.id) == image.id, col(Image.expires_at) > now)
    longer = update(Image).where(*still_lives).values(expires_at=now + services.retention + _SLACK)
    await services.database.run(lambda session: session.execute(longer))


async def delete(services: Services, account_id: str, image_id: str) -> None:
    """Remove the account's picture at once. Raises `NotFound`."""

    def forget(session: Session) -> None:
        session.delete(find(session, services, account_id, image_id))

    # The row goes first: bytes without a row are swept up later, a row without bytes would promise a picture.
    await services.database.run(forget)
    await asyncio.to_thread(services.storage.delete, image_id)


def find(session: Session, services: Services, account_id: str | None, image_id: str) -> Image:
    """The picture if it lives and is this account's (None: anybody's, for a signed address).

    Raises `NotFound` alike for none, another account's and one past its time.
    """
    image = session.get(Image, image_id) if is_image_id(image_id) else None
    if image is None or image.expires_at <= services.clock():
        raise NotFound(_NO_SUCH_PICTURE)
    if account_id is not None and image.account_id != account_id:
        raise NotFound(_NO_SUCH_PICTURE)
    return image


async def require_room(services: Services, account_id: str) -> None:
    """Refuse work whose result would have no place, before any of it is done. Raises `StorageFull`."""
    await services.database.read(lambda session: _require_room(session, services, account_id, 1))


def _require_room(
    session: Session, services: Services, account_id: str, size_bytes: int, room_bytes: int | None = None
) -> None:
    room_bytes = room_bytes or services.account_storage_bytes
    total = func.coalesce(func.sum(col(Image.size_bytes) + col(Image.artefact_bytes)), 0)
    used = session.exec(select(total).where(col(Image.account_id) == account_id)).one()
    if used + size_bytes > room_bytes:
        limit_mb = room_bytes // 1024**2
        raise StorageFull(
            f"Your stored pictures fill their {limit_mb} MiB. Delete some, or wait for their end."
        )


def address(services: Services, base_url: str, image_id: str, width: int | None = None) -> Address:
    """A signed address of the picture, or of its preview of `width` pixels, good for the retention from now.

    `base_url` is the request's own address; the operator's public address comes first.
    """
    expires_at = services.clock() + services.retention
    query = services.signer.sign(image_id, expires_at, width)
    whole_second = datetime.fromtimestamp(unix_seconds(expires_at), UTC)
    return Address(f"{services.public_url or base_url}/api/images/{image_id}?{query}", whole_second)


async def delete_strays(services: Services, age_seconds: float = 3600.0) -> None:
    """Delete files that no row points at: a process died between writing one and recording it."""
    await asyncio.to_thread(services.storage.delete_unfinished, age_seconds)
    stored = await asyncio.to_thread(lambda: list(services.storage.ids_older_than(age_seconds)))
    stored = list(dict.fromkeys(stored))
    for batch in (stored[start : start + 500] for start in range(0, len(stored), 500)):
        known = select(Image.id).where(col(Image.id).in_(batch))
        recorded = await services.database.read(lambda session, known=known: set(session.exec(known)))  # type: ignore[misc]
        for image_id in set(batch) - recorded:
            await asyncio.to_thread(services.storage.delete, image_id)
