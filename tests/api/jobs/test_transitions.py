"""What becomes of a job and its credit: exact whatever happens to the process that runs it."""

from datetime import datetime, timedelta

import pytest
from sqlmodel import Session, col, select

from api import cleanup
from api.calls import call_holds, idempotency
from api.calls.admission import Admitted
from api.calls.models import Replay
from api.db.database import Database
from api.images.models import Image
from api.jobs import service as jobs
from api.jobs import transitions
from api.jobs.inputs import Inputs
from api.jobs.models import Job, JobStatus
from api.jobs.transitions import PATIENCE, RETENTION
from billing.errors import HoldSettled, LeaseLost
from billing.ledger import accounts, ledger
from billing.ledger.audit import audit
from billing.ledger.models import Account, Entry, EntryKind, Hold
from billing.ledger.plans import PLANS, PlanName
from ml.errors import NothingFound, WorkerLost
from tests.support.builders import OWNER
from tests.support.job_rows import make_job
from tests.support.load import NOON, account_with, admit

SECOND = timedelta(seconds=1)
LEASE = 30 * SECOND


def take_up(session: Session, job: Job, now: datetime, owner: str = OWNER) -> bool:
    accounts.lock(session, job.account_id)
    taken = ledger.take_up(session, job.hold_id, lease_owner=owner, lease_until=now + LEASE, now=now)
    if taken:
        transitions.start(job, now)
        session.flush()
    return taken


def balance(session: Session, job: Job) -> tuple[int, int]:
    account = session.get_one(Account, job.account_id, populate_existing=True)
    assert audit(session) == []
    return account.available, account.held


def captures(session: Session, job: Job) -> int:
    of_job = (col(Entry.hold_id) == job.hold_id, col(Entry.kind) == EntryKind.CAPTURE)
    return len(session.exec(select(Entry).where(*of_job)).all())


def test_waiting_jobs_hold_credits_but_no_concurrent_calls(database: Database) -> None:
    with database.transaction() as session:
        account = account_with(session, credits=5, plan=PlanName.FREE)
        plan_limit = PLANS[PlanName.FREE].concurrent_calls
        waiting = [make_job(session, account.id, NOON) for _ in range(3)]
        assert balance(session, waiting[0]) == (2, 3)
        for number in range(plan_limit):
            assert isinstance(admit(session, account.id, key=f"{number}"), Admitted)
    with database.transaction() as session:
        account = accounts.lock(session, account.id)
        assert not call_holds.has_slot(session, account, plan_limit, NOON)
        assert call_holds.concurrency_refusal(session, account, NOON) is not None


def test_a_job_is_taken_up_by_one_process_at_a_time(database: Database) -> None:
    with database.transaction() as session:
        job = make_job(session, account_with(session, credits=1).id, NOON)
        assert take_up(session, job, NOON)
        assert not take_up(session, job, NOON + LEASE - SECOND, owner="another")
        assert take_up(session, job, NOON + LEASE, owner="another")
        assert job.runs == 2
        with pytest.raises(LeaseLost):
            ledger.capture(session, job.hold_id, lease_owner=OWNER, now=NOON + LEASE)
        ledger.capture(session, job.hold_id, lease_owner="another", now=NOON + LEASE)
        assert captures(session, job) == 1


def test_the_cleanup_lets_the_job_of_a_dead_process_wait_again_with_its_credit(database: Database) -> None:
    with database.transaction() as session:
        job = make_job(session, account_with(session, credits=1).id, NOON)
        assert take_up(session, job, NOON)
    with database.transaction() as session:
        assert [held.id for held in ledger.lapsed_holds(session, NOON + LEASE, 10)] == [job.hold_id]
        assert cleanup.expire_hold(session, job.hold_id, NOON + LEASE) == 0
        found = session.get_one(Job, job.id, populate_existing=True)
        assert (found.status, found.losses) == (JobStatus.QUEUED, 1)
        assert session.get_one(Hold, job.hold_id).lease_owner == ledger.WAITING
        assert ledger.lapsed_holds(session, NOON + LEASE, 10) == []
        assert balance(session, found) == (0, 1)
        with pytest.raises(LeaseLost):
            ledger.capture(session, job.hold_id, lease_owner=OWNER, now=NOON + LEASE)


