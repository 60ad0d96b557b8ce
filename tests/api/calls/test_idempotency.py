"""Idempotency with and without a key, after failures and crashes, and under concurrency."""

import time
from datetime import timedelta
from functools import partial

import pytest
from sqlmodel import Session, select

from api.calls import admission, idempotency
from api.calls.admission import AdmissionOutcome, Admitted, Joined, Refused, Replayed
from api.calls.idempotency import Answer, JoinedCallLost
from api.calls.models import Replay
from api.db.database import Database
from api.errors import IdempotencyInProgress, IdempotencyMismatch
from api.images.models import Image
from billing.ledger.audit import audit
from billing.ledger.models import Account
from tests.api.calls.test_admission_load import captures, make_accounts
from tests.support.load import NOON, Load, account_with, admit, admitted, refused, run, succeed

SECOND = timedelta(seconds=1)
LAPSED = NOON + 30 * SECOND


@pytest.fixture
def account_id(database: Database) -> str:
    with database.transaction() as session:
        return account_with(session, credits=50).id


def replayed(outcome: AdmissionOutcome) -> Answer:
    assert isinstance(outcome, Replayed), outcome
    return outcome.answer


def test_a_replay_is_byte_for_byte_the_first_response(database: Database, account_id: str) -> None:
    body = bytes(range(256)) * 4
    with database.transaction() as session:
        call = admitted(session, account_id, key="k")
        succeed(session, call, body=body)
    with database.transaction() as session:
        answer = replayed(admit(session, account_id, key="k"))
    assert (answer.status_code, answer.body) == (200, body)
    assert answer.image_id is not None
    with database.transaction() as session:
        assert captures(session, account_id) == 1


def test_another_request_under_the_same_key_is_refused(database: Database, account_id: str) -> None:
    with database.transaction() as session:
        call = admitted(session, account_id, key="k", fingerprint="one")
        error = refused(session, account_id, key="k", fingerprint="other")
        assert isinstance(error, IdempotencyMismatch)
        succeed(session, call)
        error = refused(session, account_id, key="k", fingerprint="other")
        assert isinstance(error, IdempotencyMismatch)
        assert error.param == "Idempotency-Key"


@pytest.mark.parametrize("key", ["k", None])
def test_a_replay_whose_image_was_deleted_is_new_work(
    database: Database, account_id: str, key: str | None
) -> None:
    with database.transaction() as session:
        succeed(session, admitted(session, account_id, key=key))
    with database.transaction() as session:
        image_id = replayed(admit(session, account_id, key=key)).image_id
        session.delete(session.get_one(Image, image_id))
    with database.transaction() as session:
        succeed(session, admitted(session, account_id, key=key))
    with database.transaction() as session:
        assert replayed(admit(session, account_id, key=key)).image_id not in (None, image_id)
        assert captures(session, account_id) == 2


def test_another_request_is_refused_even_after_the_image_of_its_key_was_deleted(
    database: Database, account_id: str
) -> None:
    with database.transaction() as session:
        succeed(session, admitted(session, account_id, key="k", fingerprint="one"))
        answer = replayed(admit(session, account_id, key="k", fingerprint="one"))
        session.delete(session.get_one(Image, answer.image_id))
    with database.transaction() as session:
        error = refused(session, account_id, key="k", fingerprint="other")
        assert isinstance(error, IdempotencyMismatch)


def test_the_key_of_a_running_call_is_in_progress_and_retry_delays_grow(
    database: Database, account_id: str
) -> None:
    with database.transaction() as session:
        call = admitted(session, account_id, key="k")
        waits = []
        for age in (0, 1, 4, 29):
            error = refused(session, account_id, key="k", now=NOON + age * SECOND)
            assert isinstance(error, IdempotencyInProgress)
            waits.append(error.retry_after_seconds)
        assert waits == [1, 1, 4, 10]
        succeed(session, call)


def test_two_accounts_may_use_one_key(database: Database, account_id: str) -> None:
    with database.transaction() as session:
        other_id = account_with(session, credits=1).id
        first = succeed(session, admitted(session, account_id, key="k"))
        second = succeed(session, admitted(session, other_id, key="k", fingerprint="other"))
        assert replayed(admit(session, account_id, key="k")).body == first
        assert replayed(admit(session, other_id, key="k", fingerprint="other")).body == second


