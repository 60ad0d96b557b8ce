"""Replay rows: what makes a retry safe. One row for each idempotency key, or each call without one.

A row lives and dies with its call's hold, whose lease is the row's lease too. A row that still says `running`
although its hold was settled or has lapsed belongs to a process that died: it is `dead`, as if never written.
Every change of a row is made under its account's lock, or by a condition in the statement itself.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, CursorResult, Table, bindparam
from sqlmodel import Session, col, delete, insert, or_, select, update

from api.db.models import Replay, ReplayStatus
from api.errors import status_and_code
from billing.identifiers import new_id
from billing.ledger.models import Hold, HoldStatus

KEYED_LIFE = timedelta(hours=24)
KEYLESS_LIFE = timedelta(minutes=10)
ANSWER_BYTES_MAX = 1024 * 1024  # run lengths of large masks are long
#: Errors that the work itself found: the only ones stored, so that a retry learns them again for nothing.
KEPT_ERROR_CODES = frozenset({"UNREADABLE_IMAGE", "IMAGE_TOO_LARGE", "NOTHING_FOUND", "MASK_EMPTY"})


# Built once: admission runs them under the account's lock, and building took longer than running.
_TABLE: Table = Replay.__table__  # type: ignore[attr-defined]
_FIND = (
    select(Replay, Hold)
    .join(Hold, col(Hold.id) == col(Replay.hold_id), isouter=True)
    .where(
        col(Replay.account_id) == bindparam("account_id"),
        col(Replay.retry_key) == bindparam("retry_key"),
    )
    .execution_options(populate_existing=True)
)
_BEGIN = insert(_TABLE)
_STORE = (
    update(_TABLE)
    .where(
        _TABLE.c.id == bindparam("row_id"),
        _TABLE.c.hold_id == bindparam("call"),
        _TABLE.c.status == ReplayStatus.RUNNING.value,
    )
    .values(
        status=ReplayStatus.DONE.value,
        status_code=bindparam("code"),
        body=bindparam("content"),
        image_id=bindparam("image"),
        expires_at=bindparam("until"),
    )
)


class RetryKind(StrEnum):
    """How `retry_key` begins: what a later call must have in common with this one to meet its row."""

    KEYED = "key:"  # the caller's Idempotency-Key
    KEYLESS = "call:"  # the fingerprint
    RANDOM = "random:"  # the fingerprint of a call that answers differently each time
    PAST = "past:"  # nothing: only those who joined the call may still have its answer


@dataclass(frozen=True)
class Answer:
    """A stored answer; `body` is the JSON body, byte for byte, at most 1 MiB."""

    status_code: int
    body: bytes
    image_id: str | None  # the result, for an answer that is the picture itself


class JoinedCallLost(Exception):
    """The call that was joined left no answer. Never shown to a caller, who is admitted again."""


def retry_key(idempotency_key: str | None, fingerprint: str, *, random: bool) -> str:
    if idempotency_key is not None:
        return RetryKind.KEYED + idempotency_key
    return (RetryKind.RANDOM if random else RetryKind.KEYLESS) + fingerprint


def find(session: Session, account_id: str, key: str) -> tuple[Replay, Hold | None] | None:
    """The row of this retry key, and its call's hold."""
    found = session.execute(_FIND, {"account_id": account_id, "retry_key": key}).one_or_none()
    return None if found is None else (found[0], found[1])


def runs(row: Replay, hold: Hold | None, now: datetime) -> bool:
    return (
        row.status == ReplayStatus.RUNNING
        and hold is not None
        and hold.status == HoldStatus.OPEN
        and hold.lease_until > now
    )


def answer_of(row: Replay) -> Answer:
    """The answer of a row that is done."""
    assert row.status_code is not None
    assert row.body is not None
    return Answer(row.status_code, row.body, row.image_id)


