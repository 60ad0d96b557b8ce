"""Parses Stripe's API objects into plain values. No network, no database.

In Stripe's current API a period is on the subscription's items, an invoice's subscription is at
`parent.subscription_details`, its payments are a separate list, and a charge only refers to its payment
intent.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from billing.ledger.plans import PLANS, PlanName
from billing.subscriptions import packs
from billing.subscriptions.models import ReversalKind
from billing.subscriptions.prorations import InvoiceLine, entitlement
from billing.subscriptions.types import (
    ChargeFacts,
    InvoiceFacts,
    PackFacts,
    PackPriceFacts,
    PriceFacts,
    ReversalFacts,
    SubscriptionFacts,
)

Json = Mapping[str, Any]
#: The plan behind a price's id; None for a price that is not ours.
PlanOfPrice = Callable[[str], PlanName | None]

#: Metadata of our objects, so that a price is recognised after its lookup key moved to a newer one.
PLAN_METADATA = "bgeraser_plan"
ACCOUNT_METADATA = "bgeraser_account"
REFUND_METADATA = "bgeraser_refund"
#: Credits of the pack that a checkout session sells.
PACK_METADATA = "bgeraser_pack_credits"

_LOOKUP_KEYS = {plan.price_lookup_key: plan.name for plan in PLANS.values() if plan.price_lookup_key}
_EFFECTIVE_REFUNDS = frozenset({"succeeded", "pending", "requires_action"})
# Inquiries (warning_…) and prevented disputes move no money; a won dispute returned it.
_EFFECTIVE_DISPUTES = frozenset(
    {"needs_response", "under_review", "lost", "appeal_needs_response", "appeal_under_review"}
)


def plan_of(price: Json) -> PlanName | None:
    """The plan of a price; None for a price that is not ours."""
    named = (price.get("metadata") or {}).get(PLAN_METADATA)
    if named in set(PlanName):
        return PlanName(named)
    return _LOOKUP_KEYS.get(price.get("lookup_key") or "")


def price(stripe_price: Json) -> PriceFacts | None:
    plan = plan_of(stripe_price)
    if plan is None or stripe_price.get("unit_amount") is None:
        return None
    return PriceFacts(
        id=stripe_price["id"],
        plan=plan,
        unit_amount=stripe_price["unit_amount"],
        currency=stripe_price["currency"],
        product_id=id_of(stripe_price["product"]),
    )


def pack_price(stripe_price: Json) -> PackPriceFacts | None:
    """None unless the price has the lookup key of a pack: a price that was replaced has lost it."""
    credits_ = packs.credits_of(stripe_price.get("lookup_key"))
    if credits_ is None or stripe_price.get("unit_amount") is None or stripe_price["type"] != "one_time":
        return None
    return PackPriceFacts(stripe_price["id"], credits_, stripe_price["unit_amount"], stripe_price["currency"])


def sells_pack(stripe_session: Json) -> bool:
    """Whether a checkout session was opened by us for a pack."""
    return stripe_session["mode"] == "payment" and packs.credits_of(_pack_key(stripe_session)) is not None


def paid_pack(stripe_session: Json, charges: Iterable[ChargeFacts]) -> PackFacts | None:
    """The pack that a checkout session has sold; None unless it is one and its payment has arrived.

    A completed session of a slow payment method, such as a bank debit, is still unpaid. `charges`: the
    customer's. A declined one has the same payment intent as the one that paid.
    """
    credits_ = packs.credits_of(_pack_key(stripe_session)) if sells_pack(stripe_session) else None
    is_paid = stripe_session["payment_status"] in ("paid", "no_payment_required")
    if credits_ is None or stripe_session["status"] != "complete" or not is_paid:
        return None
    ordered_at = moment(stripe_session["created"])
    intent = id_of(stripe_session["payment_intent"]) if stripe_session.get("payment_intent") else None
    charge = next((each for each in charges if each.has_succeeded and each.payment == intent), None)
    return PackFacts(
        id=stripe_session["id"],
        credits=credits_,
        # The charge's own amount, because refunds are parts of it.
        amount_paid=charge.amount if charge is not None else stripe_session.get("amount_total") or 0,
        currency=charge.currency if charge is not None else stripe_session.get("currency") or "",
        created_at=ordered_at,
        paid_at=charge.created_at if charge is not None else ordered_at,
        reversals=charge.reversals if charge is not None else (),
        payment_intent=intent,
    )


def charge(stripe_charge: Json, reversals: Iterable[ReversalFacts]) -> ChargeFacts:
    return ChargeFacts(
        payment=id_of(stripe_charge.get("payment_intent") or stripe_charge["id"]),
        has_succeeded=stripe_charge["status"] == "succeeded",
        amount=stripe_charge["amount_captured"],
        currency=stripe_charge["currency"],
        created_at=moment(stripe_charge["created"]),
        reversals=tuple(reversals),
    )


def _pack_key(stripe_session: Json) -> str:
    return packs.lookup_key((stripe_session.get("metadata") or {}).get(PACK_METADATA, ""))


def subscription(
    stripe_subscription: Json, invoices: Iterable[Json], plan_of_price: PlanOfPrice
) -> SubscriptionFacts | None:
    """None for a subscription to something else. `invoices`: all of the customer's, paid or not."""
    items = stripe_subscription["items"]["data"]
    plan_items = [(item, plan) for item in items if (plan := plan_of(item["price"])) is not None]
    if not plan_items:
        return None
    item, plan = max(plan_items, key=lambda pair: PLANS[pair[1]].monthly_credits)
    period_ends_at = moment(item["current_period_end"])
    unpaid = [
        moment((invoice.get("status_transitions") or {}).get("finalized_at") or invoice["created"])
        for invoice in invoices
        if invoice["status"] in ("open", "uncollectible")
        and subscription_id_of(invoice) == stripe_subscription["id"]
    ]
    return SubscriptionFacts(
        id=stripe_subscription["id"],
        item_id=item["id"],
        price_id=item["price"]["id"],
        plan=plan,
        status=stripe_subscription["status"],
        created_at=moment(stripe_subscription["created"]),
        anchor_at=moment(stripe_subscription["billing_cycle_anchor"]),
        period_starts_at=moment(item["current_period_start"]),
        period_ends_at=period_ends_at,
        ends_at=_ends_at(stripe_subscription, period_ends_at),
        is_collection_paused=stripe_subscription.get("pause_collection") is not None,
        unpaid_since=min(unpaid, default=None),
        next_plan=_next_plan(stripe_subscription.get("schedule"), plan, plan_of_price),
        trial_ends_at=moment(end) if (end := stripe_subscription.get("trial_end")) else None,
        card_fingerprint=_fingerprint(stripe_subscription.get("default_payment_method")),
    )


