"""Batches as the API shows them. Functions take a session and never commit."""

from collections import Counter
from datetime import datetime
from typing import Any

from sqlmodel import Session, col, func, select

from api import response_bodies
from api.batches import image_lifetimes, steps
from api.batches.models import Batch, BatchItem, ItemStatus


def describe(session: Session, batch: Batch) -> dict[str, Any]:
    """The `data` of a batch: the body of GET and of the message about its end."""
    numbers = counts(session, batch.id)
    charged = session.exec(
        select(func.coalesce(func.sum(BatchItem.credits), 0)).where(BatchItem.batch_id == batch.id)
    ).one()
    url = f"{batch.base_url}/api/batches/{batch.id}"
    return {
        "batchId": batch.id,
        "status": batch.status,
        "isTest": batch.is_test,
        "steps": steps.tool_names(batch.steps),
        "counts": {"total": batch.item_count, **{status.value: numbers[status] for status in ItemStatus}},
        "retryable": retryable(session, batch.id),
        "creditsCharged": int(charged),
        "statusUrl": url,
        "itemsUrl": f"{url}/items",
        "resultsUrl": f"{url}/results.zip",
        "manifestUrl": f"{url}/manifest.csv",
        "createdAt": response_bodies.timestamp(batch.created_at),
        "startedAt": _timestamp(batch.started_at),
        "finishedAt": _timestamp(batch.finished_at),
        "expiresAt": response_bodies.timestamp(batch.expires_at),
    }


def counts(session: Session, batch_id: str) -> Counter[ItemStatus]:
    """The number of items by status."""
    statement = (
        select(BatchItem.status, func.count())
        .where(BatchItem.batch_id == batch_id)
        .group_by(col(BatchItem.status))
    )
    return Counter({ItemStatus(status): count for status, count in session.exec(statement)})


def retryable(session: Session, batch_id: str) -> int:
    """The number of failed items that a retry would run again."""
    statement = select(func.count()).where(
        BatchItem.batch_id == batch_id, *image_lifetimes.retryable(BatchItem)
    )
    return session.exec(statement).one()


def _timestamp(moment: datetime | None) -> str | None:
    return None if moment is None else response_bodies.timestamp(moment)
