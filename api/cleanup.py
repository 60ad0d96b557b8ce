"""Background cleanup: holds whose process died, and expired rows and images.

Every process releases lapsed holds, each by a conditional statement, so that credits are released even if
one process hangs. One process at a time deletes expired rows and images (`api.db.leader`), in batches. The
ledger is consistent without the cleanup; credits of dead processes are only released later.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime, timedelta

from sqlmodel import Session, col, delete, or_, select

from api.alerts import announcements
from api.auth import former_accounts, invitations, sessions, throttle, tokens
from api.batches import service as batches
from api.calls import call_log, idempotency
from api.db import leader
from api.db.database import Database
from api.editor import projects, shared_runs
from api.errors import ServiceUnavailable
from api.images.models import EXPIRED_KEPT, Image
from api.jobs import service as jobs
from api.jobs import transitions
from api.webhooks import deliveries
from billing.errors import HoldSettled, LeaseAlive
from billing.ledger import ledger
from billing.ledger.models import HoldStatus
from billing.timestamps import utc_now

EVERY_SECONDS = 10  # with a lease of 30 s, a dead process's credits are released within 60 s
BATCH_SIZE = 200
_CLAIM_NAME = "cleanup"
#: Renewed with each batch; after a crash another process takes over when it has passed.
_CLAIM = timedelta(minutes=1)
_log = logging.getLogger(__name__)

#: Deletes the bytes of one stored image. Blocks, so it is called in a thread.
DeleteBytes = Callable[[str], None]
Clock = Callable[[], datetime]


async def run_forever(
    database: Database,
    delete_bytes: DeleteBytes,
    *,
    clock: Clock = utc_now,
    every_seconds: float = EVERY_SECONDS,
) -> None:
    """Clean up until cancelled."""
    await asyncio.gather(
        _repeat(lambda: _release_and_log(database, clock), every_seconds),
        _repeat(lambda: delete_expired(database, delete_bytes, clock), every_seconds),
    )


async def release_lapsed_holds(database: Database, now: datetime) -> int:
    """Release the holds of calls whose process died; returns their number. Raises ServiceUnavailable."""
    released = 0
    while True:
        lapsed = await database.read(lambda s: [hold.id for hold in ledger.lapsed_holds(s, now, BATCH_SIZE)])
        for hold_id in lapsed:
            released += await database.run(lambda session, one=hold_id: expire_hold(session, one, now))  # type: ignore[misc]
        if len(lapsed) < BATCH_SIZE:
            return released


def expire_hold(session: Session, hold_id: str, now: datetime) -> int:
    """Release a dead process's hold and its idempotency key; 1, or 0 if it was settled meanwhile.

    The hold of a job is kept, because another process runs the job.
    """
    if transitions.recover(session, hold_id, now):
        return 0
    with suppress(HoldSettled, LeaseAlive):  # by its owner, a retry or another process
        ledger.release(session, hold_id, now=now, status=HoldStatus.EXPIRED)
        idempotency.forget_running(session, hold_id)
        return 1
    return 0


async def delete_expired(database: Database, delete_bytes: DeleteBytes, clock: Clock) -> None:
    """Delete everything that has expired, unless another process does so. Raises ServiceUnavailable."""
    if not await leader.try_claim(database, _CLAIM_NAME, _CLAIM, clock()):
        return

    async def renew_claim() -> None:
        await leader.reschedule(database, _CLAIM_NAME, clock() + _CLAIM)

    try:
        await delete_expired_rows(database, clock(), renew_claim)
        await delete_expired_images(database, delete_bytes, clock(), renew_claim)
    finally:
        await leader.reschedule(database, _CLAIM_NAME, clock() + timedelta(seconds=EVERY_SECONDS))


async def _nothing() -> None:
    pass


async def delete_expired_rows(
    database: Database, now: datetime, after_batch: Callable[[], Awaitable[None]] = _nothing
) -> int:
    """Delete expired replays, call records, sessions, tokens, projects, jobs, messages, batches etc."""
    deleted = 0
    for delete_batch in (
        idempotency.forget_expired,
        call_log.forget_old,
        sessions.delete_expired,
        tokens.delete_expired,
        invitations.delete_expired,
        throttle.delete_full,
        former_accounts.delete_expired,
        projects.delete_expired,
        shared_runs.delete_expired,
        jobs.delete_expired,
        deliveries.delete_expired,
        announcements.delete_expired,
        batches.delete_expired,
    ):
        count = BATCH_SIZE
        while count >= BATCH_SIZE:
            count = await database.run(lambda s, one=delete_batch: one(s, now, limit=BATCH_SIZE))  # type: ignore[misc]
            deleted += count
            await after_batch()
    return deleted


async def delete_expired_images(
    database: Database,
    delete_bytes: DeleteBytes,
    now: datetime,
    after_batch: Callable[[], Awaitable[None]] = _nothing,
) -> int:
    """Delete expired images, bytes first and rows second; returns the number deleted.

    A crash in between leaves rows that the next run finds again, never bytes without a row. Expiry is final,
    so nothing uses an expired image in between. An image that cannot be deleted is skipped until the next
    run, so that it does not block the others.
    """
    deleted = 0
    last: tuple[datetime, str] | None = None
    while True:
        batch = await database.read(lambda session, after=last: _expired_images(session, now, after))  # type: ignore[misc]
        gone = await asyncio.to_thread(_delete_bytes_of, [image_id for _, image_id in batch], delete_bytes)
        await database.run(lambda s, ids=gone: s.execute(delete(Image).where(col(Image.id).in_(ids))))  # type: ignore[misc]
        deleted += len(gone)
        await after_batch()
        if len(batch) < BATCH_SIZE:
            return deleted
        last = batch[-1]


def _delete_bytes_of(image_ids: list[str], delete_bytes: DeleteBytes) -> list[str]:
    """Delete the bytes of these images; returns the ids of those deleted."""
    gone = []
    for image_id in image_ids:
        try:
            delete_bytes(image_id)
        except (ServiceUnavailable, OSError) as error:
            _log.warning("%s could not be deleted; the next cleanup tries again: %s", image_id, error)
        else:
            gone.append(image_id)
    return gone


def _expired_images(
    session: Session, now: datetime, after: tuple[datetime, str] | None
) -> list[tuple[datetime, str]]:
    """The next batch in the order of expiry, as (expires_at, id)."""
    expired = col(Image.expires_at) <= now - EXPIRED_KEPT
    statement = select(Image.expires_at, Image.id).where(expired)
    if after is not None:
        expires_at, image_id = after
        statement = statement.where(
            or_(
                col(Image.expires_at) > expires_at,
                (col(Image.expires_at) == expires_at) & (col(Image.id) > image_id),
            )
        )
    rows = session.exec(statement.order_by(col(Image.expires_at), col(Image.id)).limit(BATCH_SIZE))
    return [(expires_at, image_id) for expires_at, image_id in rows]


async def _release_and_log(database: Database, clock: Clock) -> None:
    released = await release_lapsed_holds(database, clock())
    if released:
        _log.warning("released %d holds of calls whose process died", released)


async def _repeat(work: Callable[[], Awaitable[None]], every_seconds: float) -> None:
    while True:
        try:
            await work()
        except ServiceUnavailable as error:
            _log.warning("the cleanup waits for the database: %s", error)
        except Exception:
            # Without this the loop would end silently, and credits would not come back.
            _log.exception("the cleanup failed; it is tried again")
        await asyncio.sleep(every_seconds)