def begin(
    session: Session, *, account_id: str, key: str, fingerprint: str, hold_id: str, now: datetime
) -> str:
    """Records a running call; the row's id. The unique constraint refuses a second row of the same key."""
    row_id = new_id("rpl")
    values = {
        "id": row_id,
        "account_id": account_id,
        "retry_key": key,
        "fingerprint": fingerprint,
        "status": ReplayStatus.RUNNING.value,
        "hold_id": hold_id,
        "created_at": now,
        "expires_at": now + _life(key),
    }
    session.execute(_BEGIN, values)
    return row_id


def forget(session: Session, row_id: str) -> None:
    """Removes a row that is dead or past its time; whoever polls it learns that it is lost."""
    session.execute(delete(Replay).where(col(Replay.id) == row_id))


def forget_running(session: Session, hold_id: str) -> None:
    """Removes the row of a call that left no answer."""
    running = col(Replay.status) == ReplayStatus.RUNNING
    session.execute(delete(Replay).where(col(Replay.hold_id) == hold_id, running))


def store(
    session: Session, row_id: str, *, hold_id: str, keyed: bool, answer: Answer, now: datetime
) -> datetime | None:
    """Keeps the answer of a running call; until when, or None if the row is not this call's any more.

    `keyed`: the call has an idempotency key. Without one only a success is replayed, an error goes to those
    alone who joined. Raises ValueError if the body is longer than 1 MiB.
    """
    if len(answer.body) > ANSWER_BYTES_MAX:
        raise ValueError(f"an answer of {len(answer.body)} bytes is not kept; the most is {ANSWER_BYTES_MAX}")
    until = now + (KEYED_LIFE if keyed else KEYLESS_LIFE)
    values: dict[str, Any] = {
        "row_id": row_id,
        "call": hold_id,
        "code": answer.status_code,
        "content": answer.body,
        "image": answer.image_id,
        "until": until,
    }
    changed = _count(session.execute(_STORE, values))
    if changed and answer.status_code >= 300 and not keyed:
        _put_past(session, row_id)
    return until if changed else None


def is_kept(error: Exception) -> bool:
    """Whether `error` is one the work itself found, so that its answer is stored under the key."""
    return status_and_code(error)[1] in KEPT_ERROR_CODES


def joined_state(session: Session, replay_id: str, now: datetime) -> Answer | None:
    """The answer of a call that was joined, or None while it runs. Raises JoinedCallLost: admit again."""
    statement = (
        select(Replay, Hold)
        .join(Hold, col(Hold.id) == col(Replay.hold_id), isouter=True)
        .where(Replay.id == replay_id)
    )
    found = session.exec(statement).one_or_none()
    if found is not None and found[0].status == ReplayStatus.DONE:
        return answer_of(found[0])
    if found is None or not runs(found[0], found[1], now):
        raise JoinedCallLost(replay_id)
    return None


def mark_delivered(session: Session, replay_id: str) -> None:
    """The answer was sent in full: a random call's is not replayed any more. Others' stay as they are."""
    _put_past(session, replay_id, col(Replay.retry_key).startswith(RetryKind.RANDOM))


def _put_past(session: Session, row_id: str, *only_if: ColumnElement[bool]) -> None:
    """The row keeps its answer for those who joined its call, but no new call finds it."""
    done = (col(Replay.id) == row_id, col(Replay.status) == ReplayStatus.DONE)
    session.execute(update(Replay).where(*done, *only_if).values(retry_key=RetryKind.PAST + row_id))


def forget_expired(session: Session, now: datetime, *, limit: int) -> int:
    """Deletes up to `limit` rows past their time whose call does not run; returns their number."""
    live = select(Hold.id).where(Hold.status == HoldStatus.OPEN, Hold.lease_until > now)
    not_running = or_(col(Replay.hold_id).is_(None), col(Replay.hold_id).not_in(live))
    expired = select(Replay.id).where(Replay.expires_at <= now, not_running).limit(limit)
    return _count(session.execute(delete(Replay).where(col(Replay.id).in_(expired))))


def _life(key: str) -> timedelta:
    return KEYED_LIFE if key.startswith(RetryKind.KEYED) else KEYLESS_LIFE


def _count(result: object) -> int:
    assert isinstance(result, CursorResult)
    return int(result.rowcount)
