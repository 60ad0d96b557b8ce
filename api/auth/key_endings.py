"""When API keys end, and the alerts about those that are about to."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlmodel import Session, col, select

from api import response_bodies
from api.alerts import announcements
from api.alerts.announcements import Outlet
from api.alerts.models import AlertKind
from api.auth.models import ApiKey
from api.db.database import Database
from billing.ledger import accounts
from billing.ledger.models import Account

LOOKED_FOR_EVERY = timedelta(minutes=5)
_KEPT_AFTER_END = timedelta(days=7)
_BATCH = 200


class EndReason(StrEnum):
    ROTATED = "rotated"  # another key replaced it, and its grace period ends
    EXPIRES = "expires"  # on the day that the account's owner chose


#: How long before its end a key is announced. Who rotates a key knows that it ends, so it is a reminder.
NOTICE = {EndReason.ROTATED: timedelta(hours=6), EndReason.EXPIRES: timedelta(days=7)}


@dataclass(frozen=True)
class KeyEnding:
    at: datetime
    reason: EndReason


def ending_of(key: ApiKey) -> KeyEnding | None:
    """When the key stops working and why; None for one that does not end, or was revoked."""
    if key.expires_at is None or key.revoked_at is not None:
        return None
    is_rotated = key.replaced_at is not None
    return KeyEnding(key.expires_at, EndReason.ROTATED if is_rotated else EndReason.EXPIRES)


async def announce_due(database: Database, outlet: Outlet, now: datetime) -> int:
    """Announce each key that is about to end, once for each end; returns the number of new alerts.

    Raises `ServiceUnavailable`.
    """
    count, after = 0, ""
    while True:
        batch = await database.read(lambda session, last=after: _soon_ending(session, now, last))  # type: ignore[misc]
        for key_id, account_id, is_due in batch:
            if is_due:
                count += await database.run(
                    lambda s, k=key_id, a=account_id: _announce(s, k, a, now, outlet)  # type: ignore[misc]
                )
        if len(batch) < _BATCH:
            if count and outlet.engine is not None:
                outlet.engine.wake()
            return count
        after = batch[-1][0]


def _soon_ending(session: Session, now: datetime, after: str) -> list[tuple[str, str, bool]]:
    """Ids of keys with an end, those of their accounts, and whether they are to be announced."""
    statement = (
        select(ApiKey)
        .join(Account)
        .where(
            col(ApiKey.id) > after,
            col(ApiKey.expires_at) > now,
            col(ApiKey.expires_at) <= now + max(NOTICE.values()),
            col(ApiKey.revoked_at).is_(None),
            col(Account.closed_at).is_(None),
        )
        .order_by(col(ApiKey.id))
        .limit(_BATCH)
    )
    return [(key.id, key.account_id, _is_due(session, key, now)) for key in session.exec(statement)]


def _is_due(session: Session, key: ApiKey, now: datetime) -> bool:
    ending = ending_of(key)
    if ending is None or not now < ending.at <= now + NOTICE[ending.reason]:
        return False
    return not announcements.is_recorded(session, key.account_id, AlertKind.KEY_ENDING, _cause(key, ending))


def _announce(session: Session, key_id: str, account_id: str, now: datetime, outlet: Outlet) -> bool:
    account = accounts.lock_even_closed(session, account_id)
    key = session.get(ApiKey, key_id, populate_existing=True)
    if account.closed_at is not None or key is None or not _is_due(session, key, now):
        return False  # closed, revoked or rotated meanwhile
    ending = ending_of(key)
    assert ending is not None
    return announcements.record(
        session,
        account,
        AlertKind.KEY_ENDING,
        _cause(key, ending),
        {
            "keyId": key.id,
            "name": key.name,
            "firstCharacters": key.first_characters,
            "endsAt": response_bodies.timestamp(ending.at),
            "reason": ending.reason.value,
        },
        now,
        outlet=outlet,
        kept_for=ending.at - now + _KEPT_AFTER_END,
    )


def _cause(key: ApiKey, ending: KeyEnding) -> str:
    return f"{key.id}:{ending.at:%Y-%m-%dT%H:%M:%S}"
