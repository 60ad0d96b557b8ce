"""Admission and settlement: the two database transactions of a call that costs a credit.

Both lock the account's row first, so that whatever an account does to its replay rows, rate, holds and
credits happens one after the other, on however many processes. Functions take a session and never commit.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Table, bindparam
from sqlalchemy.orm.attributes import set_committed_value
from sqlmodel import Session, col, func, insert, select, update

from api import rate_limit
from api.calls import idempotency
from api.calls.idempotency import Answer
from api.db.models import Image, Replay, ReplayStatus
from api.errors import IdempotencyInProgress, IdempotencyMismatch, RateLimited
from api.rate_limit import RateState
from billing.errors import HoldSettled, InsufficientCredits, LeaseAlive, LeaseLost, UnknownAccount
from billing.ledger import accounts, ledger
from billing.ledger.models import Account, Hold, HoldStatus
from billing.ledger.plans import PLANS, Plan, PlanName

LEASE_SECONDS = 30
RENEW_EVERY_SECONDS = 10

# Built once: building a statement takes longer than running it, and these run under the account's lock.
_ACCOUNT: Table = Account.__table__  # type: ignore[attr-defined]
_TAKE_RATE = (
    update(_ACCOUNT).where(_ACCOUNT.c.id == bindparam("account_id")).values(rate_full_at=bindparam("full_at"))
)
_ADD_IMAGE = insert(Image.__table__)  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Admitted:
    """Do the work, then settle. `available` counts the credits left beside this hold."""

    account_id: str
    hold_id: str
    replay_id: str
    keyed: bool  # by an idempotency key
    rate: RateState
    available: int


@dataclass(frozen=True)
class Replayed:
    """The call was done before: send its answer again, for 0 credits."""

    replay_id: str
    answer: Answer
    rate: RateState
    available: int


@dataclass(frozen=True)
class Joined:
    """The identical call runs now: poll `replays.joined_state`, or wait in the process that runs it."""

    replay_id: str
    rate: RateState
    available: int


@dataclass(frozen=True)
class Refused:
    """Raise `error` after the transaction: a refusal is an outcome, since it too takes a call of the rate."""

    error: RateLimited | IdempotencyInProgress | IdempotencyMismatch | InsufficientCredits
    rate: RateState
    available: int


AdmissionOutcome = Admitted | Replayed | Joined | Refused


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
) -> AdmissionOutcome:
    """What becomes of one call: idempotency, rate, concurrency and credits, in one transaction.

    `request_id` names the hold and must be new. `fingerprint` is the SHA-256 of tool, parameters and files.
    `random`: the same call answers differently each time. `rate_taken`: the call took its share of the rate
    before, joined a call that then failed, and comes back. Raises UnknownAccount, AccountClosed.
    """
    account = accounts.lock(session, account_id)
    ledger.refresh(session, account, now)
    plan = PLANS[PlanName(account.plan)]
    key = idempotency.retry_key(idempotency_key, fingerprint, random=random)
    found = idempotency.find(session, account_id, key)

    state, within_rate = _take(session, account, plan, now, taken=rate_taken)
    if not within_rate:
        return Refused(_rate_refusal(state), state, account.available)
    if found is not None:
        row, hold = found
        running = hold if idempotency.runs(row, hold, now) or _renewed(session, hold, now) else None
        if running or (row.status == ReplayStatus.DONE and row.expires_at > now):
            return _known(row, running, fingerprint, state, account.available, now)
        # Its process died, or its time is over. The new row has a new id: who polls the old one notices.
        idempotency.forget(session, row.id)

    # `held` counts the open holds and those of dead processes too, so it alone settles only the common case.
    if account.held >= plan.concurrent_calls and _running(session, account_id, now) >= plan.concurrent_calls:
        message = f"The {plan.title} plan runs {plan.concurrent_calls} calls at once; wait for one to finish."
        return Refused(RateLimited(message, 1), state, account.available)
    try:
        held = ledger.hold(
            session,
            account,
            reference=f"request:{request_id}",
            lease_owner=lease_owner,
            lease_seconds=LEASE_SECONDS,
            now=now,
        )
    except InsufficientCredits as error:
        return Refused(error, state, account.available)
    replay_id = idempotency.begin(
        session, account_id=account_id, key=key, fingerprint=fingerprint, hold_id=held.id, now=now
    )
    return Admitted(account_id, held.id, replay_id, idempotency_key is not None, state, account.available)


def peek_rate(session: Session, account_id: str, now: datetime) -> RateState:
    """The rate without taking a call: the check before a body is read. Raises UnknownAccount."""
    account = session.get(Account, account_id)
    if account is None:
        raise UnknownAccount(f"no account {account_id}")
    limit = PLANS[PlanName(account.plan)].calls_per_minute
    return rate_limit.state(account.rate_full_at, limit=limit, now=now)


def take_rate(session: Session, account_id: str, now: datetime) -> RateState:
    """One call of the rate, for a route that costs no credit. Raises RateLimited; and as accounts.lock."""
    account = accounts.lock(session, account_id)
    state, within_rate = _take(session, account, PLANS[PlanName(account.plan)], now, taken=False)
    if not within_rate:
        raise _rate_refusal(state)
    return state


def check_rate(state: RateState) -> None:
    """Raises RateLimited if `state` has no call left; obeying its Retry-After succeeds."""
    if state.remaining == 0:
        raise _rate_refusal(state)


def renew(session: Session, lease_owner: str, hold_ids: list[str], now: datetime) -> set[str]:
    """Keeps this process's calls alive for another LEASE_SECONDS; due every RENEW_EVERY_SECONDS.

    The ids of those that are still alive: the work of the others is lost and may be cancelled.
    """
    return ledger.renew_leases(session, lease_owner, hold_ids, now + timedelta(seconds=LEASE_SECONDS))


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
    answer is longer than 1 MiB, because a charged call whose answer is not kept would be charged again.
    """
    ledger.capture(session, admitted.hold_id, lease_owner=lease_owner, now=now)
    body = build_body(session.get_one(Account, admitted.account_id).available)
    until = _store(session, admitted, Answer(200, body, image.id), now)
    if until is None:
        raise LeaseLost("another process took this call over")
    # The result lives at least as long as the answer that points at it.
    image.expires_at = max(image.expires_at, until)
    session.execute(_ADD_IMAGE, image.model_dump())
    return body


