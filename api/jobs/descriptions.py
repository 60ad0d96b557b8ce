"""Jobs as the API shows them. Functions take a session and never commit."""

import json
from datetime import datetime
from typing import Any

from sqlmodel import Session, and_, col, func, or_, select

from api import response_bodies
from api.calls.models import Replay
from api.jobs.models import Job, JobStatus


def status_url(base_url: str, job_id: str) -> str:
    return f"{base_url}/api/jobs/{job_id}"


def describe(session: Session, job: Job) -> dict[str, Any]:
    """The `data` of a job: the body of GET, of its events and of notices about it."""
    return {**summarize(job), "queuePosition": _queue_position(session, job), "result": _result(session, job)}


def summarize(job: Job) -> dict[str, Any]:
    """`describe` without what takes another query."""
    return {
        "jobId": job.id,
        "tool": job.tool,
        "isTest": job.is_test,
        "status": job.status,
        "statusUrl": status_url(job.base_url, job.id),
        "stage": job.stage,
        "fraction": round(job.fraction, 3),
        "expectedSeconds": None if job.expected_seconds is None else round(job.expected_seconds, 1),
        "createdAt": response_bodies.timestamp(job.created_at),
        "startedAt": _timestamp(job.started_at),
        "finishedAt": _timestamp(job.finished_at),
        "expiresAt": response_bodies.timestamp(job.expires_at),
        "error": None if job.error is None else json.loads(job.error),
    }


def _queue_position(session: Session, job: Job) -> int | None:
    """The job's place among the account's waiting jobs, 1 for the next; None unless it waits.

    Jobs of other accounts do not count, because accounts take turns.
    """
    if job.status != JobStatus.QUEUED:
        return None
    earlier = or_(
        col(Job.created_at) < job.created_at,
        and_(col(Job.created_at) == job.created_at, col(Job.id) < job.id),
    )
    statement = select(func.count()).where(
        Job.account_id == job.account_id, Job.status == JobStatus.QUEUED, earlier
    )
    return session.exec(statement).one() + 1


def _result(session: Session, job: Job) -> dict[str, Any] | None:
    """The `data` of the answer that a call would have got."""
    if job.status != JobStatus.SUCCEEDED:
        return None
    body = session.exec(select(Replay.body).where(Replay.id == job.replay_id)).first()
    if body is None:
        return None
    data: dict[str, Any] = json.loads(body)["data"]
    return data


def _timestamp(moment: datetime | None) -> str | None:
    return None if moment is None else response_bodies.timestamp(moment)
