"""The log of calls: what each caller asked for and how it ended, refusals too; usage by day comes from it.

A success is written by the transaction that charges it, so the log never tells of more or fewer credits than
the ledger. Everything else costs nothing and is only noted: rows are gathered in memory and written together,
so that a flood of refused calls is no flood of transactions. A crash loses the last second of those.
"""

from collections import deque
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any

import sqlalchemy
from sqlalchemy import delete
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, col, func, select

from api.calls.types import CallRequest
from api.db.database import Database
from api.db.models import CallRecord
from api.errors import status_and_code

WRITE_EVERY_SECONDS = 1.0
KEPT = timedelta(days=400)
_WAITING_MAX = (
    20_000  # beyond it the oldest are lost: the log must not fill the memory of a server under attack
)
_ROWS_A_WRITE = 1_000


@dataclass(frozen=True)
class Usage:
    """The calls of one day, tool and key. `key_id` is None for the web editor."""

    day: date
    tool: str
    key_id: str | None
    calls: int
    credits: int


class CallLog:
    """Rows of this process that wait to be written. For one event loop."""

    def __init__(self) -> None:
        self._waiting: deque[dict[str, object]] = deque(maxlen=_WAITING_MAX)

    def note(self, record: CallRecord) -> None:
        """Written soon, with others."""
        self._waiting.append(record.model_dump())

    async def write(self, database: Database) -> None:
        """Writes what waits. Raises ServiceUnavailable; then it goes on waiting."""
        while self._waiting:
            rows = [self._waiting.popleft() for _ in range(min(_ROWS_A_WRITE, len(self._waiting)))]
            try:
                await database.run(lambda session, rows=rows: _add(session, rows))  # type: ignore[misc]
            except BaseException:
                self._waiting.extendleft(reversed(rows))
                raise


def add(session: Session, record: CallRecord) -> None:
    """With the caller's transaction."""
    _add(session, [record.model_dump()])


def usage(session: Session, account_id: str, first: date, last: date) -> list[Usage]:
    """Answered calls (2xx) from `first` to `last`, days in UTC, both included; by day, tool and key."""
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


def latest(session: Session, account_id: str, limit: int, before: datetime | None = None) -> list[CallRecord]:
    """The account's last calls, newest first."""
    statement = select(CallRecord).where(CallRecord.account_id == account_id)
    if before is not None:
        statement = statement.where(col(CallRecord.started_at) < before)
    newest_first = col(CallRecord.started_at).desc()
    return list(session.exec(statement.order_by(newest_first, CallRecord.request_id).limit(limit)))


def forget_old(session: Session, now: datetime, limit: int) -> int:
    """Deletes rows past `KEPT`; how many."""
    old = (
        select(CallRecord.request_id)
        .where(col(CallRecord.day) < (now - KEPT).date().isoformat())
        .limit(limit)
        .scalar_subquery()
    )
    done = session.execute(delete(CallRecord).where(col(CallRecord.request_id).in_(old)))
    return int(done.rowcount)  # type: ignore[attr-defined]


def succeeded(request: CallRequest, credits: int, started_at: datetime, now: datetime) -> CallRecord:
    """The row of a call whose work was done and charged."""
    record = _begun(
        request.request_id, request.account_id, request.key_id, request.tool.name, started_at, now
    )
    record.status_code, record.credits = 200, credits
    return record


def replayed(request: CallRequest, status_code: int, started_at: datetime, now: datetime) -> CallRecord:
    """The row of a call that got the answer of an identical one, for nothing."""
    record = _begun(
        request.request_id, request.account_id, request.key_id, request.tool.name, started_at, now
    )
    record.status_code = status_code
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
) -> CallRecord:
    """The row of a call that ended in `error`."""
    record = _begun(request_id, account_id, key_id, tool, started_at, now)
    record.status_code, record.code = status_and_code(error)
    return record


def _begun(
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


def _add(session: Session, rows: list[dict[str, object]]) -> None:
    session.execute(_statement(session.get_bind().dialect.name), rows)


@cache
def _statement(dialect_name: str) -> Any:
    # A call that was charged and whose answer could not be sent has its row; its failure adds none.
    insert: Any = postgresql.insert if dialect_name == "postgresql" else sqlite.insert
    table = CallRecord.__table__  # type: ignore[attr-defined]
    return insert(table).on_conflict_do_nothing(index_elements=["request_id"])
