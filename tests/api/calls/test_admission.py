"""Admission and settlement of calls: order of checks, rate, concurrency and credits."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlmodel import Session, col, select

from api.calls import admission, idempotency
from api.calls.admission import Admitted, Joined, Refused, Replayed
from api.calls.models import Replay
from api.db.database import Database
from api.errors import IdempotencyInProgress, IdempotencyMismatch, RateLimited
from api.images.models import Image
from billing.errors import (
    AccountClosed,
    DuplicateReference,
    HoldSettled,
    InsufficientCredits,
    LeaseLost,
    UnknownAccount,
)
from billing.ledger import accounts, ledger
from billing.ledger.audit import audit
from billing.ledger.models import Account, GrantKind, Hold, HoldStatus
from billing.ledger.plans import PlanName
from ml.errors import EmptyMask, NothingFound, PictureTooLarge, UnreadablePicture, WorkerLost
from tests.support.builders import make_account
from tests.support.load import NOON, account_with, admit, admitted, refused, result_image, succeed

SECOND = timedelta(seconds=1)


@pytest.fixture
def session(database: Database) -> Iterator[Session]:
    """One transaction for the whole test; whatever it did, the books balance."""
    with database.transaction() as opened:
        yield opened
    with database.transaction() as opened:
        assert audit(opened) == []


def balance(session: Session, account_id: str) -> tuple[int, int]:
    account = session.get_one(Account, account_id, populate_existing=True)
    return account.available, account.held


def test_a_new_free_account_gets_its_15_credits_with_its_first_call(session: Session) -> None:
    account = make_account(session, plan=PlanName.FREE)
    call = admitted(session, account.id)
    assert call.available == 14
    assert balance(session, account.id) == (14, 1)


def test_an_admitted_call_holds_one_credit_and_its_success_spends_it(session: Session) -> None:
    account = account_with(session, credits=3)
    call = admitted(session, account.id)
    assert (call.available, call.rate.limit, call.rate.remaining) == (2, 600, 599)
    assert balance(session, account.id) == (2, 1)
    seen: list[int] = []
    body = admission.settle_success(
        session,
        call,
        lease_owner="process-1",
        now=NOON,
        image=result_image(account.id),
        build_body=lambda left: seen.append(left) or b"{}",  # type: ignore[func-returns-value]
    )
    assert (body, seen) == (b"{}", [2])
    assert balance(session, account.id) == (2, 0)


@pytest.mark.notices(fault="no release")
def test_a_failed_call_releases_its_credit_and_leaves_no_row(session: Session) -> None:
    account = account_with(session, credits=3)
    call = admitted(session, account.id, key="k")
    admission.settle_failure(session, call, now=NOON)
    assert balance(session, account.id) == (3, 0)
    assert session.exec(select(Replay)).all() == []
    admitted(session, account.id, key="k", fingerprint="a corrected request")


def test_a_call_without_credits_is_refused_and_counts_towards_the_rate(session: Session) -> None:
    account = account_with(session, credits=0)
    outcome = admit(session, account.id)
    assert isinstance(outcome, Refused)
    assert isinstance(outcome.error, InsufficientCredits)
    assert (outcome.available, outcome.rate.remaining) == (0, 599)
    assert admission.rate_of(session.get_one(Account, account.id), NOON).remaining == 599


def test_a_replay_succeeds_without_credits_and_counts_towards_the_rate(session: Session) -> None:
    account = account_with(session, credits=1)
    body = succeed(session, admitted(session, account.id, key="k"))
    outcome = admit(session, account.id, key="k")
    assert isinstance(outcome, Replayed)
    assert outcome.answer.body == body
    assert (outcome.available, outcome.rate.remaining) == (0, 598)


def test_a_closed_or_unknown_account_is_refused(session: Session) -> None:
    account = account_with(session, credits=1)
    accounts.close(session, account.id, now=NOON)
    with pytest.raises(AccountClosed):
        admit(session, account.id)
    with pytest.raises(UnknownAccount):
        admit(session, "acc_nobody")


def test_a_running_call_settles_after_its_account_is_closed(session: Session) -> None:
    account = account_with(session, credits=2)
    good, bad = admitted(session, account.id, key="a"), admitted(session, account.id, key="b")
    accounts.close(session, account.id, now=NOON)
    succeed(session, good)
    admission.settle_failure(session, bad, now=NOON)
    assert balance(session, account.id) == (1, 0)


def test_a_call_over_the_concurrency_limit_is_admitted_after_one_finishes(session: Session) -> None:
    account = account_with(session, credits=5, plan=PlanName.FREE)
    first = admitted(session, account.id, key="1")
    admitted(session, account.id, key="2")
    error = refused(session, account.id, key="3")
    assert isinstance(error, RateLimited)
    assert "2 calls at once" in error.message
    assert error.retry_after_seconds == 1
    admission.settle_failure(session, first, now=NOON)
    admitted(session, account.id, key="3")


def test_calls_of_a_dead_process_stop_counting_when_their_lease_lapses(session: Session) -> None:
    account = account_with(session, credits=5, plan=PlanName.FREE)
    for number in range(2):
        admitted(session, account.id, key=f"dead-{number}")
    late = NOON + 30 * SECOND
    for number in range(2):
        admitted(session, account.id, key=f"alive-{number}", now=late)
    assert isinstance(refused(session, account.id, key="third", now=late), RateLimited)


def test_the_rate_of_the_plan_is_enforced_and_retry_after_is_accurate(session: Session) -> None:
    account = account_with(session, credits=0, plan=PlanName.FREE)
    for number in range(20):
        assert isinstance(refused(session, account.id, key=f"{number}"), InsufficientCredits)
    outcome = admit(session, account.id, key="20")
    assert isinstance(outcome, Refused)
    assert isinstance(outcome.error, RateLimited)
    assert "20 calls a minute" in outcome.error.message
    wait = outcome.error.retry_after_seconds
    assert wait == outcome.rate.retry_after_seconds == 3
    assert wait is not None
    too_early = NOON + (wait - 1) * SECOND
    assert isinstance(refused(session, account.id, key="20", now=too_early), RateLimited)
    in_time = NOON + wait * SECOND
    assert isinstance(refused(session, account.id, key="20", now=in_time), InsufficientCredits)


def test_an_exhausted_rate_refuses_replays_too(session: Session) -> None:
    account = account_with(session, credits=1, plan=PlanName.FREE)
    succeed(session, admitted(session, account.id, key="k"))
    for _ in range(19):
        assert isinstance(admit(session, account.id, key="k"), Replayed)
    assert isinstance(refused(session, account.id, key="k"), RateLimited)


def test_a_call_readmitted_after_a_lost_join_does_not_take_the_rate_again(session: Session) -> None:
    account = account_with(session, credits=1)
    assert admitted(session, account.id).rate.remaining == 599
    joined = admit(session, account.id)
    assert isinstance(joined, Joined)
    assert joined.rate.remaining == 598
    again = admit(session, account.id, rate_taken=True)
    assert isinstance(again, Joined)
    assert again.rate.remaining == 598


def test_an_upload_counts_towards_the_rate_and_costs_no_credit(session: Session) -> None:
    account = account_with(session, credits=1, plan=PlanName.FREE)
    for left in range(19, -1, -1):
        assert admission.take_rate(session, account.id, NOON).remaining == left
    with pytest.raises(RateLimited) as refusal:
        admission.take_rate(session, account.id, NOON)
    assert refusal.value.retry_after_seconds == 3
    assert balance(session, account.id) == (1, 0)


def test_an_exhausted_rate_is_detected_before_the_body_is_read(session: Session) -> None:
    account = account_with(session, credits=1, plan=PlanName.FREE)
    admission.check_rate(admission.rate_of(session.get_one(Account, account.id), NOON))
    for _ in range(20):
        admission.take_rate(session, account.id, NOON)
    state = admission.rate_of(session.get_one(Account, account.id), NOON)
    with pytest.raises(RateLimited):
        admission.check_rate(state)
    later = NOON + state.retry_after_seconds * SECOND
    admission.check_rate(admission.rate_of(session.get_one(Account, account.id), later))


def test_a_lapsed_lease_charges_nothing_and_its_late_failure_has_no_effect(session: Session) -> None:
    account = account_with(session, credits=2)
    call = admitted(session, account.id, key="k")
    late = NOON + 30 * SECOND
    with pytest.raises(LeaseLost):
        succeed(session, call, now=late)
    admission.settle_failure(session, call, now=late)
    assert balance(session, account.id) == (2, 0)
    assert session.exec(select(Image)).all() == []


def test_a_call_that_was_cancelled_while_its_result_was_made_charges_nothing(session: Session) -> None:
    account = account_with(session, credits=2)
    call = admitted(session, account.id, key="k")
    ledger.release(session, call.hold_id, now=NOON)
    with pytest.raises(LeaseLost, match="cancelled"):
        succeed(session, call)
    assert balance(session, account.id) == (2, 0)
    assert session.exec(select(Image)).all() == []


def test_a_call_that_has_succeeded_cannot_succeed_again(session: Session) -> None:
    account = account_with(session, credits=2)
    call = admitted(session, account.id, key="k")
    succeed(session, call)
    with pytest.raises(HoldSettled):
        succeed(session, call)
    assert balance(session, account.id) == (1, 0)


def test_another_owner_cannot_settle_a_call(session: Session) -> None:
    account = account_with(session, credits=2)
    call = admitted(session, account.id, key="k")
    with pytest.raises(LeaseLost):
        succeed(session, call, owner="process-2")


def test_a_renewed_lease_keeps_a_long_call_alive(session: Session) -> None:
    account = account_with(session, credits=2)
    call = admitted(session, account.id, key="k")
    now = NOON
    for _ in range(6):
        now += admission.RENEW_EVERY_SECONDS * SECOND
        assert admission.renew(session, "process-1", [call.hold_id], now) == {call.hold_id}
    assert admission.renew(session, "process-2", [call.hold_id], now) == set()
    assert isinstance(refused(session, account.id, key="k", now=now), IdempotencyInProgress)
    succeed(session, call, now=now + 29 * SECOND)
    assert balance(session, account.id) == (1, 0)


def test_a_retry_takes_over_the_call_of_a_dead_process_and_its_credit_is_released(session: Session) -> None:
    account = account_with(session, credits=2)
    dead = admitted(session, account.id, key="k")
    late = NOON + 30 * SECOND
    retry = admitted(session, account.id, key="k", owner="process-2", now=late)
    assert balance(session, account.id) == (1, 1)
    assert session.get_one(Hold, dead.hold_id, populate_existing=True).status == HoldStatus.EXPIRED
    with pytest.raises(LeaseLost):
        succeed(session, dead, now=late)
    admission.settle_failure(session, dead, now=late)
    succeed(session, retry, owner="process-2", now=late)
    assert balance(session, account.id) == (1, 0)


@pytest.mark.notices(fault="no unique reference")
def test_reusing_a_request_id_is_a_programming_error(session: Session) -> None:
    account = account_with(session, credits=5)

    def again(key: str) -> object:
        return admission.admit(
            session,
            account_id=account.id,
            request_id="req_same",
            idempotency_key=key,
            fingerprint="f",
            lease_owner="process-1",
            now=NOON,
        )

    assert isinstance(again("a"), Admitted)
    with pytest.raises(DuplicateReference):
        again("b")


def test_the_credit_that_expires_first_is_held_first(session: Session) -> None:
    account = account_with(session, credits=1)
    ends = NOON + timedelta(days=1)
    soon = ledger.grant(
        session,
        account,
        kind=GrantKind.GOODWILL,
        amount=1,
        reference="soon",
        expires_at=ends,
        now=NOON,
    )
    call = admitted(session, account.id)
    assert session.get_one(Hold, call.hold_id).grant_id == soon.id


@pytest.mark.parametrize(
    ("error", "kept"),
    [
        (UnreadablePicture("x"), True),
        (PictureTooLarge("x"), True),
        (NothingFound("x"), True),
        (EmptyMask("x"), True),
        (WorkerLost("x"), False),
        (RateLimited("x", 1), False),
        (IdempotencyMismatch("x"), False),
        (ValueError("x"), False),
    ],
)
def test_only_errors_of_the_work_are_stored(error: Exception, kept: bool) -> None:
    assert idempotency.is_kept(error) is kept


def test_a_response_too_long_to_store_is_refused_before_it_is_charged(database: Database) -> None:
    with database.transaction() as session:
        account = account_with(session, credits=1)
        call = admitted(session, account.id, key="k")
    most = idempotency.ANSWER_BYTES_MAX
    with pytest.raises(ValueError, match=str(most + 1)), database.transaction() as session:
        succeed(session, call, body=b"x" * (most + 1))
    with database.transaction() as session:
        assert balance(session, account.id) == (0, 1)
        succeed(session, call, body=b"x" * most)


def test_a_result_image_outlives_the_stored_response_that_refers_to_it(session: Session) -> None:
    account = account_with(session, credits=1)
    call = admitted(session, account.id, key="k")
    image = result_image(account.id)
    image.expires_at = NOON + timedelta(hours=1)
    admission.settle_success(
        session, call, lease_owner="process-1", now=NOON, image=image, build_body=lambda left: b"{}"
    )
    row = session.exec(select(Replay).where(col(Replay.id) == call.replay_id)).one()
    assert image.expires_at == row.expires_at == NOON + timedelta(hours=24)
