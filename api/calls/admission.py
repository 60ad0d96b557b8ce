"""Admission and settlement: the two database transactions of a call that costs a credit.

Both lock the account's row first, so that all changes to an account's replay rows, rate, holds and credits
are serialised across processes. Functions take a session and never commit.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import Table, bindparam
from sqlalchemy.orm.attributes import set_committed_value
from sqlmodel import Session, insert, update

from api import rate_limit
from api.calls import call_holds, call_log, idempotency
from api.calls.idempotency import Answer
from api.calls.models import CallRecord, Replay, ReplayStatus
from api.errors import IdempotencyInProgress, IdempotencyMismatch, RateLimited
from api.images.models import Image
from api.memberships import roles
from api.rate_limit import RateState
from billing.errors import HoldSettled, InsufficientCredits, LeaseAlive, LeaseLost
from billing.ledger import accounts, ledger
from billing.ledger.models import Account, Hold, HoldStatus
from billing.ledger.pipeline import pipelined
from billing.ledger.plans import PLANS, PlanName

LEASE_SECONDS = 30
RENEW_EVERY_SECONDS = 10
#: Calls a minute of one account's test keys together, unless the settings say otherwise.
TEST_CALLS_PER_MINUTE = 20

# Built once: building a statement takes longer than running it, and these run under the account's lock.
_ACCOUNT: Table = Account.__table__  # type: ignore[attr-defined]
_TAKE_RATE = (
    update(_ACCOUNT).where(_ACCOUNT.c.id == bindparam("account_id")).values(rate_full_at=bindparam("full_at"))
)
_TAKE_TEST_RATE = (
    update(_ACCOUNT)
    .where(_ACCOUNT.c.id == bindparam("account_id"))
    .values(test_rate_full_at=bindparam("full_at"))
)
_ADD_IMAGE = insert(Image.__table__).inline()  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Admitted:
    """Do the work, then settle. `available` is the number of credits left besides this hold."""

    account_id: str
    hold_id: str
    replay_id: str
    keyed: bool  # has an idempotency key
    rate: RateState
    available: int


@dataclass(frozen=True)
class Replayed:
    """An identical call was answered before: send that answer again, for 0 credits."""

    replay_id: str
    answer: Answer
    rate: RateState
    available: int


@dataclass(frozen=True)
class Joined:
    """An identical call is running: wait for it, or poll `idempotency.joined_state` if it is elsewhere."""

    replay_id: str
    rate: RateState
    available: int


@dataclass(frozen=True)
class Refused:
    """Raise `error` after the transaction, which must commit: a refused call counts towards the rate too."""

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
    budget_id: str | None = None,
    test_rate: int | None = None,
    person_id: str | None = None,
) -> AdmissionOutcome:
    """Check idempotency, rate, concurrency and credits of one call, in one transaction.

    `request_id` names the hold and must be new. `fingerprint` is the SHA-256 of tool, parameters and files.
    `random`: the same call answers differently each time. `rate_taken`: the call has taken its share of the
    rate, joined a call that then failed, and is admitted again. `budget_id`: where the credit counts.
    `test_rate`: calls a minute of a test key, whose call costs nothing; None for all other calls.
    `person_id`: the member who calls. Raises UnknownAccount, AccountClosed; Forbidden for a former member.
    """
    account = accounts.lock(session, account_id)
    roles.require_member(session, account_id, person_id)
    ledger.refresh(session, account, now)
    key = idempotency.retry_key(idempotency_key, fingerprint, random=random)
    found = idempotency.find(session, account_id, key)

    state, within_rate = _take(session, account, now, taken=rate_taken, test_rate=test_rate)
    if not within_rate:
        return Refused(_rate_refusal(state, is_test=test_rate is not None), state, account.available)
    if found is not None:
        outcome = _existing(session, *found, fingerprint, state, account.available, now)
        if outcome is not None:
            return outcome
        # Calls that poll the old row notice, because the new row has another id.
        idempotency.forget(session, found[0].id)

    is_test = test_rate is not None
    busy = call_holds.concurrency_refusal(session, account, now, is_test=is_test)
    if busy is not None:
        return Refused(busy, state, account.available)
    try:
        held = call_holds.hold(
            session,
            account,
            request_id=request_id,
            lease_owner=lease_owner,
            lease_seconds=LEASE_SECONDS,
            now=now,
            budget_id=budget_id,
            is_test=is_test,
        )
    except InsufficientCredits as error:
        return Refused(error, state, account.available)
    replay_id = idempotency.begin(
        session, account_id=account_id, key=key, fingerprint=fingerprint, hold_id=held.id, now=now
    )
    return Admitted(account_id, held.id, replay_id, idempotency_key is not None, state, account.available)


def admit_unbilled(
    session: Session,
    *,
    account_id: str,
    idempotency_key: str,
    fingerprint: str,
    now: datetime,
    test_rate: int | None = None,
) -> Replayed | Refused | RateState:
    """Check idempotency and rate of a request that costs no credit; the rate's state if it is admitted.

    After the work, `record_unbilled` stores its answer. Raises as `accounts.lock`.
    """
    key = idempotency.RetryKind.KEYED + idempotency_key
    return check_retry_and_rate(
        session, account_id=account_id, key=key, fingerprint=fingerprint, now=now, test_rate=test_rate
    )


def check_retry_and_rate(
    session: Session,
    *,
    account_id: str,
    key: str,
    fingerprint: str,
    now: datetime,
    rate_taken: bool = False,
    test_rate: int | None = None,
) -> Replayed | Refused | RateState:
    """Check idempotency and rate of a request that is answered at once; the rate's state if it is new.

    `key`: see `idempotency.retry_key`. A void row of this key is forgotten. Raises as `accounts.lock`.
    """
    account = accounts.lock(session, account_id)
    state, within_rate = _take(session, account, now, taken=rate_taken, test_rate=test_rate)
    if not within_rate:
        return Refused(_rate_refusal(state, is_test=test_rate is not None), state, account.available)
    found = idempotency.find(session, account_id, key)
    if found is None:
        return state
    outcome = _existing(session, *found, fingerprint, state, account.available, now)
    # Only calls that wait for their answer are joined, and their fingerprints are others.
    assert not isinstance(outcome, Joined)
    if outcome is not None:
        return outcome
    idempotency.forget(session, found[0].id)
    return state


def record_unbilled(
    session: Session,
    *,
    account_id: str,
    idempotency_key: str,
    fingerprint: str,
    answer: Answer,
    now: datetime,
) -> Answer:
    """Store the answer of an admitted request; an identical one that finished first gives its own answer.

    Raises `IdempotencyMismatch` if another request has taken the key meanwhile; and as `accounts.lock`.
    """
    account = accounts.lock(session, account_id)
    key = idempotency.RetryKind.KEYED + idempotency_key
    existing = idempotency.find(session, account_id, key)
    if existing is not None:
        outcome = _existing(session, *existing, fingerprint, rate_of(account, now), account.available, now)
        if isinstance(outcome, Replayed):
            return outcome.answer
        if isinstance(outcome, Refused):
            raise outcome.error
        idempotency.forget(session, existing[0].id)
    idempotency.insert_answer(
        session, account_id=account_id, key=key, fingerprint=fingerprint, answer=answer, now=now
    )
    return answer


class KeyState(StrEnum):
    """What became of a key that no call shall use any more."""

    REFUSED = "refused"  # no call with this key is charged from now on
    RUNNING = "running"  # a call is running: stop it, and ask again
    CHARGED = "charged"  # a call has succeeded: its answer is still replayed


def refuse_key(
    session: Session, *, account_id: str, idempotency_key: str, body: bytes, now: datetime
) -> KeyState:
    """Refuse calls with this key that arrive later, unless one is running or was charged.

    The key is taken by an answer that no call has asked for, `body`. Raises as `accounts.lock`.
    """
    account = accounts.lock(session, account_id)
    key = idempotency.RetryKind.KEYED + idempotency_key
    existing = idempotency.find(session, account_id, key)
    if existing is not None:
        row, hold = existing
        outcome = _existing(
            session, row, hold, row.fingerprint, rate_of(account, now), account.available, now
        )
        if isinstance(outcome, Replayed):
            return KeyState.CHARGED if outcome.answer.status_code < 300 else KeyState.REFUSED
        if outcome is not None:
            return KeyState.RUNNING
        idempotency.forget(session, row.id)
    answer = Answer(409, body, image_id=None)
    idempotency.insert_answer(session, account_id=account_id, key=key, fingerprint="", answer=answer, now=now)
    return KeyState.REFUSED


def rate_of(account: Account, now: datetime, test_rate: int | None = None) -> RateState:
    """The account's rate, without taking a call. `test_rate`: see `admit`."""
    full_at, limit = _rate(account, test_rate)
    return rate_limit.state(full_at, limit=limit, now=now)


