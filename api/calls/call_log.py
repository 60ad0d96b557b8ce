"""The log of calls: one row for each call, refusals and replays included; daily usage is counted from it.

A success is written by the transaction that charges it, so the log always agrees with the ledger. All other
rows are collected in memory and written in batches, so that a flood of refused calls does not become a flood
of transactions. A crash loses the last second of those.
"""

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any

import sqlalchemy
from sqlalchemy import delete
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, col, func, select

from api.calls.models import CallRecord
from api.calls.types import CallRequest
from api.db.database import Database
from api.errors import status_and_code
from api.metrics import Metrics
from ml.backend import Priority

WRITE_EVERY_SECONDS = 1.0
KEPT = timedelta(days=400)
#: Beyond this the oldest rows are dropped, so that a flood of calls cannot fill the memory.
_QUEUE_MAX = 20_000
_ROWS_PER_WRITE = 1_000


@dataclass(frozen=True)
class Usage:
    """The calls of one day, tool and key. `key_id` is None for the web editor."""

    day: date
    tool: str
    key_id: str | None
    calls: int
    credits: int


class CallLog:
    """This process's rows that are not written yet. For one event loop. `metrics` count every call."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._queue: deque[dict[str, object]] = deque(maxlen=_QUEUE_MAX)

    def enqueue(self, record: CallRecord, plan: Priority) -> None:
        """Write the row with the next batch. `plan` is the priority of the account's plan."""
        self._metrics.count_call(record.tool, record.status_code, plan)
        self._queue.append(record.model_dump())

    async def write(self, database: Database) -> None:
        """Write the queued rows. Raises ServiceUnavailable, and keeps the rows for the next attempt."""
        while self._queue:
            rows = [self._queue.popleft() for _ in range(min(_ROWS_PER_WRITE, len(self._queue)))]
            try:
                await database.run(lambda session, rows=rows: _insert(session, rows))  # type: ignore[misc]
            except BaseException:
                self._queue.extendleft(reversed(rows))
                raise


def add(session: Session, record: CallRecord) -> None:
    """Write the row in the caller's transaction."""
    _insert(session, [record.model_dump()])


def usage(session: Session, account_id: str, first: date, last: date) -> list[Usage]:
    """Successful calls (2xx) by day, tool and key, from `first` to `last` inclusive; days are in UTC."""
    columns: tuple[Any, ...] = (CallRecord.day, CallRecord.tool, CallRecord.key_id)
    counts: tuple[Any, ...] = (func.count(), func.coalesce(func.sum(CallRecord.credits), 0))
    statement = (
        sqlalchemy.select(*columns, *counts)
        .where(
            col(CallRecord.account_id) == account_id,
            col(CallRecord.day).between(first.isoformat(), last.isoformat()),
            col(CallRecord.status_code) < 300,
        )
        .group_by(*columns)
        .order_by(*columns)
    )
    return [
        Usage(date.fromisoformat(day), tool, key_id, int(calls), int(credits))
        for day, tool, key_id, calls, credits in session.execute(statement)
    ]


def usage_of_editor(
    session: Session, account_id: str, first: date, last: date
) -> list[tuple[str | None, int, int]]:
    """Successful calls of the web editor and their credits, by member; None: the owner. Days: see `usage`."""
    statement = (
        sqlalchemy.select(
            col(CallRecord.person_id), func.count(), func.coalesce(func.sum(CallRecord.credits), 0)
        )
        .where(
            col(CallRecord.account_id) == account_id,
            col(CallRecord.day).between(first.isoformat(), last.isoformat()),
            col(CallRecord.status_code) < 300,
            col(CallRecord.key_id).is_(None),
        )
        .group_by(col(CallRecord.person_id))
    )
    return [(person_id, int(calls), int(credits)) for person_id, calls, credits in session.execute(statement)]


def latest(session: Session, account_id: str, limit: int, before: datetime | None = None) -> list[CallRecord]:
    """The account's latest calls, newest first."""
    statement = select(CallRecord).where(CallRecord.account_id == account_id)
    if before is not None:
        statement = statement.where(col(CallRecord.started_at) < before)
    newest_first = col(CallRecord.started_at).desc()
    return list(session.exec(statement.order_by(newest_first, CallRecord.request_id).limit(limit)))


def tools_of(session: Session, request_ids: Collection[str]) -> dict[str, str]:
    """The tool of each of these requests that is still in the log, by the request's id."""
    rows = session.exec(
        select(CallRecord.request_id, CallRecord.tool).where(col(CallRecord.request_id).in_(request_ids))
    )
    return dict(rows.all())


def forget_old(session: Session, now: datetime, limit: int) -> int:
    """Delete up to `limit` rows older than `KEPT`; returns their number."""
    # A day is forgotten as a whole, because usage is counted by days.
    first_kept = (now - KEPT).astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    old = (
        select(CallRecord.request_id)
        .where(col(CallRecord.started_at) < first_kept)
        .limit(limit)
        .scalar_subquery()
    )
    done = session.execute(delete(CallRecord).where(col(CallRecord.request_id).in_(old)))
    return int(done.rowcount)  # type: ignore[attr-defined]


def succeeded(request: CallRequest, credits: int, started_at: datetime, now: datetime) -> CallRecord:
    """The row of a successful, charged call."""
    record = _record(
        request.request_id, request.account_id, request.key_id, request.tool.name, started_at, now
    )
    record.status_code, record.credits, record.person_id = 200, credits, request.person_id
    return record


def replayed(request: CallRequest, status_code: int, started_at: datetime, now: datetime) -> CallRecord:
    """The row of a call that got the answer of an identical one, for 0 credits."""
    record = _record(
        request.request_id, request.account_id, request.key_id, request.tool.name, started_at, now
    )
    record.status_code, record.person_id = status_code, request.person_id
    return record


def refused(
    error: Exception,
    *,
    request_id: str,
    account_id: str,
    key_id: str | None,
    tool: str,
    started_at: datetime,
    now: datetime,
    person_id: str | None = None,
) -> CallRecord:
    """The row of a call that ended in `error`."""
    record = _record(request_id, account_id, key_id, tool, started_at, now)
    record.person_id = person_id
    record.status_code, record.code = status_and_code(error)
    return record


def _record(
    request_id: str, account_id: str, key_id: str | None, tool: str, started_at: datetime, now: datetime
) -> CallRecord:
    return CallRecord(
        request_id=request_id,
        account_id=account_id,
        key_id=key_id,
        tool=tool,
        day=started_at.date().isoformat(),
        started_at=started_at,
        duration_ms=max(0, round((now - started_at).total_seconds() * 1000)),
        status_code=0,
    )


def _insert(session: Session, rows: list[dict[str, object]]) -> None:
    session.execute(_insert_statement(session.get_bind().dialect.name), rows)


@cache
def _insert_statement(dialect_name: str) -> Any:
    # A charged call whose answer could not be sent has a row already; its failure does not add another.
    insert: Any = postgresql.insert if dialect_name == "postgresql" else sqlite.insert
    table = CallRecord.__table__  # type: ignore[attr-defined]
    return insert(table).on_conflict_do_nothing(index_elements=["request_id"])
