"""The tables of cards that were used for trials, and of comparisons with Stripe."""

from datetime import datetime

from sqlalchemy import Column, Text
from sqlmodel import Field, SQLModel

from billing.timestamps import UtcDateTime


class TrialCard(SQLModel, table=True):
    """A card that was used for a trial, so that another account does not get a trial with it."""

    __tablename__ = "trial_card"

    id: str = Field(primary_key=True)  # HMAC of Stripe's fingerprint, hex
    account_id: str
    kept_until: datetime = Field(sa_type=UtcDateTime, index=True)


class Reconciliation(SQLModel, table=True):
    """A finished comparison of all customers with Stripe."""

    __tablename__ = "reconciliation"

    id: str = Field(primary_key=True)  # rec_…
    finished_at: datetime = Field(sa_type=UtcDateTime, index=True)
    customers: int  # that were compared
    differed: int  # of them, and were repaired
    failed: int  # of them, and could not be compared
    #: JSON: what was repaired, and why the others failed, by customer; the first of them only.
    details: str = Field(sa_column=Column(Text, nullable=False))
