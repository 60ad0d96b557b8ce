"""The table of cards that were used for trials."""

from datetime import datetime

from sqlmodel import Field, SQLModel

from billing.timestamps import UtcDateTime


class TrialCard(SQLModel, table=True):
    """A card that was used for a trial, so that another account does not get a trial with it."""

    __tablename__ = "trial_card"

    id: str = Field(primary_key=True)  # HMAC of Stripe's fingerprint, hex
    account_id: str
    kept_until: datetime = Field(sa_type=UtcDateTime, index=True)
