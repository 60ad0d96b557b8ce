"""Admission and settlement: the two database transactions of a call that costs a credit.

Both lock the account's row first, so that everything an account does to its replay rows, rate, holds and
credits happens one after the other, on however many processes. Functions take a session and never commit.

A call's replay row and its hold live and die together: the row's lease is its hold's. A row that still says
`running` although its hold was settled or has lapsed belongs to a process that died; it is taken over.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import CursorResult, func
from sqlmodel import Session, col, delete, select, update

from api import rate
from api.errors import IdempotencyInProgress, IdempotencyMismatch, RateLimited, status_and_code
from api.ids import new_id
from api.models import Image, Replay, ReplayStatus
from api.rate import RateState
from billing import accounts, ledger
from billing.errors import HoldSettled, InsufficientCredits, LeaseLost, UnknownAccount
from billing.models import Account, Hold, HoldStatus
from billing.plans import PLANS, Plan, PlanName

LEASE_SECONDS = 30
RENEW_EVERY_SECONDS = 10
KEYED_LIFE = timedelta(hours=24)
KEYLESS_LIFE = timedelta(minutes=10)
ANSWER_BYTES_MAX = 64 * 1024
#: Errors that the work itself found: the only ones stored, so that a retry learns them again for nothing.
KEPT_ERROR_CODES = frozenset({"UNREADABLE_IMAGE", "IMAGE_TOO_LARGE", "NOTHING_FOUND", "MASK_EMPTY"})

_KEYED = "key:"
_KEYLESS = "call:"
_RANDOM = "random:"  # a keyless call whose answer is another one each time
_PAST = "past:"  # an answer that only those may still have who joined its call


@dataclass(frozen=True)
class Admitted:
    """Do the work, then settle. `available` counts the credits left beside this hold."""

    account_id: str
    hold_id: str
    replay_id: str
    rate: RateState
    available: int


@dataclass(frozen=True)
class Replayed:
    """The call was done before: send this answer again, for 0 credits."""

    replay_id: str
    status_code: int
    body: bytes
    image_id: str | None
    rate: RateState
    available: int


@dataclass(frozen=True)
class Joined:
    """The identical call runs now; poll `joined_state` (or wait in the process that runs it)."""

    replay_id: str
    rate: RateState
    available: int


@dataclass(frozen=True)
class Refused:
    """Raise `error` after the transaction: a refusal is an outcome, since it too takes a call of the rate."""

    error: RateLimited | IdempotencyInProgress | IdempotencyMismatch | InsufficientCredits
    rate: RateState
    available: int


Outcome = Admitted | Replayed | Joined | Refused


@dataclass(frozen=True)
class Answer:
    status_code: int
    body: bytes
    image_id: str | None


def admit(
    session: Session,
    *,
    account_id: str,
    request_id: str,
    idempotency_key: str | None,
    fingerprint: str,
    lease_owner: str,
    now: datetime,
    random: bool = False,
    rate_taken: bool = False,
) -> Outcome:
    """Decides what becomes of one call: idempotency, rate, concurrency, credits, in this order.

    `request_id` names the hold and must be new. `fingerprint` is the SHA-256 of tool, parameters and files.
    `random` says that the same call answers differently each time. `rate_taken`: the call took its share of
    the rate before (a caller that joined a call which then failed, and comes back).
    Raises UnknownAccount, AccountClosed.
    """
    account = accounts.lock(session, account_id)
    ledger.refresh(session, account, now)
    plan = PLANS[PlanName(account.plan)]
    retry_key = _retry_key(idempotency_key, fingerprint, random=random)
    row = session.exec(
        select(Replay).where(Replay.account_id == account_id, Replay.retry_key == retry_key)
    ).one_or_none()

    state, within_rate = _take(account, plan, now, taken=rate_taken)
    if not within_rate:
        return Refused(rate_refusal(state), state, account.available)
    if row is not None:
        hold = _live_hold(session, row, now)
        if hold is not None or (row.status == ReplayStatus.DONE and row.expires_at > now):
            return _known(row, hold, fingerprint, state, account, now)
        _drop_dead_hold(session, row, now)

    if (
        account.held >= plan.concurrent_calls
        and _live_holds(session, account_id, now) >= plan.concurrent_calls
    ):
        message = f"The {plan.title} plan runs {plan.concurrent_calls} calls at once; wait for one to finish."
        return Refused(RateLimited(message, 1), state, account.available)
    try:
        new_hold = ledger.hold(
            session,
            account,
            reference=f"request:{request_id}",
            lease_owner=lease_owner,
            lease_seconds=LEASE_SECONDS,
            now=now,
        )
    except InsufficientCredits as error:
        return Refused(error, state, account.available)
    if row is not None:
        session.delete(row)  # Under a new id, so that whoever polls the old one learns that it is lost.
        session.flush()
    row = Replay(
        id=new_id("rpl"),
        account_id=account_id,
        retry_key=retry_key,
        fingerprint=fingerprint,
        hold_id=new_hold.id,
        created_at=now,
        expires_at=now + _life(retry_key),
    )
    session.add(row)
    session.flush()
    return Admitted(account_id, new_hold.id, row.id, state, account.available)


def peek_rate(session: Session, account_id: str, now: datetime) -> RateState:
    """The rate without taking a call: the check before a body is read. Raises UnknownAccount."""
    account = session.get(Account, account_id)
    if account is None:
        raise UnknownAccount(account_id)
    plan = PLANS[PlanName(account.plan)]
    return rate.state(account.rate_full_at, limit=plan.calls_per_minute, now=now)


def take_rate(session: Session, account_id: str, now: datetime) -> RateState:
    """One call of the rate, for a route that costs no credit.

    Raises RateLimited, UnknownAccount, AccountClosed.
    """
    account = accounts.lock(session, account_id)
    plan = PLANS[PlanName(account.plan)]
    state, within_rate = _take(account, plan, now, taken=False)
    if not within_rate:
        raise rate_refusal(state)
    session.flush()
    return state


def rate_refusal(state: RateState) -> RateLimited:
    """The error for a rate that is used up; obeying its Retry-After succeeds."""
    message = f"The plan allows {state.limit} calls a minute; try again in {state.retry_after_seconds} s."
    return RateLimited(message, state.retry_after_seconds)


def renew(session: Session, lease_owner: str, hold_ids: list[str], now: datetime) -> None:
    """Keeps this process's running calls alive for another LEASE_SECONDS; due every RENEW_EVERY_SECONDS."""
    ledger.renew_leases(session, lease_owner, hold_ids, now + timedelta(seconds=LEASE_SECONDS))


