"""Plain values read from Stripe: times are aware, amounts in the smallest currency unit."""

from dataclasses import dataclass
from datetime import datetime

from billing.ledger.plans import PlanName
from billing.subscriptions.models import ReversalKind


@dataclass(frozen=True)
class PriceFacts:
    id: str
    plan: PlanName
    unit_amount: int  # in the currency's smallest unit, a month
    currency: str  # ISO 4217, lower case
    product_id: str


@dataclass(frozen=True)
class PackPriceFacts:
    """A pack of credits on sale."""

    id: str
    credits: int
    unit_amount: int  # in the currency's smallest unit
    currency: str  # ISO 4217, lower case


@dataclass(frozen=True)
class SubscriptionFacts:
    id: str
    item_id: str
    price_id: str
    plan: PlanName
    status: str
    created_at: datetime
    anchor_at: datetime  # periods are counted from here
    period_starts_at: datetime
    period_ends_at: datetime
    ends_at: datetime | None = None  # cancelled as of then, in the past or future
    is_collection_paused: bool = False
    unpaid_since: datetime | None = None  # since when its oldest unpaid invoice is open
    next_plan: PlanName | None = None  # scheduled for the period's end
    trial_ends_at: datetime | None = None  # kept after the trial has ended
    card_fingerprint: str = ""  # Stripe's id of the paying card; the same for every customer


@dataclass(frozen=True)
class ReversalFacts:
    """A refund or dispute in effect. Failed refunds and won disputes are left out."""

    id: str
    kind: ReversalKind
    amount: int
    created_at: datetime


@dataclass(frozen=True)
class InvoiceFacts:
    """A paid invoice of a subscription to one of our plans."""

    id: str
    subscription_id: str
    plan: PlanName
    #: Credits that its lines are worth in the period below: prorated like their prices, negative if more was
    #: refunded than charged.
    entitled: int
    amount_paid: int
    currency: str
    created_at: datetime
    period_starts_at: datetime
    period_ends_at: datetime
    reversals: tuple[ReversalFacts, ...] = ()
    payment_intents: tuple[str, ...] = ()  # that paid it


@dataclass(frozen=True)
class PackFacts:
    """A pack whose checkout was completed and whose payment has arrived."""

    id: str  # of its checkout session
    credits: int
    amount_paid: int
    currency: str
    created_at: datetime  # of the checkout session
    paid_at: datetime
    reversals: tuple[ReversalFacts, ...] = ()
    payment_intent: str | None = None  # None: it cost nothing


@dataclass(frozen=True)
class ChargeFacts:
    """An attempt to charge, with its refunds and disputes in effect."""

    payment: str  # its payment intent, or its own id without one
    has_succeeded: bool
    amount: int
    currency: str
    created_at: datetime
    reversals: tuple[ReversalFacts, ...] = ()


@dataclass(frozen=True)
class CustomerFacts:
    """Everything about one customer that plan and credits depend on, as of now."""

    id: str
    subscriptions: tuple[SubscriptionFacts, ...]
    invoices: tuple[InvoiceFacts, ...]
    packs: tuple[PackFacts, ...] = ()
