"""The state of the service at a glance. Queries read at most a bounded number of rows, by an index."""

import json
import shutil
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import text
from sqlmodel import Session, case, col, func, select

from api.calls.models import CallRecord
from api.db.database import Database
from api.images.local_storage import LocalStorage
from api.images.models import Image
from api.images.storage import Storage
from api.jobs.models import Job, JobStatus
from api.payments.models import Reconciliation
from api.webhooks.models import DeliveryStatus, WebhookDelivery
from ml.checkpoints import registry
from ml.checkpoints.registry import CHECKPOINTS, Checkpoint, State

PERIOD = timedelta(hours=24)
#: Of the calls of a day, the latest so many are counted.
CALLS_MAX = 50_000
_FAILURES_MAX = 20
_COUNTED_MAX = 1_000


@dataclass(frozen=True)
class ToolFigures:
    """Calls of one tool. The times are those of successful calls, in milliseconds; None without one."""

    tool: str
    calls: int
    refused: int  # by the caller's fault: 4xx
    failed: int  # by ours: 5xx
    median_ms: int | None
    p95_ms: int | None

    @property
    def failed_share(self) -> float:
        return self.failed / self.calls


@dataclass(frozen=True)
class CallFigures:
    """Calls of the last 24 hours by tool. `is_partial`: there were more than were counted."""

    tools: list[ToolFigures]
    is_partial: bool


@dataclass(frozen=True)
class FailedWork:
    """A job or a delivery that failed."""

    row_id: str
    account_id: str
    what: str
    why: str
    at: datetime | None


@dataclass(frozen=True)
class FailureList:
    """The latest failures. `retrying`: deliveries that failed and are tried again, counted up to 1,000."""

    jobs: list[FailedWork]
    deliveries: list[FailedWork]
    retrying: int


@dataclass(frozen=True)
class StoredFigures:
    """Sizes in bytes. The disk is that of the images; None if they are in a bucket."""

    images: int
    image_bytes: int
    disk_used_bytes: int | None
    disk_free_bytes: int | None


def calls_of_last_day(session: Session, now: datetime) -> CallFigures:
    """What was called in the 24 hours before `now`."""
    recent = (
        sqlalchemy.select(col(CallRecord.tool), col(CallRecord.status_code), col(CallRecord.duration_ms))
        .where(col(CallRecord.started_at) > now - PERIOD)
        .order_by(col(CallRecord.started_at).desc())
        .limit(CALLS_MAX)
        .subquery()
    )
    status = recent.c.status_code
    counted = (
        sqlalchemy.select(
            recent.c.tool,
            func.count(),
            func.sum(case((status.between(400, 499), 1), else_=0)),
            func.sum(case((status >= 500, 1), else_=0)),
        )
        .group_by(recent.c.tool)
        .order_by(recent.c.tool)
    )
    in_tool: dict[str, Any] = {"partition_by": recent.c.tool}
    ranked = (
        sqlalchemy.select(
            recent.c.tool,
            recent.c.duration_ms,
            func.row_number().over(**in_tool, order_by=recent.c.duration_ms).label("place"),
            func.count().over(**in_tool).label("total"),
        )
        .where(status < 300)
        .subquery()
    )

    def percentile(percent: int) -> Any:
        is_above = ranked.c.place * 100 >= ranked.c.total * percent
        return func.min(case((is_above, ranked.c.duration_ms)))

    times = sqlalchemy.select(ranked.c.tool, percentile(50), percentile(95)).group_by(ranked.c.tool)
    by_tool = {tool: (median, p95) for tool, median, p95 in session.execute(times)}
    tools = [
        ToolFigures(tool, int(calls), int(refused), int(failed), *by_tool.get(tool, (None, None)))
        for tool, calls, refused, failed in session.execute(counted)
    ]
    return CallFigures(tools, sum(each.calls for each in tools) >= CALLS_MAX)


def failures(session: Session) -> FailureList:
    """Jobs and webhook deliveries that failed, newest first, as long as they are kept."""
    jobs = (
        select(Job)
        .where(Job.status == JobStatus.FAILED)
        .order_by(col(Job.finished_at).desc())
        .limit(_FAILURES_MAX)
    )
    deliveries = (
        select(WebhookDelivery)
        .where(WebhookDelivery.status == DeliveryStatus.FAILED)
        .order_by(col(WebhookDelivery.finished_at).desc())
        .limit(_FAILURES_MAX)
    )
    retrying = (
        select(WebhookDelivery.id)
        .where(WebhookDelivery.status == DeliveryStatus.PENDING, WebhookDelivery.attempts > 0)
        .limit(_COUNTED_MAX)
        .subquery()
    )
    return FailureList(
        jobs=[
            FailedWork(
                row_id=job.id,
                account_id=job.account_id,
                what=job.tool,
                why=_code(job.error),
                at=job.finished_at,
            )
            for job in session.exec(jobs)
        ],
        deliveries=[
            FailedWork(
                row_id=each.id,
                account_id=each.account_id,
                what=f"{each.attempts} attempts",
                why=_last_result(each.log),
                at=each.finished_at,
            )
            for each in session.exec(deliveries)
        ],
        retrying=session.exec(select(func.count()).select_from(retrying)).one(),
    )


def stored_images(session: Session) -> tuple[int, int]:
    """The number of stored images, and their bytes with their artefacts.

    Their number is bounded by their lifetime only, so keep the result for a while.
    """
    total = func.coalesce(func.sum(col(Image.size_bytes) + col(Image.artefact_bytes)), 0)
    count, size_bytes = session.exec(select(func.count(), total)).one()
    return int(count), int(size_bytes)


def disk_of(storage: Storage) -> tuple[int, int] | None:
    """Used and free bytes of the disk that has the images; None for a bucket. For a thread."""
    if not isinstance(storage, LocalStorage):
        return None
    usage = shutil.disk_usage(storage.directory)
    return usage.used, usage.free


def database_bytes(session: Session, database: Database) -> int:
    """The size of the database, without its write-ahead log."""
    if database.is_sqlite:
        pages = session.execute(text("pragma page_count")).scalar_one()
        return int(pages) * int(session.execute(text("pragma page_size")).scalar_one())
    return int(session.execute(text("select pg_database_size(current_database())")).scalar_one())


def last_reconciliation(session: Session) -> Reconciliation | None:
    """The latest comparison with Stripe."""
    newest_first = select(Reconciliation).order_by(col(Reconciliation.finished_at).desc())
    return session.exec(newest_first.limit(1)).first()


def checkpoint_states(models_dir: Path) -> list[tuple[Checkpoint, State]]:
    """Every checkpoint and whether it is installed. For a thread: files that changed are hashed."""
    return [(each, registry.state(models_dir, each)) for each in CHECKPOINTS.values()]


def _code(error: str | None) -> str:
    return str(json.loads(error or "{}").get("code", ""))


def _last_result(log: str) -> str:
    attempts = json.loads(log)
    if not attempts:
        return ""
    last = attempts[-1]
    return str(last.get("error") or last.get("statusCode") or "")
