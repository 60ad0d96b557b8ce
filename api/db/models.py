"""Tables of API keys, images, stored answers for retries, the call log, trial cards and periodic work."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, Column, Index, LargeBinary, UniqueConstraint
from sqlmodel import Field, SQLModel

from billing.timestamps import UtcDateTime


class ApiKey(SQLModel, table=True):
    """A key's hash and first characters. The key itself is shown once and not stored."""

    __tablename__ = "api_key"

    id: str = Field(primary_key=True)  # key_…
    account_id: str = Field(foreign_key="account.id", index=True)
    name: str
    first_characters: str  # "bge_live_Ab3d": enough to recognise it in a list
    sha256: str = Field(unique=True)  # hex, of the whole key
    created_at: datetime = Field(sa_type=UtcDateTime)
    last_used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    expires_at: datetime | None = Field(default=None, sa_type=UtcDateTime)  # set by rotation: end of grace
    revoked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class PeriodicWork(SQLModel, table=True):
    """When periodic work is due next, see `api.db.leader`."""

    __tablename__ = "periodic_work"

    id: str = Field(primary_key=True)  # the work's name
    due_at: datetime = Field(sa_type=UtcDateTime)


class ImageKind(StrEnum):
    UPLOAD = "upload"
    RESULT = "result"
    CUTOUT = "cutout"  # a result of a selection, whose transparency is the mask


class Image(SQLModel, table=True):
    """A stored image. Its bytes are in storage under `id`; client file names are never used."""

    __tablename__ = "image"
    __table_args__ = (CheckConstraint("size_bytes >= 0", name="image_size_not_negative"),)

    id: str = Field(primary_key=True)  # img_…
    account_id: str = Field(foreign_key="account.id", index=True)
    kind: str
    format: str  # jpg, png, webp, avif, heic
    size_bytes: int
    #: Size of the stored artefacts (`api.images.storage`), which count towards the account's storage too.
    artefact_bytes: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    sha256: str
    width: int | None = Field(default=None)  # null: an upload that no worker has decoded yet
    height: int | None = Field(default=None)
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)  # extended by every use


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
        Index("call_record_age", "day"),
    )

    request_id: str = Field(primary_key=True)  # req_…
    account_id: str = Field(foreign_key="account.id")
    key_id: str | None = Field(default=None)  # null: the web editor
    tool: str
    day: str  # 2026-11-22, in UTC: usage is counted by it
    started_at: datetime = Field(sa_type=UtcDateTime)
    duration_ms: int
    status_code: int
    code: str | None = Field(default=None)  # of an error
    credits: int = Field(default=0)


class TrialCard(SQLModel, table=True):
    """A card that was used for a trial, so that another account does not get a trial with it."""

    __tablename__ = "trial_card"

    id: str = Field(primary_key=True)  # HMAC of Stripe's fingerprint, hex
    account_id: str
    kept_until: datetime = Field(sa_type=UtcDateTime, index=True)
