"""Tables about the server's processes. Every other table is in the package whose data it holds."""

from datetime import datetime

from sqlmodel import Field, SQLModel

from billing.timestamps import UtcDateTime


class PeriodicWork(SQLModel, table=True):
    """When periodic work is due next, see `api.db.leader`."""

    __tablename__ = "periodic_work"

    id: str = Field(primary_key=True)  # the work's name
    due_at: datetime = Field(sa_type=UtcDateTime)


class EngineProcess(SQLModel, table=True):
    """A server process whose task engine runs (`api.durable`). Others take over when its lease has lapsed."""

    __tablename__ = "engine_process"

    id: str = Field(primary_key=True)  # process_…, the executor of its tasks
    lease_until: datetime = Field(sa_type=UtcDateTime)


class EngineSchema(SQLModel, table=True):
    """The version of the task engine's library that last migrated its tables."""

    __tablename__ = "engine_schema"

    id: str = Field(primary_key=True)  # the library's name
    version: str