def settle_failure(
    session: Session, admitted: Admitted, *, now: datetime, stored_answer: tuple[int, bytes] | None = None
) -> None:
    """Gives the credit back. `stored_answer` is status and body; pass it only where `replays.is_kept(error)`.

    Harmless after a lost lease: what another process took over stays as it is.
    """
    try:
        ledger.release(session, admitted.hold_id, now=now, status=HoldStatus.RELEASED)
    except HoldSettled:
        return  # Expired by the sweeper or a takeover, or captured by a commit whose answer was lost.
    if stored_answer is None:
        idempotency.forget_running(session, admitted.hold_id)
    else:
        _store(session, admitted, Answer(*stored_answer, image_id=None), now)


def _store(session: Session, admitted: Admitted, answer: Answer, now: datetime) -> datetime | None:
    return idempotency.store(
        session,
        admitted.replay_id,
        hold_id=admitted.hold_id,
        keyed=admitted.keyed,
        answer=answer,
        now=now,
    )


def _take(
    session: Session, account: Account, plan: Plan, now: datetime, *, taken: bool
) -> tuple[RateState, bool]:
    limit = plan.calls_per_minute
    if taken:
        return rate_limit.state(account.rate_full_at, limit=limit, now=now), True
    result = rate_limit.take(account.rate_full_at, limit=limit, now=now)
    if result is None:
        return rate_limit.state(account.rate_full_at, limit=limit, now=now), False
    full_at, state = result
    session.execute(_TAKE_RATE, {"account_id": account.id, "full_at": full_at})
    set_committed_value(account, "rate_full_at", full_at)
    return state, True


def _rate_refusal(state: RateState) -> RateLimited:
    message = f"The plan allows {state.limit} calls a minute; try again in {state.retry_after_seconds} s."
    return RateLimited(message, state.retry_after_seconds)


def _known(
    row: Replay, running: Hold | None, fingerprint: str, state: RateState, available: int, now: datetime
) -> AdmissionOutcome:
    """What a call gets whose row runs, under the hold `running`, or is done."""
    if row.fingerprint != fingerprint:
        message = "This Idempotency-Key was used for another request."
        return Refused(IdempotencyMismatch(message), state, available)
    if running is None:
        return Replayed(row.id, idempotency.answer_of(row), state, available)
    if not row.retry_key.startswith(idempotency.RetryKind.KEYED):
        return Joined(row.id, state, available)
    # Waiting as long again as the first call has run so far doubles the pauses of a client that obeys.
    age_seconds = int((now - running.created_at).total_seconds())
    error = IdempotencyInProgress("The first call with this key still runs.", min(10, max(1, age_seconds)))
    return Refused(error, state, available)


def _renewed(session: Session, hold: Hold | None, now: datetime) -> bool:
    """Gives the credit of a dead process's hold back, unless its owner renews it at this very moment."""
    if hold is None or hold.status != HoldStatus.OPEN:
        return False
    try:
        ledger.release(session, hold.id, now=now, status=HoldStatus.EXPIRED)
    except LeaseAlive:
        return True
    return False


def _running(session: Session, account_id: str, now: datetime) -> int:
    """Calls that run. A hold whose lease lapsed blocks nobody: its process died."""
    statement = select(func.count()).where(
        col(Hold.account_id) == account_id, Hold.status == HoldStatus.OPEN, col(Hold.lease_until) > now
    )
    return session.exec(statement).one()
