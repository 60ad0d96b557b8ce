"""The table of periodic work. Every other table is in the package whose data it holds."""

from datetime import datetime

from sqlmodel import Field, SQLModel

from billing.timestamps import UtcDateTime


class PeriodicWork(SQLModel, table=True):
    """When periodic work is due next, see `api.db.leader`."""

    __tablename__ = "periodic_work"

    id: str = Field(primary_key=True)  # the work's name
    due_at: datetime = Field(sa_type=UtcDateTime)