def test_a_key_expires_after_24_hours(database: Database, account_id: str) -> None:
    with database.transaction() as session:
        body = succeed(session, admitted(session, account_id, key="k"))
        almost = NOON + timedelta(hours=24) - SECOND
        assert replayed(admit(session, account_id, key="k", now=almost)).body == body
        after = NOON + timedelta(hours=24)
        again = admitted(session, account_id, key="k", fingerprint="another request by now", now=after)
        assert succeed(session, again, now=after) != body


def test_a_call_without_a_key_is_replayed_for_10_minutes(database: Database, account_id: str) -> None:
    with database.transaction() as session:
        body = succeed(session, admitted(session, account_id))
        assert isinstance(admit(session, account_id, fingerprint="other"), Admitted)
        almost = NOON + timedelta(minutes=10) - SECOND
        assert replayed(admit(session, account_id, now=almost)).body == body
        assert isinstance(admit(session, account_id, now=NOON + timedelta(minutes=10)), Admitted)


def test_a_call_with_a_key_is_not_matched_to_one_without(database: Database, account_id: str) -> None:
    with database.transaction() as session:
        succeed(session, admitted(session, account_id, fingerprint="same"))
        succeed(session, admitted(session, account_id, key="same", fingerprint="same"))
        assert captures(session, account_id) == 2


def test_an_identical_call_without_a_key_joins_the_running_one(database: Database, account_id: str) -> None:
    with database.transaction() as session:
        call = admitted(session, account_id)
        joined = admit(session, account_id)
        assert isinstance(joined, Joined)
        assert joined.replay_id == call.replay_id
        assert idempotency.joined_state(session, joined.replay_id, NOON) is None
        body = succeed(session, call)
        answer = idempotency.joined_state(session, joined.replay_id, NOON)
        assert answer is not None
        assert answer.body == body
        assert captures(session, account_id) == 1


def test_joining_a_call_that_fails_ends_in_call_lost(database: Database, account_id: str) -> None:
    with database.transaction() as session:
        call = admitted(session, account_id)
        admission.settle_failure(session, call, now=NOON)
        with pytest.raises(JoinedCallLost):
            idempotency.joined_state(session, call.replay_id, NOON)


def test_joining_a_call_whose_process_died_ends_in_call_lost(database: Database, account_id: str) -> None:
    with database.transaction() as session:
        call = admitted(session, account_id)
        with pytest.raises(JoinedCallLost):
            idempotency.joined_state(session, call.replay_id, LAPSED)
        admitted(session, account_id, owner="process-2", now=LAPSED)
        with pytest.raises(JoinedCallLost):
            idempotency.joined_state(session, call.replay_id, LAPSED)


def test_errors_of_the_work_are_replayed_under_a_key(database: Database, account_id: str) -> None:
    with database.transaction() as session:
        call = admitted(session, account_id, key="k")
        admission.settle_failure(session, call, now=NOON, stored_answer=(422, b"nothing found"))
        answer = replayed(admit(session, account_id, key="k"))
        assert answer == Answer(422, b"nothing found", None)
        assert isinstance(refused(session, account_id, key="k", fingerprint="x"), IdempotencyMismatch)
        assert captures(session, account_id) == 0


def test_errors_of_the_work_without_a_key_reach_joined_callers_but_are_not_replayed(
    database: Database, account_id: str
) -> None:
    with database.transaction() as session:
        call = admitted(session, account_id)
        admission.settle_failure(session, call, now=NOON, stored_answer=(422, b"nothing found"))
        assert idempotency.joined_state(session, call.replay_id, NOON) == Answer(422, b"nothing found", None)
        assert isinstance(admit(session, account_id), Admitted)


def test_after_any_other_failure_a_corrected_request_may_reuse_its_key(
    database: Database, account_id: str
) -> None:
    with database.transaction() as session:
        admission.settle_failure(session, admitted(session, account_id, key="k"), now=NOON)
        corrected = admitted(session, account_id, key="k", fingerprint="corrected")
        succeed(session, corrected)


