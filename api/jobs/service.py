"""Jobs as their account sees them: one, a page of them, their cancellation and deletion."""

from datetime import datetime
from typing import Any

from sqlmodel import Session, and_, col, delete, or_, select

from api import page_cursors
from api.errors import NotFound
from api.jobs import transitions
from api.jobs.descriptions import describe
from api.jobs.models import Job, JobStatus
from api.services import Services
from billing.ledger import accounts

PAGE_MAX = 100
_NO_SUCH_JOB = "There is no such job. Jobs are forgotten a day after they have ended."


def find(session: Session, account_id: str, job_id: str) -> Job:
    """The account's job. Raises `NotFound`, the same for an unknown job, a batch's and another account's."""
    job = session.get(Job, job_id, populate_existing=True) if job_id.isascii() else None
    if job is None or job.account_id != account_id or job.batch_id is not None:
        raise NotFound(_NO_SUCH_JOB)
    return job


def page(
    session: Session, account_id: str, *, status: JobStatus | None, limit: int, cursor: str | None
) -> tuple[list[Job], str | None]:
    """The account's jobs, newest first, and the cursor of the next page; None after the last.

    Raises `InvalidParameter` for a cursor that no page gave.
    """
    statement = select(Job).where(Job.account_id == account_id, col(Job.batch_id).is_(None))
    if status is not None:
        statement = statement.where(Job.status == status)
    if cursor is not None:
        created_at, job_id = page_cursors.position_of(cursor)
        statement = statement.where(
            or_(
                col(Job.created_at) < created_at,
                and_(col(Job.created_at) == created_at, col(Job.id) < job_id),
            )
        )
    newest_first = (col(Job.created_at).desc(), col(Job.id).desc())
    jobs = list(session.exec(statement.order_by(*newest_first).limit(limit + 1)))
    if len(jobs) <= limit:
        return jobs, None
    return jobs[:limit], page_cursors.after(jobs[limit - 1].created_at, jobs[limit - 1].id)


async def cancel(services: Services, account_id: str, job_id: str) -> dict[str, Any]:
    """Cancel the account's job, and release its credit; a job that has ended stays as it is.

    Returns its `data`. Raises `NotFound`.
    """

    def cancel_job(session: Session) -> tuple[str, dict[str, Any]]:
        find(session, account_id, job_id)
        job = transitions.locked(session, job_id)
        if job is None:
            raise NotFound(_NO_SUCH_JOB)
        transitions.cancel(session, job, services.clock())
        session.flush()
        return job.replay_id, describe(session, job)

    replay_id, data = await services.database.run(cancel_job)
    call = services.running.find(replay_id)
    if call is not None and data["status"] == JobStatus.CANCELLED:
        # In another process the call is stopped when its lease cannot be renewed.
        call.cancel()
    return data


def delete_all(session: Session, account_id: str, now: datetime) -> None:
    """Cancel and delete the account's jobs, because the account is deleted."""
    accounts.lock_even_closed(session, account_id)
    unfinished = select(Job).where(Job.account_id == account_id, col(Job.finished_at).is_(None))
    for job in session.exec(unfinished).all():
        transitions.cancel(session, job, now)
    session.flush()
    session.execute(delete(Job).where(col(Job.account_id) == account_id))


def delete_expired(session: Session, now: datetime, *, limit: int) -> int:
    """Delete up to `limit` jobs that ended long ago; returns their number. Batches delete theirs."""
    ended = (col(Job.expires_at) <= now, col(Job.finished_at).is_not(None), col(Job.batch_id).is_(None))
    expired = select(Job.id).where(*ended).limit(limit)
    done = session.execute(delete(Job).where(col(Job.id).in_(expired)))
    return int(done.rowcount)  # type: ignore[attr-defined]
