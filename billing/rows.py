"""The two ways in which this package writes: insert a row once, and move credits."""

from typing import Any, TypeVar

from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, SQLModel, col, update

from billing.models import Account, Grant

Row = TypeVar("Row", bound=SQLModel)


def insert_unless_taken(session: Session, row: Row, *, unique_column: str = "reference") -> Row | None:
    """The stored row, or None if another one has its value in `unique_column`.

    One statement, decided by the unique constraint: a transaction that is inserting the same value is waited
    for, and a second use leaves the transaction usable, which a caught IntegrityError does not.
    """
    insert: Any = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    statement = (
        insert(type(row))
        .values(**row.model_dump(exclude_none=True))
        .on_conflict_do_nothing(index_elements=[unique_column])
        .returning(type(row))
    )
    stored: Row | None = session.scalars(statement).one_or_none()
    return stored


def move(session: Session, *, account_id: str, grant_id: str, available: int = 0, held: int = 0) -> Grant:
    """Add to both counts of the account and of the grant; the grant's fresh row.

    The sums are made by the database, so that no stale copy can be written back; its constraints refuse a
    count below zero. Rows in the session become fresh.
    """
    for table, row_id in ((Account, account_id), (Grant, grant_id)):
        statement = (
            update(table)
            .where(col(table.id) == row_id)
            .values(available=col(table.available) + available, held=col(table.held) + held)
            .returning(table)
            .execution_options(synchronize_session=False, populate_existing=True)
        )
        row = session.scalars(statement).one()
    assert isinstance(row, Grant)
    return row