def test_the_key_of_a_call_whose_process_died_is_free(database: Database, account_id: str) -> None:
    with database.transaction() as session:
        admitted(session, account_id, key="k")
        succeed(
            session, admitted(session, account_id, key="k", fingerprint="corrected", now=LAPSED), now=LAPSED
        )
        assert captures(session, account_id) == 1


def test_a_running_random_call_can_be_joined(database: Database, account_id: str) -> None:
    with database.transaction() as session:
        call = admitted(session, account_id, random=True)
        joined = admit(session, account_id, random=True)
        assert isinstance(joined, Joined)
        body = succeed(session, call)
        idempotency.mark_delivered(session, call.replay_id)
        # Delivered to the first in the meantime: who joined gets the same answer all the same.
        answer = idempotency.joined_state(session, joined.replay_id, NOON)
        assert answer is not None
        assert answer.body == body


def test_a_random_response_without_a_key_is_replayed_only_until_it_was_fully_sent(
    database: Database, account_id: str
) -> None:
    with database.transaction() as session:
        call = admitted(session, account_id, random=True)
        body = succeed(session, call)
        retry = admit(session, account_id, random=True)
        assert replayed(retry).body == body
        assert isinstance(retry, Replayed)
        idempotency.mark_delivered(session, retry.replay_id)
        another = admitted(session, account_id, random=True)
        assert succeed(session, another) != body


def test_a_random_response_under_a_key_is_replayed_after_delivery(
    database: Database, account_id: str
) -> None:
    with database.transaction() as session:
        call = admitted(session, account_id, key="k", random=True)
        body = succeed(session, call)
        idempotency.mark_delivered(session, call.replay_id)
        assert replayed(admit(session, account_id, key="k", random=True)).body == body


def test_a_deterministic_response_is_replayed_after_delivery(database: Database, account_id: str) -> None:
    with database.transaction() as session:
        call = admitted(session, account_id)
        body = succeed(session, call)
        idempotency.mark_delivered(session, call.replay_id)
        assert replayed(admit(session, account_id)).body == body


def test_expired_rows_are_deleted_and_running_ones_are_kept(database: Database, account_id: str) -> None:
    day = NOON + timedelta(hours=24)
    with database.transaction() as session:
        succeed(session, admitted(session, account_id, key="old"))
        succeed(session, admitted(session, account_id, key="fresh", now=NOON + SECOND), now=NOON + SECOND)
        long_call = admitted(session, account_id)
        admission.renew(session, "process-1", [long_call.hold_id], day)
    with database.transaction() as session:
        assert idempotency.forget_expired(session, day, limit=10) == 1
        assert {row.retry_key for row in session.exec(select(Replay))} == {"key:fresh", "call:fingerprint"}


def persist(database: Database, load: Load, number: int) -> tuple[str, bytes | None]:
    """A client that retries until it has an answer."""
    account_id = load.account_ids[0]
    key = load.key
    first = True
    while True:

        def attempt(session: Session, first: bool = first) -> AdmissionOutcome:
            return admit(session, account_id, key=key, now=load.now, rate_taken=not first)

        outcome = database.submit(attempt).result()
        first = False
        match outcome:
            case Admitted():
                time.sleep(0.05)
                return "executed", database.submit(partial(succeed, call=outcome)).result()
            case Replayed():
                return "replayed", outcome.answer.body
            case Refused():
                assert isinstance(outcome.error, IdempotencyInProgress)
        time.sleep(0.02)


@pytest.mark.notices(fault="dedupe after the work")
def test_100_concurrent_calls_with_one_key_in_4_processes_are_executed_once(
    migrated_database_url: str,
) -> None:
    (account_id,) = make_accounts(migrated_database_url, 1, credits=100)
    report = run(
        Load(migrated_database_url, [account_id], calls=100, processes=4, threads=25, key="k"), persist
    )
    assert report.outcomes == {"executed": 1, "replayed": 99}
    assert len(report.bodies) == 1
    database = Database(migrated_database_url)
    with database.transaction() as session:
        assert captures(session, account_id) == 1
        assert session.get_one(Account, account_id).available == 99
        assert audit(session) == []
    database.close()
