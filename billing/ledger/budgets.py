"""Budgets: how many credits the holds of one API key may take in a calendar month.

A budget's count is a row for each month, which changes by conditional statements in the transactions of the
holds it counts: it grows with a hold, shrinks when the hold is released, expires or is refunded, and stays
when it is captured. A hold counts in the month in which it was made, whenever it ends. Months are calendar
months in UTC, because an account's own credit month moves when its plan changes.

Functions take a session and never commit. The account must be locked.
"""

from datetime import UTC, datetime
from functools import cache
from typing import Any

from sqlalchemy import Table, bindparam, func, or_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, col, select

from billing.errors import BudgetSpent
from billing.ledger.models import Budget, BudgetMonth
from billing.ledger.periods import period_start

_MONTHS: Table = BudgetMonth.__table__  # type: ignore[attr-defined]
_GIVE_BACK = (
    update(_MONTHS)
    .where(_MONTHS.c.id == bindparam("month_id"))
    .values(used=_MONTHS.c.used - bindparam("amount"))
)
_USED = select(BudgetMonth.used).where(col(BudgetMonth.id) == bindparam("month_id"))
_LIMIT = select(Budget.monthly_limit).where(col(Budget.id) == bindparam("budget_id"))


def create(session: Session, budget_id: str, account_id: str, monthly_limit: int | None) -> None:
    """A budget of the account. `monthly_limit` in credits, at least 1; None: it only counts."""
    session.add(Budget(id=budget_id, account_id=account_id, monthly_limit=monthly_limit))
    session.flush()


def set_limit(session: Session, budget_id: str, monthly_limit: int | None) -> None:
    """Change the limit, which acts on the next hold. What was used this month stays counted."""
    session.get_one(Budget, budget_id).monthly_limit = monthly_limit
    session.flush()


def limit_of(session: Session, budget_id: str) -> int | None:
    """The credits that may be used in a month; None: any number."""
    limit: int | None = session.scalars(_LIMIT, {"budget_id": budget_id}).one()
    return limit


def used(session: Session, budget_id: str, now: datetime) -> int:
    """The credits in open or captured holds of this month, without refunded ones."""
    return session.scalars(_USED, {"month_id": month_id(budget_id, now)}).one_or_none() or 0


def require_room(session: Session, budget_id: str, now: datetime) -> None:
    """Raises BudgetSpent if `take` would."""
    limit = limit_of(session, budget_id)
    if limit is not None and used(session, budget_id, now) >= limit:
        raise _spent(limit, now)


def take(session: Session, budget_id: str, amount: int, now: datetime) -> str:
    """Count `amount` credits, and return the id of the month that they count in.

    Raises BudgetSpent, with nothing counted, if the month has no room for them.
    """
    row_id = month_id(budget_id, now)
    values = {"row_id": row_id, "budget_id": budget_id, "month": month_of(now), "amount": amount}
    taken = session.execute(_take_statement(session.get_bind().dialect.name), values).scalar_one_or_none()
    if taken is None:
        limit = limit_of(session, budget_id)
        assert limit is not None
        raise _spent(limit, now)
    return row_id


def give_back(session: Session, budget_month_id: str, amount: int) -> None:
    """Uncount the credits of a hold that was released, expired or refunded."""
    session.execute(_GIVE_BACK, {"month_id": budget_month_id, "amount": amount})


def month_id(budget_id: str, now: datetime) -> str:
    """The id of the budget's row for the month of `now`."""
    return f"{budget_id}:{month_of(now)}"


def renews_at(now: datetime) -> datetime:
    """The beginning of the next calendar month in UTC."""
    now = now.astimezone(UTC)
    return period_start(now.replace(day=1, hour=0, minute=0, second=0, microsecond=0), 1)


def month_of(now: datetime) -> str:
    """The calendar month in UTC, such as `2026-11`."""
    return now.astimezone(UTC).strftime("%Y-%m")


def _spent(limit: int, now: datetime) -> BudgetSpent:
    return BudgetSpent(limit, renews_at(now))


@cache
def _take_statement(dialect_name: str) -> Any:
    insert: Any = postgresql.insert if dialect_name == "postgresql" else sqlite.insert
    statement = insert(_MONTHS).values(
        id=bindparam("row_id"),
        budget_id=bindparam("budget_id"),
        month=bindparam("month"),
        used=bindparam("amount"),
    )
    limit = select(Budget.monthly_limit).where(col(Budget.id) == bindparam("budget_id")).scalar_subquery()
    more = _MONTHS.c.used + statement.excluded.used
    # The first hold of a month is inserted without a check: every limit is at least 1.
    return statement.on_conflict_do_update(
        index_elements=["id"], set_={"used": more}, where=or_(limit.is_(None), more <= limit)
    ).returning(func.coalesce(_MONTHS.c.used, 0))
