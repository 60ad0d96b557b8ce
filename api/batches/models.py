"""The tables of batches and their items."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import Boolean, CheckConstraint, Column, Index, LargeBinary, Text, UniqueConstraint
from sqlalchemy import false as sa_false
from sqlmodel import Field, SQLModel

from billing.timestamps import UtcDateTime


class BatchStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"  # by its account
    BLOCKED = "blocked"  # until the account has credits
    COMPLETED = "completed"
    CANCELLED = "cancelled"

    @property
    def has_ended(self) -> bool:
        return self in (BatchStatus.COMPLETED, BatchStatus.CANCELLED)


class ItemStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"  # it has a job
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Batch(SQLModel, table=True):
    """Changes under its account's lock, as its items do."""

    __tablename__ = "batch"
    __table_args__ = (
        CheckConstraint(
            "status in ('queued', 'running', 'paused', 'blocked', 'completed', 'cancelled')",
            name="batch_status_known",
        ),
        CheckConstraint(
            "(status in ('completed', 'cancelled')) = (finished_at is not null)",
            name="batch_finished_has_time",
        ),
        Index("batch_by_account", "account_id", "created_at", "id"),
        Index("batch_by_status", "status", "id"),
        Index("batch_expiry", "expires_at"),
    )

    id: str = Field(primary_key=True)  # batch_…
    account_id: str = Field(foreign_key="account.id")
    key_id: str | None = Field(default=None)
    #: See `CallRecord`.
    person_id: str | None = Field(default=None)
    #: Asked for with a test key: it costs nothing, and its results are small and marked.
    is_test: bool = Field(default=False, sa_column=Column(Boolean, nullable=False, server_default=sa_false()))
    request_id: str
    base_url: str
    callback_url: str | None = Field(default=None, sa_column=Column(Text, nullable=True))
    #: JSON: see `api.batches.steps`.
    steps: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    step_count: int
    item_count: int
    status: str = Field(default=BatchStatus.QUEUED)
    #: Counts its starts and resumptions. Each has a task of its own, and only the latest one acts.
    activation: int = Field(default=1)
    #: How long the results are kept after its end.
    retention_seconds: int
    created_at: datetime = Field(sa_type=UtcDateTime)
    started_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime)  # when it is given up, later when it is forgotten


class BatchItem(SQLModel, table=True):
    """One image of a batch."""

    __tablename__ = "batch_item"
    __table_args__ = (
        CheckConstraint(
            "status in ('queued', 'running', 'succeeded', 'failed', 'cancelled')",
            name="batch_item_status_known",
        ),
        CheckConstraint("(status = 'running') = (job_id is not null)", name="batch_item_running_has_job"),
        UniqueConstraint("batch_id", "position", name="batch_item_once"),
        Index("batch_item_by_status", "batch_id", "status", "position"),
        Index("batch_item_by_source", "source_id"),
    )

    id: str = Field(primary_key=True)  # item_…
    batch_id: str = Field(foreign_key="batch.id")
    position: int  # from 0, in the order of the request
    name: str  # as sent; a relative path for a ZIP's file in a folder
    status: str = Field(default=ItemStatus.QUEUED)
    #: Where the image is fetched from, before its first step.
    url: str | None = Field(default=None, sa_column=Column(Text, nullable=True))
    #: The image as it was sent; null until it was fetched, or if it could not be stored.
    source_id: str | None = Field(default=None)
    is_source_own: bool = Field(default=True)  # stored for this batch only
    #: When a stored image would have expired without this batch.
    source_expires_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    #: The latest step's result.
    image_id: str | None = Field(default=None)
    steps_done: int = Field(default=0)
    job_id: str | None = Field(default=None)  # of the step that waits or runs
    credits: int = Field(default=0)
    error: str | None = Field(default=None, sa_column=Column(Text, nullable=True))  # JSON, as in an answer
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class BatchStepFile(SQLModel, table=True):
    """A stored image that steps of a batch name, such as a mask. Every image of the batch needs it."""

    __tablename__ = "batch_step_file"
    __table_args__ = (Index("batch_step_file_by_image", "image_id"),)

    batch_id: str = Field(foreign_key="batch.id", primary_key=True)
    image_id: str = Field(primary_key=True)
    #: When it would have expired without this batch.
    image_expires_at: datetime = Field(sa_type=UtcDateTime)
