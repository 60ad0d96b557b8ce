"""The tables of outgoing webhooks."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, Column, Index, LargeBinary, Text, text
from sqlmodel import Field, SQLModel

from billing.timestamps import UtcDateTime


class WebhookEvent(StrEnum):
    JOB_SUCCEEDED = "job.succeeded"
    JOB_FAILED = "job.failed"
    BATCH_COMPLETED = "batch.completed"
    CREDITS_LOW = "credits.low"
    CREDITS_EXHAUSTED = "credits.exhausted"
    PAYMENT_FAILED = "payment.failed"
    KEY_ENDING = "key.ending"
    ACCOUNT_SIGN_IN = "account.sign_in"
    TEST = "webhook.test"  # sent on request only

    @classmethod
    def selectable(cls) -> "list[WebhookEvent]":
        """The events that an endpoint may be subscribed to."""
        return [event for event in cls if event is not cls.TEST]


class DeliveryStatus(StrEnum):
    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class WebhookEndpoint(SQLModel, table=True):
    """A URL that receives an account's events. Created and deleted under the account's lock."""

    __tablename__ = "webhook_endpoint"

    id: str = Field(primary_key=True)  # whe_…
    account_id: str = Field(foreign_key="account.id", index=True)
    #: Null for the one endpoint of an account that signs what is sent to the `callback_url` of jobs.
    url: str | None = Field(default=None, sa_column=Column(Text, nullable=True))
    events: str = Field(default="")  # with commas between them
    #: Signatures are symmetric, so the secrets are stored as they are.
    secret: str
    previous_secret: str | None = Field(default=None)
    previous_secret_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    disabled_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    disabled_reason: str | None = Field(default=None)
    created_at: datetime = Field(sa_type=UtcDateTime)


class WebhookMessage(SQLModel, table=True):
    """What is sent about one event. Its id is the `webhook-id` of every delivery and attempt."""

    __tablename__ = "webhook_message"
    __table_args__ = (Index("webhook_message_expiry", "expires_at"),)

    id: str = Field(primary_key=True)  # msg_…
    account_id: str = Field(foreign_key="account.id", index=True)
    event: str
    body: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime)


_FAILED = text("status = 'failed'")


class WebhookDelivery(SQLModel, table=True):
    """A message on its way to one endpoint, with the log of its attempts."""

    __tablename__ = "webhook_delivery"
    __table_args__ = (
        CheckConstraint("status in ('pending', 'succeeded', 'failed')", name="webhook_delivery_status_known"),
        CheckConstraint(
            "(status = 'pending') = (next_attempt_at is not null)", name="webhook_delivery_pending_is_due"
        ),
        Index("webhook_delivery_pending", "status", "id"),
        Index("webhook_delivery_by_endpoint", "endpoint_id", "created_at", "id"),
        Index("webhook_delivery_by_message", "message_id"),
        Index("webhook_delivery_failed", "finished_at", sqlite_where=_FAILED, postgresql_where=_FAILED),
    )

    id: str = Field(primary_key=True)  # whd_…
    message_id: str = Field(foreign_key="webhook_message.id")
    endpoint_id: str = Field(foreign_key="webhook_endpoint.id")
    account_id: str = Field(foreign_key="account.id", index=True)
    #: The job's `callback_url`. Null: the endpoint's own URL, as it is when an attempt is made.
    url: str | None = Field(default=None, sa_column=Column(Text, nullable=True))
    status: str = Field(default=DeliveryStatus.PENDING)
    attempts: int = Field(default=0)
    next_attempt_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    #: JSON: a list of attempts as the API shows them.
    log: str = Field(default="[]", sa_column=Column(Text, nullable=False))
    created_at: datetime = Field(sa_type=UtcDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
