"""The state of a batch from acceptance to its end. Functions take a session and never commit.

The account must be locked. A batch has no holds of its own: each step of an item is a job, which `progress`
creates with its credit. What ended jobs did to their items is recorded here.
"""

import json
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import CursorResult
from sqlmodel import Session, col, delete, select, update
from sqlmodel.sql.expression import SelectOfScalar

from api import response_bodies
from api.batches import image_lifetimes
from api.batches.descriptions import describe
from api.batches.models import Batch, BatchItem, BatchStatus, ItemStatus
from api.calls.models import Replay
from api.durable.engine import Engine
from api.images.models import EXPIRED_KEPT, Image
from api.jobs import transitions as jobs
from api.jobs.models import Job, JobStatus
from api.webhooks import outbox
from billing.ledger import accounts
from billing.ledger.models import Account

#: A batch that has not ended so long after its start is given up. A period is at most 31 days long.
PATIENCE = timedelta(days=32)
RETENTION_MAX = timedelta(days=7)
_JOBS_AT_ONCE = 100
_OPEN = (ItemStatus.QUEUED.value, ItemStatus.RUNNING.value)


def locked(session: Session, batch_id: str) -> Batch | None:
    """The current row of the batch, whose account is locked first. None if it was deleted."""
    account_id = session.exec(select(Batch.account_id).where(Batch.id == batch_id)).first()
    if account_id is None:
        return None
    accounts.lock_even_closed(session, account_id)
    return session.get(Batch, batch_id, populate_existing=True)


def is_over(batch: Batch, now: datetime) -> bool:
    """Whether it has ended and its retention too: the cleanup may delete its rows."""
    return batch.finished_at is not None and batch.expires_at <= now


def kept_until(batch: Batch) -> datetime:
    """When the images of an unfinished batch may go at last."""
    return batch.expires_at + RETENTION_MAX


def harvest(session: Session, batch: Batch, now: datetime) -> None:
    """Record what jobs that have ended did to their items, and delete the jobs."""
    ended = select(Job).where(Job.batch_id == batch.id, col(Job.finished_at).is_not(None))
    while found := session.exec(ended.limit(_JOBS_AT_ONCE)).all():
        done = []
        for job in found:
            item = session.get(BatchItem, job.batch_item_id, populate_existing=True)
            if item is not None and item.job_id == job.id:
                _record(session, batch, item, job, now)
                if item.status == ItemStatus.SUCCEEDED:
                    done.append(item.id)
        session.flush()
        if done:
            image_lifetimes.release_sources(session, batch.account_id, [col(BatchItem.id).in_(done)], now)
        _delete_jobs(session, [job.id for job in found])


def activate(batch: Batch, now: datetime) -> None:
    """Let a task of its own, which the caller enqueues, go on with the batch."""
    batch.activation += 1
    batch.status = BatchStatus.RUNNING if batch.started_at is not None else BatchStatus.QUEUED
    if batch.finished_at is not None:
        batch.finished_at = None
        batch.expires_at = now + PATIENCE


def pause(batch: Batch) -> None:
    """Start no more steps. Those that have jobs are finished."""
    if not BatchStatus(batch.status).has_ended:
        batch.status = BatchStatus.PAUSED


def block(batch: Batch) -> None:
    """The account has no credits, or is suspended."""
    batch.status = BatchStatus.BLOCKED
    batch.activation += 1


def complete(session: Session, batch: Batch, now: datetime, *, engine: Engine | None = None) -> None:
    """No item is left to be done. `engine` announces the end at once, see `webhooks.outbox`."""
    _end(session, batch, BatchStatus.COMPLETED, now, engine)


