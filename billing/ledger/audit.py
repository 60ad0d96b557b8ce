"""Recomputes every balance and every settlement from the entries and the open holds.

Each check is one SQL statement that lets the database compute the sums. So it sees one consistent state even
while calls run, and needs no memory here for any number of entries. A consistent ledger yields no row.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, text
from sqlmodel import Session, case, col, func, or_, select

from billing.ledger.models import Account, BudgetMonth, Entry, EntryKind, Grant, Hold, HoldStatus


@dataclass(frozen=True)
class Drift:
    """A stored value that differs from the sum of entries and holds."""

    what: str  # e.g. "account.available"
    row_id: str
    stored: object
    expected: object

    def __str__(self) -> str:
        return f"{self.row_id}: {self.what} is {self.stored}, should be {self.expected}"


def audit(session: Session) -> list[Drift]:
    """All drifts; empty if the ledger is consistent.

    Only reads, so call it in a read-only transaction, which does not block writers: millions of entries take
    many seconds. It lifts PostgreSQL's statement timeout until the transaction ends.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("set local statement_timeout = 0"))
    return [
        *_counts(session, Account, col(Entry.account_id), col(Hold.account_id)),
        *_counts(session, Grant, col(Entry.grant_id), col(Hold.grant_id)),
        *_first_entries(session),
        *_settlements(session),
        *_account_mismatches(session),
        *_overdrafts(session),
        *_budgets(session),
    ]


def _counts(
    session: Session, table: type[Account] | type[Grant], of_entry: Any, of_hold: Any
) -> Iterable[Drift]:
    """available = sum(entries) - open holds, held = open holds; for every account or every grant."""
    entered = select(of_entry.label("id"), func.sum(Entry.amount).label("sum")).group_by(of_entry).subquery()
    open_holds = (
        select(of_hold.label("id"), func.sum(Hold.amount).label("sum"))
        .where(col(Hold.status) == HoldStatus.OPEN)
        .group_by(of_hold)
        .subquery()
    )
    held = func.coalesce(open_holds.c.sum, 0)
    available = func.coalesce(entered.c.sum, 0) - held
    rows: Select[Any] = (
        select(table.id, table.available, available, table.held, held)  # type: ignore[call-overload]
        .outerjoin(entered, entered.c.id == col(table.id))
        .outerjoin(open_holds, open_holds.c.id == col(table.id))
        .where(or_(col(table.available) != available, col(table.held) != held))
    )
    for row_id, stored_available, expected_available, stored_held, expected_held in session.execute(rows):
        if stored_available != expected_available:
            yield Drift(f"{table.__tablename__}.available", row_id, stored_available, int(expected_available))
        if stored_held != expected_held:
            yield Drift(f"{table.__tablename__}.held", row_id, stored_held, int(expected_held))


def _first_entries(session: Session) -> Iterable[Drift]:
    """The grant entries of every grant sum up to exactly its amount."""
    granted = (
        select(col(Entry.grant_id).label("id"), func.sum(Entry.amount).label("sum"))
        .where(col(Entry.kind) == EntryKind.GRANT)
        .group_by(col(Entry.grant_id))
        .subquery()
    )
    total = func.coalesce(granted.c.sum, 0)
    rows = (
        select(Grant.id, total, Grant.amount)
        .outerjoin(granted, granted.c.id == col(Grant.id))
        .where(total != col(Grant.amount))
    )
    for grant_id, stored, expected in session.execute(rows):
        yield Drift("the grant entry", grant_id, int(stored), expected)


def _settlements(session: Session) -> Iterable[Drift]:
    """A captured hold has one capture entry of its amount and at most one refund; no other hold has any."""
    by_hold = (
        select(
            col(Entry.hold_id).label("id"),
            *(
                func.sum(case((col(Entry.kind) == kind, col(Entry.amount)), else_=0)).label(kind.value)
                for kind in (EntryKind.CAPTURE, EntryKind.REFUND)
            ),
        )
        .where(col(Entry.hold_id).is_not(None))
        .group_by(col(Entry.hold_id))
        .subquery()
    )
    captured = func.coalesce(by_hold.c.capture, 0)
    refunded = func.coalesce(by_hold.c.refund, 0)
    charge = case((col(Hold.status) == HoldStatus.CAPTURED, -col(Hold.amount)), else_=0)
    rows = (
        select(Hold.id, captured, charge, refunded)
        .outerjoin(by_hold, by_hold.c.id == col(Hold.id))
        .where(or_(captured != charge, ~refunded.in_([0, -charge])))
    )
    for hold_id, stored, expected, given_back in session.execute(rows):
        if stored != expected:
            yield Drift("the capture entry", hold_id, int(stored), expected)
        if given_back not in (0, -expected):
            yield Drift("the refund entry", hold_id, int(given_back), -expected)


def _account_mismatches(session: Session) -> Iterable[Drift]:
    """Entries and holds belong to the account of their grant, entries to the grant of their hold."""
    entries = (
        select(Entry.id, Entry.account_id, Grant.account_id)
        .join(Grant, col(Grant.id) == col(Entry.grant_id))
        .where(col(Grant.account_id) != col(Entry.account_id))
    )
    holds = (
        select(Hold.id, Hold.account_id, Grant.account_id)
        .join(Grant, col(Grant.id) == col(Hold.grant_id))
        .where(col(Grant.account_id) != col(Hold.account_id))
    )
    grants = (
        select(Entry.id, Entry.grant_id, Hold.grant_id)
        .join(Hold, col(Hold.id) == col(Entry.hold_id))
        .where(col(Hold.grant_id) != col(Entry.grant_id))
    )
    for what, rows in (("entry.account_id", entries), ("hold.account_id", holds), ("entry.grant_id", grants)):
        for row_id, stored, expected in session.execute(rows):
            yield Drift(what, str(row_id), stored, expected)


def _overdrafts(session: Session) -> Iterable[Drift]:
    """At no point in its history do a grant's entries sum up to less than zero."""
    running = select(
        col(Entry.grant_id).label("id"),
        func.sum(Entry.amount).over(partition_by=col(Entry.grant_id), order_by=col(Entry.id)).label("sum"),
    ).subquery()
    lowest = func.min(running.c.sum)
    rows = select(running.c.id, lowest).group_by(running.c.id).having(lowest < 0)
    for grant_id, least in session.execute(rows):
        yield Drift("the lowest balance", grant_id, int(least), "0 or more")


def _budgets(session: Session) -> Iterable[Drift]:
    """used = open and captured holds, without refunded ones; for every month of every budget."""
    refunded = select(Entry.hold_id).where(
        col(Entry.kind) == EntryKind.REFUND, col(Entry.hold_id) == col(Hold.id)
    )
    kept = (
        select(col(Hold.budget_month_id).label("id"), func.sum(Hold.amount).label("sum"))
        .where(col(Hold.status).in_([HoldStatus.OPEN.value, HoldStatus.CAPTURED.value]), ~refunded.exists())
        .group_by(col(Hold.budget_month_id))
        .subquery()
    )
    expected = func.coalesce(kept.c.sum, 0)
    rows = (
        select(BudgetMonth.id, BudgetMonth.used, expected)
        .outerjoin(kept, kept.c.id == col(BudgetMonth.id))
        .where(col(BudgetMonth.used) != expected)
    )
    for row_id, stored, counted in session.execute(rows):
        yield Drift("budget_month.used", row_id, stored, int(counted))
