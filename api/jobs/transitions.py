"""The state of a job from acceptance to its end. Functions take a session and never commit.

The account must be locked. The hold decides who runs the job: while it waits, or its lease has lapsed, any
process may take it up; the job's row follows it in the same transaction.
"""

import json
from datetime import datetime, timedelta

from sqlmodel import Session, col, select, update

from api import response_bodies
from api.calls import idempotency
from api.calls.models import Replay
from api.durable.engine import Engine
from api.images.models import Image
from api.jobs import inputs
from api.jobs.descriptions import describe
from api.jobs.inputs import Inputs
from api.jobs.models import Job, JobStatus
from api.webhooks import outbox
from api.webhooks.models import WebhookEvent
from billing.errors import AccountSuspended, HoldSettled
from billing.ledger import accounts, ledger
from billing.ledger.models import Hold
from ml.errors import TimedOut

#: A job that could not be run so long after its request fails.
PATIENCE = timedelta(hours=24)
#: How long a job is kept after its end, as long as its result.
RETENTION = idempotency.KEYED_LIFE
#: A cancellation is not announced, because it was asked for.
_EVENTS = {JobStatus.SUCCEEDED: WebhookEvent.JOB_SUCCEEDED, JobStatus.FAILED: WebhookEvent.JOB_FAILED}


def locked(session: Session, job_id: str) -> Job | None:
    """The current row of the job, whose account is locked first. None if it was deleted."""
    account_id = session.exec(select(Job.account_id).where(Job.id == job_id)).first()
    if account_id is None:
        return None
    accounts.lock_even_closed(session, account_id)
    return session.get(Job, job_id, populate_existing=True)


def start(job: Job, now: datetime) -> None:
    """A process has taken up its hold."""
    job.status = JobStatus.RUNNING
    job.runs += 1
    job.version += 1
    job.started_at = job.started_at or now
    job.stage, job.fraction = None, 0.0


def wait_again(job: Job, *, lost: bool) -> None:
    """Its hold waits again. `lost`: its run ended with the worker or the process."""
    job.status = JobStatus.QUEUED
    job.losses += lost
    job.version += 1
    job.stage, job.fraction = None, 0.0


def finish(
    session: Session, job: Job, status: JobStatus, now: datetime, *, engine: Engine | None = None
) -> None:
    """End the job, whose error was set. `engine` announces the end at once, see `webhooks.outbox`.

    The jobs of a batch are not announced, because the batch announces its own end.
    """
    job.status = status
    job.finished_at = now
    job.expires_at = now + RETENTION
    job.version += 1
    job.params = None
    job.stage, job.fraction = None, 1.0 if status is JobStatus.SUCCEEDED else job.fraction
    inputs.expire(session, Inputs.from_json(job.inputs), now)
    if job.batch_id is None and (event := _EVENTS.get(status)) is not None:
        session.flush()
        outbox.record(
            session,
            job.account_id,
            event,
            lambda: response_bodies.success(describe(session, job), job.request_id),
            now,
            callback_url=job.callback_url,
            engine=engine,
        )


def succeed(session: Session, job: Job, now: datetime, *, engine: Engine | None = None) -> None:
    """Its call's answer was stored."""
    finish(session, job, JobStatus.SUCCEEDED, now, engine=engine)
    result_id = session.exec(select(Replay.image_id).where(Replay.id == job.replay_id)).first()
    if job.batch_id is None:
        # A repeated request gets this job, unless its result was deleted.
        answer = update(Replay).where(col(Replay.id) == job.answer_id).values(image_id=result_id)
        session.execute(answer.execution_options(synchronize_session=False))
        return
    job.result_id = result_id
    session.execute(
        update(Image)
        .where(col(Image.id) == job.result_id, col(Image.expires_at) < job.result_kept_until)
        .values(expires_at=job.result_kept_until)
        .execution_options(synchronize_session=False)
    )


def fail(
    session: Session, job: Job, error: Exception, now: datetime, *, engine: Engine | None = None
) -> None:
    """End the job with `error`; the caller releases its hold."""
    job.error = json.dumps(response_bodies.error_fields(error))
    finish(session, job, JobStatus.FAILED, now, engine=engine)
    if not idempotency.is_kept(error):
        # The same request makes a new job, as a call that failed like this would run again.
        idempotency.forget(session, job.answer_id)


def fail_and_release(
    session: Session, job: Job, error: Exception, now: datetime, *, engine: Engine | None = None
) -> None:
    fail(session, job, error, now, engine=engine)
    _release(session, job, now)


def cancel(session: Session, job: Job, now: datetime) -> None:
    """End the job uncharged, also while a process runs it. Does nothing to a job that has ended."""
    if JobStatus(job.status).is_final:
        return
    finish(session, job, JobStatus.CANCELLED, now)
    idempotency.forget(session, job.answer_id)
    _release(session, job, now)


def end_suspended(session: Session, job: Job, now: datetime, *, engine: Engine | None = None) -> None:
    """End a job of a suspended account uncharged; a batch's item waits for another job instead of failing."""
    if job.batch_id is not None:
        cancel(session, job, now)
    else:
        fail_and_release(session, job, AccountSuspended("the account is suspended"), now, engine=engine)


def recover(session: Session, hold_id: str, now: datetime) -> bool:
    """Let the job of a lapsed hold wait again, or end it if it has waited too long.

    Returns False if the hold does not belong to a job.
    """
    job_id = session.exec(select(Job.id).where(col(Job.hold_id) == hold_id)).first()
    if job_id is None:
        return False
    job = locked(session, job_id)
    if job is None or JobStatus(job.status).is_final:
        return False
    held = session.get_one(Hold, hold_id, populate_existing=True)
    if held.lease_until > now:
        return True  # Taken up, or renewed after all.
    if held.lease_owner == ledger.WAITING:
        hours = PATIENCE // timedelta(hours=1)
        fail_and_release(session, job, TimedOut(f"The job could not be run within {hours} hours."), now)
    elif ledger.take_up(session, hold_id, lease_owner=ledger.WAITING, lease_until=waits_until(job), now=now):
        wait_again(job, lost=True)
    return True


def waits_until(job: Job) -> datetime:
    """When it is given up."""
    return job.created_at + PATIENCE


def _release(session: Session, job: Job, now: datetime) -> None:
    try:
        ledger.release(session, job.hold_id, now=now)
    except HoldSettled:
        return
    idempotency.forget_running(session, job.hold_id)