def take_rate(session: Session, account_id: str, now: datetime, test_rate: int | None = None) -> RateState:
    """Take one call of the rate, on a route that costs no credit. Raises RateLimited and as accounts.lock."""
    account = accounts.lock(session, account_id)
    state, within_rate = _take(session, account, now, taken=False, test_rate=test_rate)
    if not within_rate:
        raise _rate_refusal(state, is_test=test_rate is not None)
    return state


def check_rate(state: RateState | None, *, is_test: bool = False) -> None:
    """Raises RateLimited if `state` has no call left; a call after its Retry-After is accepted."""
    if state is not None and state.remaining == 0:
        raise _rate_refusal(state, is_test=is_test)


def renew(session: Session, lease_owner: str, hold_ids: list[str], now: datetime) -> set[str]:
    """Renew the leases of this process's calls for LEASE_SECONDS; due every RENEW_EVERY_SECONDS.

    Returns the ids of the holds that were renewed. The other calls lost their holds and may be cancelled.
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
    record: CallRecord | None = None,
) -> bytes:
    """Charge the credit, record the result, and store the answer that `build_body(credits_remaining)` gives.

    `record` is the call's row in the call log. Raises LeaseLost, with nothing charged, if the call was
    cancelled or another process may have taken it over. Raises ValueError for an answer over 1 MiB: a charged
    call whose answer is not stored would be charged again by a retry.
    """
    account = accounts.lock_even_closed(session, admitted.account_id)
    try:
        ledger.capture(session, admitted.hold_id, lease_owner=lease_owner, now=now, account=account)
    except HoldSettled:
        if session.get_one(Hold, admitted.hold_id).status == HoldStatus.CAPTURED:
            raise
        raise LeaseLost("the call was cancelled while its result was made") from None
    body = build_body(account.available)
    until = _store(session, admitted, Answer(200, body, image.id), now)
    if until is None:
        raise LeaseLost("another process took over this call")
    # The result lives at least as long as the answer that points at it.
    image.expires_at = max(image.expires_at, until)
    with pipelined(session):
        session.execute(_ADD_IMAGE, image.model_dump())
        if record is not None:
            call_log.add(session, record)
    return body


def settle_failure(
    session: Session, admitted: Admitted, *, now: datetime, stored_answer: tuple[int, bytes] | None = None
) -> None:
    """Release the hold. `stored_answer` is status and body; pass it only where `idempotency.is_kept(error)`.

    Does nothing after a lost lease: a call that another process took over is left alone.
    """
    account = accounts.lock_even_closed(session, admitted.account_id)
    try:
        ledger.release(session, admitted.hold_id, now=now, status=HoldStatus.RELEASED, account=account)
    except HoldSettled:
        return  # Expired by cleanup or a takeover, or captured by a commit whose answer was lost.
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


def _rate(account: Account, test_rate: int | None) -> tuple[datetime | None, int]:
    """When the rate is full again, and its calls a minute."""
    if test_rate is not None:
        return account.test_rate_full_at, test_rate
    return account.rate_full_at, PLANS[PlanName(account.plan)].calls_per_minute


def _take(
    session: Session, account: Account, now: datetime, *, taken: bool, test_rate: int | None
) -> tuple[RateState, bool]:
    current, limit = _rate(account, test_rate)
    if taken:
        return rate_limit.state(current, limit=limit, now=now), True
    result = rate_limit.take(current, limit=limit, now=now)
    if result is None:
        return rate_limit.state(current, limit=limit, now=now), False
    full_at, state = result
    column, statement = (
        ("rate_full_at", _TAKE_RATE) if test_rate is None else ("test_rate_full_at", _TAKE_TEST_RATE)
    )
    session.execute(statement, {"account_id": account.id, "full_at": full_at})
    set_committed_value(account, column, full_at)
    return state, True


def _rate_refusal(state: RateState, *, is_test: bool = False) -> RateLimited:
    who = "Test keys have" if is_test else "The plan allows"
    message = f"{who} {state.limit} calls a minute; try again in {state.retry_after_seconds} s."
    return RateLimited(message, state.retry_after_seconds)


def _existing(
    session: Session,
    row: Replay,
    hold: Hold | None,
    fingerprint: str,
    state: RateState,
    available: int,
    now: datetime,
) -> Replayed | Joined | Refused | None:
    """The outcome for a call whose retry key has a row; None if the row is void and the call must run."""
    running = hold if idempotency.is_running(row, hold, now) or not _try_expire(session, hold, now) else None
    is_done = row.status == ReplayStatus.DONE and row.expires_at > now
    if running is None and not is_done:
        return None  # The process of the call died, or the row has expired.
    if row.fingerprint != fingerprint:
        message = "This Idempotency-Key was used for another request."
        return Refused(IdempotencyMismatch(message), state, available)
    if running is None:
        if _is_image_gone(session, row.image_id, now):
            return None  # The answer's URL would be 404.
        return Replayed(row.id, idempotency.answer_of(row), state, available)
    if not row.retry_key.startswith(idempotency.RetryKind.KEYED):
        return Joined(row.id, state, available)
    # Retry-After equals the age of the first call, so that a client that respects it doubles its pauses.
    age_seconds = int((now - running.created_at).total_seconds())
    message = "The first call with this key is still running."
    return Refused(IdempotencyInProgress(message, min(10, max(1, age_seconds))), state, available)


def _is_image_gone(session: Session, image_id: str | None, now: datetime) -> bool:
    """Whether the result that an answer points to was deleted."""
    if image_id is None:
        return False
    image = session.get(Image, image_id, populate_existing=True)
    return image is None or image.expires_at <= now


def _try_expire(session: Session, hold: Hold | None, now: datetime) -> bool:
    """Release the hold of a dead process. False if the process lives and has renewed its lease meanwhile."""
    if hold is None or hold.status != HoldStatus.OPEN:
        return True
    try:
        ledger.release(session, hold.id, now=now, status=HoldStatus.EXPIRED)
    except LeaseAlive:
        return False
    return True
