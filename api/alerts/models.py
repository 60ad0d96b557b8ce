"""The tables of alerts."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, Column, Index, Text
from sqlmodel import Field, SQLModel

from billing.timestamps import UtcDateTime


class AlertKind(StrEnum):
    """The values are the names of the webhook events too."""

    CREDITS_LOW = "credits.low"
    CREDITS_EXHAUSTED = "credits.exhausted"
    PAYMENT_FAILED = "payment.failed"
    KEY_ENDING = "key.ending"
    SIGN_IN = "account.sign_in"

    @property
    def is_about_security(self) -> bool:
        """Its mails cannot be switched off by one click in the mail, only by who is signed in."""
        return self is AlertKind.SIGN_IN


class MailStatus(StrEnum):
    NONE = "none"  # not mailed: the kind is switched off, or there is no mail server or address
    PENDING = "pending"
    SENT = "sent"
    FAILED = "failed"  # refused for good, or given up after a day


class Alert(SQLModel, table=True):
    """An event that the owner is notified of once, and the state of its mail."""

    __tablename__ = "alert"
    __table_args__ = (
        CheckConstraint(
            "mail_status in ('none', 'pending', 'sent', 'failed')", name="alert_mail_status_known"
        ),
        CheckConstraint(
            "(mail_status = 'pending') = (next_attempt_at is not null)", name="alert_pending_mail_is_due"
        ),
        Index("alert_pending_mail", "mail_status", "id"),
        Index("alert_expiry", "expires_at"),
    )

    id: str = Field(primary_key=True)  # alr_…
    account_id: str = Field(foreign_key="account.id", index=True)
    kind: str
    #: Unique: the kind, the account and the cause. It decides that there is one alert.
    reference: str = Field(unique=True)
    #: JSON: the `data` of the webhook's message, from which the mail is written.
    facts: str = Field(sa_column=Column(Text, nullable=False))
    mail_status: str
    attempts: int = Field(default=0)
    next_attempt_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    created_at: datetime = Field(sa_type=UtcDateTime)
    #: When the cause cannot come again. Null: with the account only.
    expires_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class AlertPreference(SQLModel, table=True):
    """Which mails an account's owner has switched off. Without a row, none."""

    __tablename__ = "alert_preference"

    account_id: str = Field(primary_key=True, foreign_key="account.id")
    muted: str = Field(default="")  # kinds, with commas between them