def cancel(session: Session, batch: Batch, now: datetime, *, engine: Engine | None = None) -> list[str]:
    """End the batch. What has succeeded stays; returns the replay ids of calls that may still run.

    It is announced as any other end, because there may be results to be fetched.
    """
    if BatchStatus(batch.status).has_ended:
        return []
    harvest(session, batch, now)
    unfinished = session.exec(select(Job).where(Job.batch_id == batch.id)).all()
    for job in unfinished:
        jobs.cancel(session, job, now)
    session.flush()
    of_batch = col(BatchItem.batch_id) == batch.id
    session.execute(
        update(BatchItem)
        .where(of_batch, col(BatchItem.status).in_(_OPEN))
        .values(status=ItemStatus.CANCELLED.value, job_id=None, finished_at=now)
        .execution_options(synchronize_session=False)
    )
    cancelled = [of_batch, col(BatchItem.status) == ItemStatus.CANCELLED.value]
    image_lifetimes.release_sources(session, batch.account_id, cancelled, now)
    # Intermediates of cancelled items: no later step will read them.
    handed_on = select(BatchItem.image_id).where(*cancelled, col(BatchItem.image_id).is_not(None))
    _expire(session, handed_on, now)
    _delete_jobs(session, [job.id for job in unfinished])
    _end(session, batch, BatchStatus.CANCELLED, now, engine)
    return [job.replay_id for job in unfinished]


def forget(session: Session, batch: Batch, now: datetime) -> None:
    """Let the results and sources of an ended batch, and the batch itself, expire now.

    An image that the account had stored before keeps its own lifetime, and one that another batch waits for
    stays.
    """
    batch.expires_at = now
    session.flush()
    of_batch = col(BatchItem.batch_id) == batch.id
    failed = [of_batch, col(BatchItem.status) == ItemStatus.FAILED.value]
    image_lifetimes.release_sources(session, batch.account_id, failed, now)
    image_lifetimes.release_step_files(session, batch, now)
    results = select(BatchItem.image_id).where(of_batch, col(BatchItem.image_id).is_not(None))
    image_lifetimes.release_results(session, batch.account_id, results, now)
    sources = select(BatchItem.source_id).where(
        of_batch, col(BatchItem.is_source_own).is_(True), col(BatchItem.source_id).is_not(None)
    )
    image_lifetimes.release(session, batch.account_id, sources, now)


def retry_failed(session: Session, batch: Batch, now: datetime) -> int:
    """Let the failed items that have an image or a URL wait again; returns their number.

    They go on with the step that failed, except those for which that step would fail again: the result of the
    former one has gone. A batch that had ended is activated: the caller enqueues its task.
    """
    failed = (col(BatchItem.batch_id) == batch.id, *image_lifetimes.retryable(BatchItem))
    again = session.execute(
        update(BatchItem)
        .where(*failed)
        .values(status=ItemStatus.QUEUED.value, error=None, finished_at=None)
        .execution_options(synchronize_session=False)
    )
    assert isinstance(again, CursorResult)
    if again.rowcount and batch.finished_at is not None:
        activate(batch, now)
        _keep_for_retry(session, batch)
    return int(again.rowcount)


def fail_item(item: BatchItem, error: str, now: datetime) -> None:
    """End the item with this error, as JSON."""
    item.status = ItemStatus.FAILED
    item.job_id = None
    item.error = error
    item.finished_at = now


def _record(session: Session, batch: Batch, item: BatchItem, job: Job, now: datetime) -> None:
    item.job_id = None
    if job.status == JobStatus.SUCCEEDED:
        former, item.image_id = item.image_id, job.result_id
        item.steps_done += 1
        item.credits += 0 if batch.is_test else 1
        is_done = item.steps_done >= batch.step_count
        item.status = ItemStatus.SUCCEEDED if is_done else ItemStatus.QUEUED
        item.finished_at = now if is_done else None
        session.flush()
        if former is not None:
            # Deleted by the next cleanup: nothing else has read it, and it may be large.
            _expire(session, [former], now - EXPIRED_KEPT)
    elif job.status == JobStatus.CANCELLED or _was_never_run(job):
        item.status = ItemStatus.QUEUED
    else:
        fail_item(item, job.error or "{}", now)
        if item.image_id is not None and not _may_succeed_later(job):
            _expire(session, [item.image_id], now - EXPIRED_KEPT)
            item.image_id = None
            session.flush()
            # No retry will run it again.
            image_lifetimes.release_sources(session, batch.account_id, [col(BatchItem.id) == item.id], now)


