"""The log of what operators did: written here, read in pages, never changed.

Every function takes a session; `append` is called in the transaction of the act.
"""

import csv
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from api import response_bodies
from api.operators.models import Act, AuditEntry
from billing.ledger.models import Account

COMMAND_LINE = "command line"
COLUMNS = ("time", "operator", "act", "account", "before", "after", "reason", "request", "address")
#: Spreadsheets take a cell that begins like this for a formula.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


@dataclass(frozen=True)
class Actor:
    """Who acts, and from where. `operator_id` is None for the command line."""

    operator_id: str | None = None
    request_id: str = ""
    address: str = ""


@dataclass(frozen=True)
class LogFilter:
    """What to list; None: everything. `operator_id` may be `COMMAND_LINE`."""

    account_id: str | None = None
    operator_id: str | None = None
    act: Act | None = None


@dataclass(frozen=True)
class LogLine:
    """An entry, with the addresses that the accounts have now; they may have changed or been deleted."""

    entry: AuditEntry
    operator_email: str | None
    account_email: str | None

    @property
    def operator_text(self) -> str:
        return self.operator_email or self.entry.operator_id or COMMAND_LINE

    @property
    def act(self) -> Act:
        return Act(self.entry.act)

    @property
    def before(self) -> dict[str, object]:
        return dict(json.loads(self.entry.before))

    @property
    def after(self) -> dict[str, object]:
        return dict(json.loads(self.entry.after))


def append(
    session: Session,
    actor: Actor,
    act: Act,
    *,
    account_id: str | None,
    reason: str,
    now: datetime,
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
    form_token: str | None = None,
) -> None:
    """Write one entry. `before` and `after` are values of JSON, without personal data and secrets."""
    session.add(
        AuditEntry(
            created_at=now,
            operator_id=actor.operator_id,
            act=act.value,
            account_id=account_id,
            before=json.dumps(dict(before or {})),
            after=json.dumps(dict(after or {})),
            reason=reason,
            request_id=actor.request_id,
            address=actor.address,
            form_token=form_token,
        )
    )
    session.flush()


def find_form(session: Session, operator_id: str | None, form_token: str) -> AuditEntry | None:
    """The entry of a form that the operator has sent before."""
    return session.exec(
        select(AuditEntry).where(AuditEntry.operator_id == operator_id, AuditEntry.form_token == form_token)
    ).one_or_none()


def page(session: Session, wanted: LogFilter, limit: int, before: int | None = None) -> list[LogLine]:
    """Up to `limit` lines, newest first; the next page is `before` the last line's number."""
    operator, account = aliased(Account), aliased(Account)
    statement = (
        select(AuditEntry, operator.email, account.email)
        .outerjoin(operator, col(operator.id) == col(AuditEntry.operator_id))
        .outerjoin(account, col(account.id) == col(AuditEntry.account_id))
    )
    if wanted.account_id is not None:
        statement = statement.where(AuditEntry.account_id == wanted.account_id)
    if wanted.operator_id == COMMAND_LINE:
        statement = statement.where(col(AuditEntry.operator_id).is_(None))
    elif wanted.operator_id is not None:
        statement = statement.where(AuditEntry.operator_id == wanted.operator_id)
    if wanted.act is not None:
        statement = statement.where(AuditEntry.act == wanted.act.value)
    if before is not None:
        statement = statement.where(col(AuditEntry.id) < before)
    newest_first = statement.order_by(col(AuditEntry.id).desc()).limit(limit)
    return [LogLine(*row) for row in session.exec(newest_first)]


def csv_rows(lines: Iterable[LogLine]) -> str:
    """The lines as CSV (RFC 4180), in which no cell is a formula."""
    return csv_text(
        (
            response_bodies.timestamp(line.entry.created_at),
            line.operator_text,
            line.entry.act,
            line.entry.account_id or "",
            line.entry.before,
            line.entry.after,
            line.entry.reason,
            line.entry.request_id,
            line.entry.address,
        )
        for line in lines
    )


def csv_text(rows: Iterable[tuple[str, ...]]) -> str:
    """Rows as CSV. A cell that a spreadsheet would compute begins with an apostrophe, as text does there."""
    text = io.StringIO()
    csv.writer(text).writerows([_as_text(cell) for cell in row] for row in rows)
    return text.getvalue()


def _as_text(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA_STARTS) else cell
