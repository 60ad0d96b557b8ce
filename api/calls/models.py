"""Tables of tool calls: stored answers for retries, and the call log."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, Column, Index, LargeBinary, UniqueConstraint
from sqlmodel import Field, SQLModel

from billing.timestamps import UtcDateTime


class ReplayStatus(StrEnum):
    RUNNING = "running"
    DONE = "done"  # an answer is stored: a success, or an error raised by the tool


class Replay(SQLModel, table=True):
    """Makes retries safe: one row per idempotency key, or per fingerprint of a call without one."""

    __tablename__ = "replay"
    __table_args__ = (
        UniqueConstraint("account_id", "retry_key", name="replay_once"),
        CheckConstraint("status in ('running', 'done')", name="replay_status_known"),
        CheckConstraint(
            "(status = 'done') = (status_code is not null and body is not null)",
            name="replay_done_has_answer",
        ),
        Index("replay_expiry", "expires_at"),
    )

    id: str = Field(primary_key=True)  # rpl_…
    account_id: str = Field(foreign_key="account.id")
    retry_key: str  # "key:<the caller's Idempotency-Key>" or "call:<fingerprint>"
    fingerprint: str  # SHA-256, hex, of tool, parameters and files
    status: str = Field(default=ReplayStatus.RUNNING)
    hold_id: str | None = Field(default=None, foreign_key="hold.id")
    status_code: int | None = Field(default=None)
    body: bytes | None = Field(default=None, sa_column=Column(LargeBinary, nullable=True))  # JSON, ≤ 1 MiB
    image_id: str | None = Field(default=None)
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime)


class CallRecord(SQLModel, table=True):
    """One tool call in the call log. Images and parameters are not recorded."""

    __tablename__ = "call_record"
    __table_args__ = (
        CheckConstraint("credits >= 0", name="call_record_credits_not_negative"),
        Index("call_record_by_account", "account_id", "started_at"),
        Index("call_record_by_day", "account_id", "day"),
        Index("call_record_age", "started_at"),
    )

    request_id: str = Field(primary_key=True)  # req_…
    account_id: str = Field(foreign_key="account.id")
    key_id: str | None = Field(default=None)  # null: the web editor
    #: The member who used the web editor, or made the key; null: the account's owner.
    person_id: str | None = Field(default=None)
    tool: str
    day: str  # 2026-11-22, in UTC: usage is counted by it
    started_at: datetime = Field(sa_type=UtcDateTime)
    duration_ms: int
    status_code: int
    code: str | None = Field(default=None)  # of an error
    credits: int = Field(default=0)
