"""Minimal transactions that show whether the database has our tables and accepts writes."""

from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, select

from api.db.models import PeriodicWork
from billing.timestamps import utc_now

_ROW_ID = "readiness"


def read(session: Session) -> None:
    """Read one of our tables: `select 1` would also succeed on an empty file or another database."""
    session.exec(select(PeriodicWork.id).limit(1)).first()


def write(session: Session) -> None:
    """Change a row: only its commit shows that the disk has room."""
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    statement = insert(PeriodicWork).values(id=_ROW_ID, due_at=utc_now())
    session.execute(
        statement.on_conflict_do_update(index_elements=["id"], set_={"due_at": statement.excluded.due_at})
    )