def _may_succeed_later(job: Job) -> bool:
    """Whether a failed job's step is worth another try: only that needs the former step's result."""
    error = json.loads(job.error or "{}")
    return bool(error.get("retryable", True)) or error.get("code") == "STORAGE_FULL"


def _was_never_run(job: Job) -> bool:
    """Whether it was given up because no process could run it."""
    return job.runs == 0 and "PROCESSING_TIMEOUT" in (job.error or "")


def _end(session: Session, batch: Batch, status: BatchStatus, now: datetime, engine: Engine | None) -> None:
    batch.status = status
    batch.activation += 1
    batch.started_at = batch.started_at or now
    batch.finished_at = now
    batch.expires_at = now + timedelta(seconds=batch.retention_seconds)
    session.flush()
    _release_images(session, batch, now)
    if session.get_one(Account, batch.account_id).closed_at is None:
        outbox.batch_completed(
            session,
            batch.account_id,
            lambda: response_bodies.success(describe(session, batch), batch.request_id),
            now,
            callback_url=batch.callback_url,
            engine=engine,
        )


def _keep_for_retry(session: Session, batch: Batch) -> None:
    """Keep all that an ended batch has, which goes on, as if it had not ended."""
    until = kept_until(batch)
    of_batch = BatchItem.batch_id == batch.id
    retried = (of_batch, col(BatchItem.status) == ItemStatus.QUEUED.value)
    image_lifetimes.keep(session, _results(batch), until)
    image_lifetimes.keep(session, select(BatchItem.source_id).where(*retried), until)
    image_lifetimes.keep(session, image_lifetimes.step_files(batch), until)


def _release_images(session: Session, batch: Batch, now: datetime) -> None:
    """Let results, and the sources of items that may be retried, expire with the ended batch.

    An image that the account had stored before is kept as long as without the batch, if that is longer.
    """
    account_id, until = batch.account_id, batch.expires_at
    failed = (
        col(BatchItem.batch_id) == batch.id,
        col(BatchItem.source_id).is_not(None),
        *image_lifetimes.retryable(BatchItem),
    )
    own = select(BatchItem.source_id).where(*failed, col(BatchItem.is_source_own).is_(True))
    image_lifetimes.keep(session, _results(batch), until)
    image_lifetimes.release_results(session, account_id, _results(batch), until)
    image_lifetimes.keep(session, own, until)
    image_lifetimes.release(session, account_id, own, until)
    image_lifetimes.release_stored_sources(session, account_id, failed, until)
    image_lifetimes.release_step_files(session, batch, now)


def _results(batch: Batch) -> SelectOfScalar[Any]:
    return select(BatchItem.image_id).where(
        BatchItem.batch_id == batch.id,
        col(BatchItem.status) != ItemStatus.CANCELLED.value,
        col(BatchItem.image_id).is_not(None),
    )


def _expire(session: Session, image_ids: Collection[str] | SelectOfScalar[Any], now: datetime) -> None:
    session.execute(
        update(Image)
        .where(col(Image.id).in_(image_ids), col(Image.expires_at) > now)
        .values(expires_at=now)
        .execution_options(synchronize_session=False)
    )


def _delete_jobs(session: Session, job_ids: Collection[str]) -> None:
    if not job_ids:
        return
    replays = select(Job.replay_id).where(col(Job.id).in_(job_ids))
    session.execute(delete(Replay).where(col(Replay.id).in_(replays)))
    session.execute(delete(Job).where(col(Job.id).in_(job_ids)).execution_options(synchronize_session=False))