def paid_invoice(
    stripe_invoice: Json,
    plan_of_price: PlanOfPrice,
    reversals: Iterable[ReversalFacts],
    anchors: Mapping[str, datetime],
) -> InvoiceFacts | None:
    """None unless it is paid and for a subscription to one of our plans. `anchors`: of each subscription."""
    subscription_id = subscription_id_of(stripe_invoice)
    if stripe_invoice["status"] != "paid" or subscription_id is None:
        return None
    lines = [
        InvoiceLine(
            plan=plan,
            amount=line["amount"],
            starts_at=moment(line["period"]["start"]),
            ends_at=moment(line["period"]["end"]),
            is_proration=is_proration(line),
        )
        for line in stripe_invoice["lines"]["data"]
        if (plan := _plan_of_line(line, plan_of_price)) is not None
    ]
    if not lines:
        return None
    entitled = entitlement(lines, anchors.get(subscription_id))
    return InvoiceFacts(
        id=stripe_invoice["id"],
        subscription_id=subscription_id,
        plan=entitled.plan,
        entitled=entitled.credits,
        amount_paid=stripe_invoice["amount_paid"],
        currency=stripe_invoice["currency"],
        created_at=moment(stripe_invoice["created"]),
        period_starts_at=entitled.starts_at,
        period_ends_at=entitled.ends_at,
        reversals=tuple(reversals),
        payment_intents=tuple(sorted(each for each in payments_of(stripe_invoice) if each.startswith("pi_"))),
    )


