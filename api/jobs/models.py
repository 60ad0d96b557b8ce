"""The table of jobs."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import Boolean, CheckConstraint, Column, Index, LargeBinary, Text, text
from sqlalchemy import false as sa_false
from sqlmodel import Field, SQLModel

from billing.timestamps import UtcDateTime


class JobStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        return self not in (JobStatus.QUEUED, JobStatus.RUNNING)


_FAILED = text("status = 'failed'")


class Job(SQLModel, table=True):
    """A tool's call that is run later. All but its progress changes under its account's lock.

    Its credit is held from the start. Its result is the answer in its replay row.
    """

    __tablename__ = "job"
    __table_args__ = (
        CheckConstraint(
            "status in ('queued', 'running', 'succeeded', 'failed', 'cancelled')", name="job_status_known"
        ),
        CheckConstraint(
            "(status in ('queued', 'running')) = (finished_at is null)", name="job_finished_has_time"
        ),
        Index("job_by_account", "account_id", "created_at", "id"),
        Index("job_unfinished", "status", "id"),
        Index("job_expiry", "expires_at"),
        Index("job_by_batch", "batch_id", "finished_at"),
        Index("job_failed", "finished_at", sqlite_where=_FAILED, postgresql_where=_FAILED),
    )

    id: str = Field(primary_key=True)  # job_…
    account_id: str = Field(foreign_key="account.id")
    key_id: str | None = Field(default=None)
    #: See `CallRecord`.
    person_id: str | None = Field(default=None)
    #: Asked for with a test key: it costs nothing, and its results are small and marked.
    is_test: bool = Field(default=False, sa_column=Column(Boolean, nullable=False, server_default=sa_false()))
    request_id: str  # of the request that asked for it
    tool: str
    #: The validated parameters as JSON; null once it is done.
    params: bytes | None = Field(default=None, sa_column=Column(LargeBinary, nullable=True))
    params_bytes: int = Field(default=0)
    #: JSON: what `api.jobs.inputs.Inputs` has.
    inputs: str = Field(sa_column=Column(Text, nullable=False))
    base_url: str
    #: Where the account asked to be notified of its end.
    callback_url: str | None = Field(default=None, sa_column=Column(Text, nullable=True))
    hold_id: str = Field(foreign_key="hold.id")
    replay_id: str  # of the call, for its result
    answer_id: str  # the replay row of the request that asked for it
    status: str = Field(default=JobStatus.QUEUED)
    #: How often it was started. Names the run, so that a superseded one changes nothing.
    runs: int = Field(default=0)
    #: Runs that ended with their worker or process.
    losses: int = Field(default=0)
    stage: str | None = Field(default=None)
    fraction: float = Field(default=0.0)
    expected_seconds: float | None = Field(default=None)
    #: Counts its changes, for event streams.
    version: int = Field(default=1)
    error: str | None = Field(default=None, sa_column=Column(Text, nullable=True))  # JSON, as in an answer
    created_at: datetime = Field(sa_type=UtcDateTime)
    started_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime)  # when it is given up, later when it is forgotten
    #: The batch and the item whose step it is. Such a job is shown as a part of its batch, which deletes it.
    batch_id: str | None = Field(default=None)
    batch_item_id: str | None = Field(default=None)
    #: The image of a succeeded job of a batch, and until when it is kept at least.
    result_id: str | None = Field(default=None)
    result_kept_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
