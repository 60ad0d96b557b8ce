"""Tables of Stripe objects: customers, subscriptions, paid packs, refunds and disputes, events.

Stripe is the source of truth. They are kept for display, for decisions without a call to Stripe, and so
that nothing is granted, revoked or handled twice. Paid invoices are in `billing.ledger.models`, because a
period's credits depend on them.
"""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, Index
from sqlmodel import Field, SQLModel

from billing.timestamps import UtcDateTime


class StripeCustomer(SQLModel, table=True):
    """The Stripe customer of an account, and the lease of the process that is syncing the two."""

    __tablename__ = "stripe_customer"

    id: str = Field(primary_key=True)  # cus_…
    account_id: str = Field(foreign_key="account.id", unique=True)
    created_at: datetime = Field(sa_type=UtcDateTime)
    # A process stores a new token before it fetches Stripe's state, and stores the result only if the token
    # is unchanged, so that a slow process cannot overwrite newer state.
    sync_token: str | None = Field(default=None)
    sync_until: datetime | None = Field(default=None, sa_type=UtcDateTime)


class Subscription(SQLModel, table=True):
    """A subscription in the state last fetched from Stripe."""

    __tablename__ = "subscription"

    id: str = Field(primary_key=True)  # sub_…
    account_id: str = Field(foreign_key="account.id", index=True)
    item_id: str  # si_…
    plan: str
    status: str  # Stripe's value: active, trialing, past_due, canceled, …
    created_at: datetime = Field(sa_type=UtcDateTime)
    period_starts_at: datetime = Field(sa_type=UtcDateTime)
    period_ends_at: datetime = Field(sa_type=UtcDateTime)
    ends_at: datetime | None = Field(default=None, sa_type=UtcDateTime)  # cancelled as of then
    grace_ends_at: datetime | None = Field(default=None, sa_type=UtcDateTime)  # a payment failed
    next_plan: str | None = Field(default=None)  # a change scheduled for the period's end


class PackPurchase(SQLModel, table=True):
    """A paid pack of credits. Each is granted once, when its payment is first seen."""

    __tablename__ = "pack_purchase"
    __table_args__ = (
        CheckConstraint("amount_paid >= 0", name="pack_purchase_amount_not_negative"),
        CheckConstraint("credits > 0", name="pack_purchase_credits_positive"),
    )

    id: str = Field(primary_key=True)  # of its checkout session, cs_…
    account_id: str = Field(foreign_key="account.id", index=True)
    credits: int
    amount_paid: int  # in the currency's smallest unit
    currency: str
    created_at: datetime = Field(sa_type=UtcDateTime)  # of the checkout session, which Stripe lists by it
    expires_at: datetime = Field(sa_type=UtcDateTime)


class ReversalKind(StrEnum):
    REFUND = "refund"
    DISPUTE = "dispute"


class Reversal(SQLModel, table=True):
    """A refund or dispute of an invoice or a pack, and the credits revoked for it.

    `credits - taken` were spent.
    """

    __tablename__ = "payment_reversal"
    __table_args__ = (
        CheckConstraint("taken >= 0 and taken <= credits", name="payment_reversal_takes_no_more"),
        CheckConstraint("kind in ('refund', 'dispute')", name="payment_reversal_kind_known"),
        CheckConstraint("(invoice_id is null) <> (pack_id is null)", name="payment_reversal_of_one_payment"),
    )

    id: str = Field(primary_key=True)  # re_…, du_…
    account_id: str = Field(foreign_key="account.id", index=True)
    invoice_id: str | None = Field(default=None, foreign_key="paid_invoice.id", index=True)
    pack_id: str | None = Field(default=None, foreign_key="pack_purchase.id", index=True)
    kind: str
    amount: int  # in the currency's smallest unit
    credits: int  # the credits that the money paid for
    taken: int  # the part that could be revoked; the difference is the shortfall
    created_at: datetime = Field(sa_type=UtcDateTime)
    returned_at: datetime | None = Field(default=None, sa_type=UtcDateTime)  # won, or the refund failed

    @property
    def shortfall(self) -> int:
        return self.credits - self.taken


class StripeEvent(SQLModel, table=True):
    """A received event, which triggers a sync of its customer. Its content is neither trusted nor kept."""

    __tablename__ = "stripe_event"
    __table_args__ = (Index("stripe_event_waiting", "handled_at", "next_try_at"),)

    id: str = Field(primary_key=True)  # evt_…
    type: str  # e.g. invoice.paid
    customer_id: str | None = Field(default=None, index=True)  # null: not in the event
    object_id: str
    created_at: datetime = Field(sa_type=UtcDateTime)
    received_at: datetime = Field(sa_type=UtcDateTime, index=True)
    handled_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    attempts: int = Field(default=0)
    next_try_at: datetime = Field(sa_type=UtcDateTime)
    error: str | None = Field(default=None)  # of the last attempt that failed