def payments_of(stripe_invoice: Json) -> set[str]:
    """Ids of the payment intents and charges that paid an invoice whose `payments` were expanded."""
    payments = [each["payment"] for each in (stripe_invoice.get("payments") or {}).get("data", [])]
    return {
        id_of(payment[kind])
        for payment in payments
        for kind in ("payment_intent", "charge")
        if payment.get(kind)
    }


def refund(stripe_refund: Json) -> ReversalFacts | None:
    """None for a refund that failed or was cancelled."""
    if stripe_refund.get("status") not in _EFFECTIVE_REFUNDS:
        return None
    return _reversal(stripe_refund, ReversalKind.REFUND)


def dispute(stripe_dispute: Json) -> ReversalFacts | None:
    """None unless the money has been withdrawn and not returned."""
    if stripe_dispute["status"] not in _EFFECTIVE_DISPUTES:
        return None
    return _reversal(stripe_dispute, ReversalKind.DISPUTE)


def subscription_id_of(stripe_invoice: Json) -> str | None:
    details = (stripe_invoice.get("parent") or {}).get("subscription_details")
    return id_of(details["subscription"]) if details else None


def is_proration(line: Json) -> bool:
    """The flag is on subscription lines and on the invoice items that plan changes create."""
    parent = line.get("parent") or {}
    details = parent.get("invoice_item_details") or parent.get("subscription_item_details") or {}
    return bool(details.get("proration"))


def id_of(expandable: Any) -> str:
    """The id, whether Stripe sent the object itself or only its id."""
    found: str = expandable if isinstance(expandable, str) else expandable["id"]
    return found


def moment(unix_seconds: int) -> datetime:
    return datetime.fromtimestamp(unix_seconds, UTC)


def _reversal(stripe_object: Json, kind: ReversalKind) -> ReversalFacts:
    return ReversalFacts(
        id=stripe_object["id"],
        kind=kind,
        amount=stripe_object["amount"],
        created_at=moment(stripe_object["created"]),
    )


def _fingerprint(payment_method: Any) -> str:
    """Of an expanded payment method, if it is a card."""
    card = payment_method.get("card") if isinstance(payment_method, Mapping) else None
    return (card or {}).get("fingerprint") or ""


def _ends_at(stripe_subscription: Json, period_ends_at: datetime) -> datetime | None:
    if stripe_subscription.get("ended_at"):
        return moment(stripe_subscription["ended_at"])
    if stripe_subscription.get("cancel_at"):
        return moment(stripe_subscription["cancel_at"])
    return period_ends_at if stripe_subscription["cancel_at_period_end"] else None


def _next_plan(schedule: Any, present: PlanName, plan_of_price: PlanOfPrice) -> PlanName | None:
    """The plan of the next phase of an expanded schedule."""
    if not isinstance(schedule, Mapping) or schedule.get("status") != "active":
        return None
    current = schedule.get("current_phase")
    for phase in schedule["phases"]:
        if current is not None and phase["start_date"] >= current["end_date"]:
            plans = [plan_of_price(id_of(item["price"])) for item in phase["items"]]
            changed = [plan for plan in plans if plan is not None and plan is not present]
            return changed[0] if changed else None
    return None


def _plan_of_line(line: Json, plan_of_price: PlanOfPrice) -> PlanName | None:
    details = (line.get("pricing") or {}).get("price_details")
    return plan_of_price(id_of(details["price"])) if details else None
