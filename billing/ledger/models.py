"""The ledger's tables.

The source of truth is the immutable, signed `entry`; `available = sum(entries) - open holds` for every
account and for every grant. The cached columns (`available`, `held`) change in the same transaction as the
rows they count, so that admission never sums years of entries; the audit recomputes them. Triggers in the
migrations keep entries immutable and settled holds settled, whatever code runs.
"""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    UniqueConstraint,
)
from sqlmodel import Field, SQLModel

from billing.ledger.plans import PlanName
from billing.timestamps import UtcDateTime


class GrantKind(StrEnum):
    MONTHLY = "monthly"  # the free plan's credits of one period
    PLAN = "plan"  # a paid plan's credits of one period
    PACK = "pack"  # bought once, or returned to a pack after a dispute was won or a refund failed
    GOODWILL = "goodwill"  # given by the operator
    RETURNED = "returned"  # a plan's, returned after a dispute was won or a refund failed


class EntryKind(StrEnum):
    GRANT = "grant"  # + a grant's credits
    CAPTURE = "capture"  # - one successful call
    REFUND = "refund"  # + a captured credit given back
    EXPIRY = "expiry"  # - unspent credits when their grant ended
    REVOCATION = "revocation"  # - unspent credits taken back (a refunded or disputed payment)


class CreditLevel(StrEnum):
    """How far an account's credits have run down since the last ones arrived. It never rises by itself."""

    AMPLE = "ample"
    LOW = "low"
    EXHAUSTED = "exhausted"


class HoldStatus(StrEnum):
    OPEN = "open"
    CAPTURED = "captured"
    RELEASED = "released"
    EXPIRED = "expired"  # its lease lapsed: the process that held it died


class Account(SQLModel, table=True):
    """Owns credits, keys and images. Its row is locked first in every transaction that touches credits."""

    __tablename__ = "account"
    __table_args__ = (
        CheckConstraint("available >= 0", name="account_available_not_negative"),
        CheckConstraint("held >= 0", name="account_held_not_negative"),
        CheckConstraint("plan in ('free', 'standard', 'business')", name="account_plan_known"),
        # For searches by the beginning of an address, which the unique index serves only on SQLite.
        Index("account_email_prefix", "email", postgresql_ops={"email": "varchar_pattern_ops"}),
    )

    id: str = Field(primary_key=True)  # acc_…
    email: str = Field(sa_column=Column(String(254), unique=True, nullable=False))  # lower case
    plan: str = Field(default=PlanName.FREE)
    created_at: datetime = Field(sa_type=UtcDateTime)
    # Periods are counted from here: the account's start, or that of its Stripe period.
    period_anchor_at: datetime = Field(sa_type=UtcDateTime)
    # End of the last granted period; a cheap test that nothing is due. Null before the first grant.
    period_ends_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    closed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    # The Stripe subscription that the plan comes from; credits are granted only by its paid invoices.
    # Null: the free plan, or one given by the operator; credits are granted for each period.
    subscription_id: str | None = Field(default=None)
    # The plan given by the operator while a subscription replaces it; it is restored afterwards.
    given_plan: str | None = Field(default=None)
    # The plan that the operator has set in the place of any other, until it is released again.
    operator_plan: str | None = Field(default=None)
    # Since when nothing can be started, because the operator has suspended the account.
    suspended_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    # Since when the account may use the operator's panel.
    operator_since: datetime | None = Field(default=None, sa_type=UtcDateTime)
    # When the address was verified. Before that no credits are granted or spent.
    verified_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    available: int = Field(default=0)  # credits that can be held now
    held: int = Field(default=0)  # credits in open holds
    # At most so many credits are few. Set by the last grant, as is the level; see `billing.ledger.levels`.
    low_credits: int = Field(default=0, sa_column=Column(Integer, nullable=False, server_default="0"))
    level: str = Field(
        default=CreditLevel.AMPLE, sa_column=Column(String, nullable=False, server_default="ample")
    )
    # The theoretical arrival time of the generic cell rate algorithm; null = full burst.
    rate_full_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    # The same for calls with test keys, which have a rate of their own.
    test_rate_full_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class Grant(SQLModel, table=True):
    """Credits that were granted together and expire together."""

    __tablename__ = "credit_grant"  # GRANT is a reserved word of SQL
    __table_args__ = (
        CheckConstraint("amount > 0", name="credit_grant_amount_positive"),
        CheckConstraint("available >= 0", name="credit_grant_available_not_negative"),
        CheckConstraint("held >= 0", name="credit_grant_held_not_negative"),
        CheckConstraint("available + held <= amount", name="credit_grant_within_amount"),
        Index("credit_grant_spendable", "account_id", "expires_at"),
    )

    id: str = Field(primary_key=True)  # grant_…
    account_id: str = Field(foreign_key="account.id")
    kind: str
    # Unique, e.g. grant:acc_…:2026-11-22, stripe:in_…; granting twice is impossible.
    reference: str = Field(unique=True)
    amount: int
    available: int
    held: int = Field(default=0)
    starts_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime | None = Field(default=None, sa_type=UtcDateTime)  # null = never
    created_at: datetime = Field(sa_type=UtcDateTime)