def test_a_job_that_is_never_run_fails_after_a_day_and_its_credit_comes_back(database: Database) -> None:
    with database.transaction() as session:
        job = make_job(session, account_with(session, credits=1).id, NOON)
    with database.transaction() as session:
        assert ledger.lapsed_holds(session, NOON + PATIENCE - SECOND, 10) == []
        assert cleanup.expire_hold(session, job.hold_id, NOON + PATIENCE) == 0
        session.flush()
        found = session.get_one(Job, job.id, populate_existing=True)
        assert found.status == JobStatus.FAILED
        assert "PROCESSING_TIMEOUT" in (found.error or "")
        assert balance(session, found) == (1, 0)


@pytest.mark.parametrize("is_running", [False, True])
def test_a_cancelled_job_is_never_charged(database: Database, is_running: bool) -> None:
    with database.transaction() as session:
        job = make_job(session, account_with(session, credits=1).id, NOON)
        if is_running:
            take_up(session, job, NOON)
    with database.transaction() as session:
        found = transitions.locked(session, job.id)
        assert found is not None
        for _ in range(2):  # Twice is once.
            transitions.cancel(session, found, NOON)
            session.flush()
        assert found.status == JobStatus.CANCELLED
        assert balance(session, found) == (1, 0)
        with pytest.raises(HoldSettled):
            ledger.capture(session, job.hold_id, lease_owner=OWNER, now=NOON)
        # Neither the call's row nor the answer that promised the job is left.
        assert session.exec(select(Replay)).all() == []


@pytest.mark.parametrize(("error", "is_kept"), [(NothingFound("nothing"), True), (WorkerLost("gone"), False)])
def test_the_request_of_a_failed_job_makes_a_new_one_unless_it_would_fail_again(
    database: Database, error: Exception, is_kept: bool
) -> None:
    with database.transaction() as session:
        job = make_job(session, account_with(session, credits=1).id, NOON)
        transitions.fail_and_release(session, job, error, NOON)
        session.flush()
        key = idempotency.RetryKind.KEYED + job.id
        assert (idempotency.find(session, job.account_id, key) is not None) == is_kept
        assert balance(session, job) == (1, 0)


def test_the_images_and_parameters_of_a_job_go_with_its_end(database: Database) -> None:
    with database.transaction() as session:
        account = account_with(session, credits=2)
        own, other = (make_job(session, account.id, NOON) for _ in range(2))
        for job in (own, other):
            image_id = Inputs.from_json(job.inputs).files["image"]
            session.add(_image(image_id, account.id))
        # The other job works on an image that the account keeps.
        other.inputs = other.inputs.replace('"own":["image"]', '"own":[]')
        session.flush()
        for job in (own, other):
            transitions.cancel(session, job, NOON)
        session.flush()
        expiries = [
            session.get_one(Image, Inputs.from_json(job.inputs).files["image"]).expires_at
            for job in (own, other)
        ]
        assert expiries == [NOON, NOON + PATIENCE]
        assert own.params is None


def test_jobs_are_forgotten_a_day_after_their_end_and_unfinished_ones_never(database: Database) -> None:
    with database.transaction() as session:
        account = account_with(session, credits=2)
        ended, waiting = (make_job(session, account.id, NOON) for _ in range(2))
        transitions.cancel(session, ended, NOON)
    with database.transaction() as session:
        assert jobs.delete_expired(session, NOON + RETENTION - SECOND, limit=10) == 0
        assert jobs.delete_expired(session, NOON + RETENTION, limit=10) == 1
        assert session.exec(select(Job.id)).all() == [waiting.id]


def test_deleting_an_account_ends_its_jobs_and_no_others(database: Database) -> None:
    with database.transaction() as session:
        account, other = (account_with(session, credits=2, plan=PlanName.STANDARD) for _ in range(2))
        running, _ = (make_job(session, account.id, NOON) for _ in range(2))
        kept = make_job(session, other.id, NOON)
        take_up(session, running, NOON)
    with database.transaction() as session:
        jobs.delete_all(session, account.id, NOON)
        assert session.exec(select(Job.id)).all() == [kept.id]
        assert balance(session, running) == (2, 0)
        with pytest.raises(HoldSettled):
            ledger.capture(session, running.hold_id, lease_owner=OWNER, now=NOON)


def _image(image_id: str, account_id: str) -> Image:
    return Image(
        id=image_id,
        account_id=account_id,
        kind="upload",
        format="png",
        size_bytes=1,
        sha256="0" * 64,
        created_at=NOON,
        expires_at=NOON + PATIENCE,
    )