def settle_success(
    session: Session,
    admitted: Admitted,
    *,
    lease_owner: str,
    now: datetime,
    image: Image,
    build_body: Callable[[int], bytes],
) -> bytes:
    """Charges the credit, records the result, stores the answer made by `build_body(credits_remaining)`.

    Raises LeaseLost, with nothing charged, if another process may have taken the call over; ValueError if the
    answer is longer than 64 KiB, because a charged call whose answer is not kept would be charged again.
    """
    ledger.capture(session, admitted.hold_id, lease_owner=lease_owner, now=now)
    account = session.get_one(Account, admitted.account_id)
    body = build_body(account.available)
    if len(body) > ANSWER_BYTES_MAX:
        raise ValueError(f"an answer of {len(body)} bytes cannot be kept; the most is {ANSWER_BYTES_MAX}")
    row = _own_row(session, admitted)
    if row is None:
        raise LeaseLost("another process took this call over")
    _store(row, 200, body, image.id, now)
    # The result lives at least as long as the answer that points at it.
    image.expires_at = max(image.expires_at, row.expires_at)
    session.add(image)
    session.add(row)
    session.flush()
    return body


def settle_failure(
    session: Session, admitted: Admitted, *, now: datetime, stored_answer: tuple[int, bytes] | None = None
) -> None:
    """Gives the credit back. `stored_answer` is kept for retries; pass it only where `is_kept(error)`.

    Harmless after a lost lease: what another process took over stays as it is.
    """
    try:
        ledger.release(session, admitted.hold_id, now=now, status=HoldStatus.RELEASED)
    except HoldSettled:
        return  # Expired by the sweeper or a takeover, or captured by a commit whose answer was lost.
    row = _own_row(session, admitted)
    if row is None:
        return
    if stored_answer is None:
        session.delete(row)
    else:
        status_code, body = stored_answer
        _store(row, status_code, body, None, now)
        if not row.retry_key.startswith(_KEYED):
            # Without a key only a success is replayed; those who joined still learn the error.
            row.retry_key = _PAST + row.id
        session.add(row)
    session.flush()


def is_kept(error: Exception) -> bool:
    """Whether `error` is one the work itself found, so that its answer is stored under the key."""
    return status_and_code(error)[1] in KEPT_ERROR_CODES


def mark_delivered(session: Session, replay_id: str) -> None:
    """The answer was sent in full: a random call's is not replayed any more. Others' stay as they are."""
    session.execute(
        update(Replay)
        .where(
            col(Replay.id) == replay_id,
            col(Replay.status) == ReplayStatus.DONE,
            col(Replay.retry_key).startswith(_RANDOM),
        )
        # The row keeps its answer for those who joined, but no new call finds it.
        .values(retry_key=_PAST + replay_id)
    )