class PaidInvoice(SQLModel, table=True):
    """A paid invoice and the credits granted for it, which may be 0. Each is processed once."""

    __tablename__ = "paid_invoice"
    __table_args__ = (
        CheckConstraint("amount_paid >= 0", name="paid_invoice_amount_not_negative"),
        CheckConstraint("credits >= 0", name="paid_invoice_credits_not_negative"),
    )

    id: str = Field(primary_key=True)  # in_…
    account_id: str = Field(foreign_key="account.id", index=True)
    subscription_id: str
    plan: str
    amount_paid: int  # in the currency's smallest unit
    currency: str
    credits: int
    # What its lines are worth; `credits` is the part that had not been granted in the period yet.
    entitled: int = Field(sa_column=Column(Integer, nullable=False, server_default="0"))
    period_ends_at: datetime = Field(sa_type=UtcDateTime)
    created_at: datetime = Field(sa_type=UtcDateTime)


class Budget(SQLModel, table=True):
    """A limit on the credits that the holds of one API key may take in a calendar month."""

    __tablename__ = "budget"
    __table_args__ = (CheckConstraint("monthly_limit >= 1", name="budget_limit_positive"),)

    id: str = Field(primary_key=True)  # of the key, or of the first one of those that replaced each other
    account_id: str = Field(foreign_key="account.id", index=True)
    monthly_limit: int | None = Field(default=None)  # null: it only counts


class BudgetMonth(SQLModel, table=True):
    """How much of a budget one calendar month has used. A cache of its holds, like an account's balance."""

    __tablename__ = "budget_month"
    __table_args__ = (CheckConstraint("used >= 0", name="budget_month_used_not_negative"),)

    id: str = Field(primary_key=True)  # <budget>:2026-11
    budget_id: str = Field(foreign_key="budget.id", index=True)
    month: str  # 2026-11, in UTC
    used: int  # credits in open and captured holds, without refunded ones


class Hold(SQLModel, table=True):
    """One credit set aside for one running call, bound to one grant, kept alive by a lease.

    A call that costs nothing has a hold of 0 credits, which is bound to no grant and only keeps its lease.
    """

    __tablename__ = "hold"
    __table_args__ = (
        CheckConstraint("amount >= 0", name="hold_amount_not_negative"),
        CheckConstraint("(amount = 0) = (grant_id is null)", name="hold_of_credits_has_grant"),
        CheckConstraint("amount > 0 or budget_month_id is null", name="hold_of_nothing_has_no_budget"),
        CheckConstraint("status in ('open', 'captured', 'released', 'expired')", name="hold_status_known"),
        CheckConstraint("(status = 'open') = (settled_at is null)", name="hold_settled_has_time"),
        Index("hold_open_by_account", "account_id", "status"),
        Index("hold_lapsed", "status", "lease_until"),
    )

    id: str = Field(primary_key=True)  # hold_…
    account_id: str = Field(foreign_key="account.id")
    grant_id: str | None = Field(default=None, foreign_key="credit_grant.id")
    # Where it counts; null: made without an API key.
    budget_month_id: str | None = Field(default=None, foreign_key="budget_month.id")
    reference: str = Field(unique=True)  # request:req_…
    amount: int = Field(default=1)
    status: str = Field(default=HoldStatus.OPEN)
    lease_owner: str  # the process that runs the call, or `ledger.WAITING`
    lease_until: datetime = Field(sa_type=UtcDateTime)
    created_at: datetime = Field(sa_type=UtcDateTime)
    settled_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class Entry(SQLModel, table=True):
    """One signed change of one account's and one grant's credits. Never changed, never deleted."""

    __tablename__ = "entry"
    __table_args__ = (
        CheckConstraint("amount <> 0", name="entry_amount_not_zero"),
        CheckConstraint("(kind in ('grant', 'refund')) = (amount > 0)", name="entry_sign_fits_kind"),
        CheckConstraint(
            "kind in ('grant', 'capture', 'refund', 'expiry', 'revocation')", name="entry_kind_known"
        ),
        # A hold is captured at most once and refunded at most once; other entries belong to no hold.
        CheckConstraint(
            "(kind in ('capture', 'refund')) = (hold_id is not null)", name="entry_hold_fits_kind"
        ),
        UniqueConstraint("hold_id", "kind", name="entry_once_per_hold"),
        Index("entry_by_account", "account_id", "id"),
    )

    id: int | None = Field(
        default=None,
        # SQLite assigns numbers only to a plain INTEGER key.
        sa_column=Column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    )
    account_id: str = Field(foreign_key="account.id")
    grant_id: str = Field(sa_column=Column(String, ForeignKey("credit_grant.id"), index=True, nullable=False))
    hold_id: str | None = Field(default=None, foreign_key="hold.id")
    kind: str
    amount: int
    reference: str = Field(unique=True)  # capture:hold_…, refund:hold_…, expiry:grant_…:1
    created_at: datetime = Field(sa_type=UtcDateTime)
