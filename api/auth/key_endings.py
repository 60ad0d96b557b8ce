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
        for key_id, recipients in batch:
            for recipient_id in recipients:
                count += await database.run(
                    lambda s, k=key_id, r=recipient_id: _announce(s, k, r, now, outlet)  # type: ignore[misc]
                )
        if len(batch) < _BATCH:
            if count and outlet.engine is not None:
                outlet.engine.wake()
            return count
        after = batch[-1][0]


def _soon_ending(session: Session, now: datetime, after: str) -> list[tuple[str, list[str]]]:
    """Ids of keys with an end, and to which accounts they are to be announced."""
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
    return [
        (key.id, [each for each in _recipients(key) if _is_due(session, key, each, now)])
        for key in session.exec(statement)
    ]


def _recipients(key: ApiKey) -> list[str]:
    """The account, and the member of it who made the key."""
    return [key.account_id] if key.created_by_id is None else [key.account_id, key.created_by_id]


def _is_due(session: Session, key: ApiKey, recipient_id: str, now: datetime) -> bool:
    ending = ending_of(key)
    if ending is None or not now < ending.at <= now + NOTICE[ending.reason]:
        return False
    return not announcements.is_recorded(session, recipient_id, AlertKind.KEY_ENDING, _cause(key, ending))


def _announce(session: Session, key_id: str, recipient_id: str, now: datetime, outlet: Outlet) -> bool:
    """Tell one account of its key, or of the one that it made as a member of another account.

    Each in a transaction of its own, so that it locks no two accounts.
    """
    recipient = accounts.lock_even_closed(session, recipient_id)
    key = session.get(ApiKey, key_id, populate_existing=True)
    if recipient.closed_at is not None or key is None or not _is_due(session, key, recipient_id, now):
        return False  # closed, revoked or rotated meanwhile
    is_own = key.account_id == recipient_id
    ending = ending_of(key)
    assert ending is not None
    return announcements.record(
        session,
        recipient,
        AlertKind.KEY_ENDING,
        _cause(key, ending),
        {
            "keyId": key.id,
            "name": key.name,
            "firstCharacters": key.first_characters,
            "endsAt": response_bodies.timestamp(ending.at),
            "reason": ending.reason.value,
            **({} if is_own else {"isOfAnother": True}),
        },
        now,
        outlet=outlet,
        has_webhooks=is_own,
        kept_for=ending.at - now + _KEPT_AFTER_END,
    )


def _cause(key: ApiKey, ending: KeyEnding) -> str:
    return f"{key.id}:{ending.at:%Y-%m-%dT%H:%M:%S}"