def joined_state(session: Session, replay_id: str, now: datetime) -> Answer | None:
    """The answer of a call that was joined, or None while it runs. Needs no lock.

    Raises JoinedCallLost when it ended without an answer to keep, or its process died: admit again.
    """
    row = session.get(Replay, replay_id)
    if row is not None and row.status == ReplayStatus.DONE:
        assert row.status_code is not None
        assert row.body is not None
        return Answer(row.status_code, row.body, row.image_id)
    if row is None or _live_hold(session, row, now) is None:
        raise JoinedCallLost(replay_id)
    return None


class JoinedCallLost(Exception):
    """The call that was joined failed; never shown to a caller, who is admitted again."""


def forget_expired(session: Session, now: datetime, *, limit: int) -> int:
    """Deletes up to `limit` replay rows past their time whose call does not run; returns their number."""
    live = select(Hold.id).where(Hold.status == HoldStatus.OPEN, Hold.lease_until > now)
    expired = (
        select(Replay.id)
        .where(Replay.expires_at <= now, (col(Replay.hold_id).is_(None)) | col(Replay.hold_id).not_in(live))
        .limit(limit)
    )
    result = session.execute(delete(Replay).where(col(Replay.id).in_(expired)))
    assert isinstance(result, CursorResult)
    return result.rowcount


def _retry_key(idempotency_key: str | None, fingerprint: str, *, random: bool) -> str:
    if idempotency_key is not None:
        return _KEYED + idempotency_key
    return (_RANDOM if random else _KEYLESS) + fingerprint


def _life(retry_key: str) -> timedelta:
    return KEYED_LIFE if retry_key.startswith(_KEYED) else KEYLESS_LIFE


def _take(account: Account, plan: Plan, now: datetime, *, taken: bool) -> tuple[RateState, bool]:
    limit = plan.calls_per_minute
    if taken:
        return rate.state(account.rate_full_at, limit=limit, now=now), True
    result = rate.take(account.rate_full_at, limit=limit, now=now)
    if result is None:
        return rate.state(account.rate_full_at, limit=limit, now=now), False
    account.rate_full_at, state = result
    return state, True


def _live_hold(session: Session, row: Replay, now: datetime) -> Hold | None:
    """The hold of a running call whose lease has not lapsed."""
    if row.status != ReplayStatus.RUNNING or row.hold_id is None:
        return None
    hold = session.get(Hold, row.hold_id)
    if hold is None or hold.status != HoldStatus.OPEN or hold.lease_until <= now:
        return None
    return hold


def _known(
    row: Replay, hold: Hold | None, fingerprint: str, state: RateState, account: Account, now: datetime
) -> Outcome:
    """What a call gets whose row is done, or runs under `hold`."""
    if row.fingerprint != fingerprint:
        message = "This Idempotency-Key was used for another request."
        return Refused(IdempotencyMismatch(message), state, account.available)
    if hold is None:
        assert row.status_code is not None
        assert row.body is not None
        return Replayed(row.id, row.status_code, row.body, row.image_id, state, account.available)
    if not row.retry_key.startswith(_KEYED):
        return Joined(row.id, state, account.available)
    # Waiting as long again as the first call has run so far doubles the pauses of a client that obeys.
    age_seconds = int((now - hold.created_at).total_seconds())
    error = IdempotencyInProgress("The first call with this key still runs.", min(10, max(1, age_seconds)))
    return Refused(error, state, account.available)


def _drop_dead_hold(session: Session, row: Replay, now: datetime) -> None:
    if row.status != ReplayStatus.RUNNING or row.hold_id is None:
        return
    hold = session.get(Hold, row.hold_id)
    if hold is not None and hold.status == HoldStatus.OPEN:
        ledger.release(session, hold.id, now=now, status=HoldStatus.EXPIRED)


def _live_holds(session: Session, account_id: str, now: datetime) -> int:
    """Running calls. A hold whose lease lapsed blocks nobody: its process died."""
    statement = select(func.count()).where(
        col(Hold.account_id) == account_id, Hold.status == HoldStatus.OPEN, col(Hold.lease_until) > now
    )
    return session.exec(statement).one()


def _own_row(session: Session, admitted: Admitted) -> Replay | None:
    """The replay row, unless another call has taken it over."""
    return session.exec(
        select(Replay).where(
            Replay.id == admitted.replay_id,
            Replay.hold_id == admitted.hold_id,
            Replay.status == ReplayStatus.RUNNING,
        )
    ).one_or_none()


def _store(row: Replay, status_code: int, body: bytes, image_id: str | None, now: datetime) -> None:
    row.status = ReplayStatus.DONE
    row.status_code, row.body, row.image_id = status_code, body, image_id
    row.expires_at = now + _life(row.retry_key)
