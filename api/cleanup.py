"""What time undoes: holds whose process died, answers and pictures past their time.

Safe in every process at once: each change is a conditional statement of its own, so the second to come finds
nothing to do. Nothing here needs to run on time for credits to be right, only for them to come back soon.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlmodel import Session, col, delete, select

from api.auth import former_accounts, sessions, throttle, tokens
from api.calls import call_log, idempotency
from api.db.database import Database
from api.db.models import Image
from api.errors import ServiceUnavailable
from billing.errors import HoldSettled, LeaseAlive
from billing.ledger import ledger
from billing.ledger.models import HoldStatus
from billing.timestamps import utc_now

SWEEP_EVERY_SECONDS = 10  # with a lease of 30 s, a dead process's credits are back within 60 s
_BATCH = 200
# A picture stays this much longer than it is served, for downloads that began in time and clocks that differ.
_IMAGE_GRACE = timedelta(minutes=2)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Swept:
    """What one sweep did. Delete the bytes of `expired_image_ids`, then call `forget_images`."""

    released_holds: int
    forgotten_answers: int
    expired_image_ids: list[str]


async def sweep(database: Database, now: datetime) -> Swept:
    """One round, at most a batch of each kind. Raises ServiceUnavailable."""
    lapsed = await database.read(lambda s: [hold.id for hold in ledger.lapsed_holds(s, now, _BATCH)])
    released = 0
    for hold_id in lapsed:
        released += await database.run(lambda session, one=hold_id: expire_hold(session, one, now))  # type: ignore[misc]
    forgotten = await database.run(lambda session: idempotency.forget_expired(session, now, limit=_BATCH))
    await database.run(lambda session: call_log.forget_old(session, now, limit=_BATCH))
    await database.run(lambda session: _forget_visitors(session, now))
    images = await database.read(lambda session: _expired_images(session, now))
    return Swept(released, forgotten, images)


async def forget_images(database: Database, image_ids: list[str]) -> None:
    """Deletes the rows of pictures whose bytes are gone.

    Bytes first, rows second: a crash in between leaves rows that the next sweep meets again, never bytes that
    nothing points at. Nobody uses an expired picture in between, because expiry is final.
    """
    await database.run(lambda session: session.execute(delete(Image).where(col(Image.id).in_(image_ids))))


async def sweep_forever(
    database: Database,
    delete_bytes: Callable[[list[str]], Awaitable[None]],
    *,
    clock: Callable[[], datetime] = utc_now,
    every_seconds: float = SWEEP_EVERY_SECONDS,
) -> None:
    """Sweeps until cancelled. A database or store that is away is tried again the next time."""
    while True:
        try:
            swept = await sweep(database, clock())
            if swept.expired_image_ids:
                await delete_bytes(swept.expired_image_ids)
                await forget_images(database, swept.expired_image_ids)
            if swept.released_holds:
                _log.warning("released %d holds of calls whose process died", swept.released_holds)
        except (ServiceUnavailable, OSError) as error:
            _log.warning("the sweep is put off: %s", error)
        except Exception:
            # A loop that ends is noticed by nobody, until credits do not come back.
            _log.exception("the sweep failed; it is tried again")
        await asyncio.sleep(every_seconds)


def expire_hold(session: Session, hold_id: str, now: datetime) -> int:
    """Gives a dead process's credit back and frees its key; how many holds that were, 0 or 1."""
    with suppress(HoldSettled, LeaseAlive):  # Somebody was quicker: its owner, a retry, another sweeper.
        ledger.release(session, hold_id, now=now, status=HoldStatus.EXPIRED)
        idempotency.forget_running(session, hold_id)
        return 1
    return 0


def _forget_visitors(session: Session, now: datetime) -> None:
    """What signing in leaves behind: sessions and links past their time, buckets that are full again."""
    sessions.forget_expired(session, now, limit=_BATCH)
    tokens.forget_expired(session, now, limit=_BATCH)
    throttle.forget_full(session, now, limit=_BATCH)
    former_accounts.forget_old(session, now)


def _expired_images(session: Session, now: datetime) -> list[str]:
    ended = col(Image.expires_at) <= now - _IMAGE_GRACE
    return list(session.exec(select(Image.id).where(ended).order_by(Image.expires_at).limit(_BATCH)))  # type: ignore[arg-type]
