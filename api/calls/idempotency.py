"""Replay rows make retries safe: one row for each idempotency key, or for each call without one.

The lease of a call's hold is the row's lease too. A row that is still `running` although its hold was settled
or has lapsed belongs to a process that died, and counts as never written. A row is only changed under its
account's lock, or by a statement that checks its state.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, CursorResult, Table, bindparam
from sqlmodel import Session, col, delete, insert, or_, select, update

from api.calls.models import Replay, ReplayStatus
from billing.identifiers import new_id
from billing.ledger.models import Hold, HoldStatus
from ml.errors import PictureError

KEYED_LIFE = timedelta(hours=24)
KEYLESS_LIFE = timedelta(minutes=10)
ANSWER_BYTES_MAX = 1024 * 1024  # run lengths of a large mask are long

# Built once: admission runs them under the account's lock, and building them takes longer than running.
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
    """The prefix of `retry_key`: what a later call must have in common with this one to find its row."""

    KEYED = "key:"  # the caller's Idempotency-Key
    KEYLESS = "call:"  # the fingerprint
    RANDOM = "random:"  # the fingerprint of a call that answers differently each time
    JOB = "job:"  # the job's id, which no request has: a job that is run again finds its own row
    PAST = "past:"  # nothing: only calls that joined this one still get its answer


@dataclass(frozen=True)
class Answer:
    """A stored answer; `body` is the JSON body, byte for byte, at most 1 MiB."""

    status_code: int
    body: bytes
    image_id: str | None  # the result; None for an error


class JoinedCallLost(Exception):
    """The joined call ended without an answer. Never shown to callers, who are admitted again."""


def retry_key(idempotency_key: str | None, fingerprint: str, *, random: bool) -> str:
    if idempotency_key is not None:
        return RetryKind.KEYED + idempotency_key
    return (RetryKind.RANDOM if random else RetryKind.KEYLESS) + fingerprint


def find(session: Session, account_id: str, key: str) -> tuple[Replay, Hold | None] | None:
    """The row of this retry key, and its call's hold."""
    found = session.execute(_FIND, {"account_id": account_id, "retry_key": key}).one_or_none()
    return None if found is None else (found[0], found[1])


def has_keyless(session: Session, account_id: str, now: datetime) -> bool:
    """Whether a call without a key may still be joined or replayed."""
    statement = select(Replay.id).where(
        col(Replay.account_id) == account_id,
        col(Replay.retry_key).startswith(RetryKind.KEYLESS),
        col(Replay.expires_at) > now,
    )
    return session.exec(statement.limit(1)).first() is not None


def is_running(row: Replay, hold: Hold | None, now: datetime) -> bool:
    return (
        row.status == ReplayStatus.RUNNING
        and hold is not None
        and hold.status == HoldStatus.OPEN
        and hold.lease_until > now
    )


def is_key_running(session: Session, account_id: str, idempotency_key: str, now: datetime) -> bool:
    """Whether a call with this key is being made, in whichever process."""
    found = find(session, account_id, RetryKind.KEYED + idempotency_key)
    return found is not None and is_running(*found, now)


def answer_of(row: Replay) -> Answer:
    """The answer of a row that is done."""
    assert row.status_code is not None
    assert row.body is not None
    return Answer(row.status_code, row.body, row.image_id)


def begin(
    session: Session, *, account_id: str, key: str, fingerprint: str, hold_id: str, now: datetime
) -> str:
    """Insert the row of a running call; returns its id. A unique constraint refuses a second such row."""
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


def insert_answer(
    session: Session, *, account_id: str, key: str, fingerprint: str, answer: Answer, now: datetime
) -> str:
    """Insert the row of a request without a hold, which is already answered; returns its id.

    Raises ValueError as `store`.
    """
    _check_length(answer)
    row_id = new_id("rpl")
    values = {
        "id": row_id,
        "account_id": account_id,
        "retry_key": key,
        "fingerprint": fingerprint,
        "status": ReplayStatus.DONE.value,
        "status_code": answer.status_code,
        "body": answer.body,
        "image_id": answer.image_id,
        "created_at": now,
        "expires_at": now + _life(key),
    }
    session.execute(insert(_TABLE), values)
    return row_id


def forget(session: Session, row_id: str) -> None:
    """Delete a void row. A call that polls it raises JoinedCallLost."""
    session.execute(delete(Replay).where(col(Replay.id) == row_id))


def forget_running(session: Session, hold_id: str) -> None:
    """Delete the row of a call that ended without an answer."""
    running = col(Replay.status) == ReplayStatus.RUNNING
    session.execute(delete(Replay).where(col(Replay.hold_id) == hold_id, running))


def store(
    session: Session, row_id: str, *, hold_id: str, keyed: bool, answer: Answer, now: datetime
) -> datetime | None:
    """Store the answer of a running call; returns when it expires, or None if the row is another call's now.

    `keyed`: the call has an idempotency key. Without one only a success is replayed, and an error reaches
    only the calls that joined. Raises ValueError if the body is longer than 1 MiB.
    """
    _check_length(answer)
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
        _hide_from_new_calls(session, row_id)
    return until if changed else None


def is_kept(error: Exception) -> bool:
    """Whether the answer is stored, because a retry would compute the same error again."""
    return isinstance(error, PictureError)


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
    if found is None or not is_running(found[0], found[1], now):
        raise JoinedCallLost(replay_id)
    return None


def mark_delivered(session: Session, replay_id: str) -> None:
    """Stop replaying the answer of a random call once it was sent in full; other rows do not change."""
    _hide_from_new_calls(session, replay_id, col(Replay.retry_key).startswith(RetryKind.RANDOM))


def _hide_from_new_calls(session: Session, row_id: str, *only_if: ColumnElement[bool]) -> None:
    """Keep the row's answer for calls that joined, but hide it from new calls."""
    done = (col(Replay.id) == row_id, col(Replay.status) == ReplayStatus.DONE)
    session.execute(update(Replay).where(*done, *only_if).values(retry_key=RetryKind.PAST + row_id))


def forget_expired(session: Session, now: datetime, *, limit: int) -> int:
    """Delete up to `limit` expired rows whose call is not running; returns their number."""
    live = select(Hold.id).where(Hold.status == HoldStatus.OPEN, Hold.lease_until > now)
    not_running = or_(col(Replay.hold_id).is_(None), col(Replay.hold_id).not_in(live))
    expired = select(Replay.id).where(Replay.expires_at <= now, not_running).limit(limit)
    return _count(session.execute(delete(Replay).where(col(Replay.id).in_(expired))))


def _check_length(answer: Answer) -> None:
    if len(answer.body) > ANSWER_BYTES_MAX:
        raise ValueError(f"an answer of {len(answer.body)} bytes exceeds the {ANSWER_BYTES_MAX} allowed")


def _life(key: str) -> timedelta:
    return KEYED_LIFE if key.startswith((RetryKind.KEYED, RetryKind.JOB)) else KEYLESS_LIFE


def _count(result: object) -> int:
    assert isinstance(result, CursorResult)
    return int(result.rowcount)
