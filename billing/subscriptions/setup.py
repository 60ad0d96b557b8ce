"""What an operator's Stripe account needs: product, prices, webhook endpoint, portal configuration.

Everything is found again by its lookup key or our metadata, so running it twice changes nothing.
"""

from dataclasses import dataclass, field
from typing import Any

from billing.ledger.plans import PLANS, PlanName
from billing.subscriptions.events import WANTED_TYPES
from billing.subscriptions.gateway import StripeGateway
from billing.subscriptions.parsing import PLAN_METADATA

_OURS = "bgeraser"
_PORTAL_NAME = "bgeraser plans"


@dataclass
class SetUp:
    """What was done, in words; `webhook_secret` is told by Stripe only once, when the endpoint is new."""

    lines: list[str] = field(default_factory=list)
    webhook_secret: str | None = None


def set_up(
    gateway: StripeGateway, *, amounts: dict[PlanName, int], currency: str, webhook_url: str | None
) -> SetUp:
    """`amounts`: a month's price in the currency's smallest unit. Raises StripeUnavailable, StripeRefused."""
    done = SetUp()
    product_id = _product(gateway, done)
    prices = {
        plan: _price(gateway, done, plan, amount, currency, product_id) for plan, amount in amounts.items()
    }
    portal_configuration(gateway, done, product_id, list(prices.values()))
    if webhook_url is not None:
        _webhook(gateway, done, webhook_url)
    return done


def find_portal_configuration(gateway: StripeGateway) -> str | None:
    """Ours, if `set_up` has made one; Stripe's default portal is used otherwise."""
    found = [each for each in gateway.list_setup("configuration", active=True) if _is_ours(each)]
    return str(found[0]["id"]) if found else None


def _product(gateway: StripeGateway, done: SetUp) -> str:
    for found in gateway.list_setup("product", active=True):
        if _is_ours(found):
            done.lines.append(f"product {found['id']} is there")
            return str(found["id"])
    created = gateway.create_setup("product", name="bgeraser", metadata={_OURS: "plans"})
    done.lines.append(f"product {created['id']} created")
    return str(created["id"])


def _price(
    gateway: StripeGateway, done: SetUp, plan: PlanName, amount: int, currency: str, product_id: str
) -> str:
    lookup_key = PLANS[plan].price_lookup_key
    for found in gateway.list_setup("price", lookup_keys=[lookup_key], active=True):
        if (found["unit_amount"], found["currency"]) == (amount, currency):
            done.lines.append(f"price of {plan.value}: {found['id']} is there")
            return str(found["id"])
    # A price never changes: a new one takes the lookup key over, and whoever has subscribed keeps the old.
    created = gateway.create_setup(
        "price",
        product=product_id,
        unit_amount=amount,
        currency=currency,
        recurring={"interval": "month"},
        lookup_key=lookup_key,
        transfer_lookup_key=True,
        nickname=PLANS[plan].title,
        metadata={PLAN_METADATA: plan.value},
    )
    done.lines.append(f"price of {plan.value}: {created['id']} created")
    return str(created["id"])


def portal_configuration(gateway: StripeGateway, done: SetUp, product_id: str, price_ids: list[str]) -> None:
    """Upgrades are invoiced at once; downgrades and cancellations wait for the period's end."""
    features: dict[str, Any] = {
        "payment_method_update": {"enabled": True},
        "invoice_history": {"enabled": True},
        "customer_update": {"enabled": True, "allowed_updates": ["address", "tax_id"]},
        "subscription_cancel": {"enabled": True, "mode": "at_period_end", "proration_behavior": "none"},
        "subscription_update": {
            "enabled": True,
            "default_allowed_updates": ["price"],
            "proration_behavior": "always_invoice",
            "products": [{"product": product_id, "prices": sorted(price_ids)}],
            "schedule_at_period_end": {"conditions": [{"type": "decreasing_item_amount"}]},
        },
    }
    found = [each for each in gateway.list_setup("configuration", active=True) if _is_ours(each)]
    if not found:
        created = gateway.create_setup(
            "configuration", name=_PORTAL_NAME, features=features, metadata={_OURS: "plans"}
        )
        done.lines.append(f"portal configuration {created['id']} created")
        return
    gateway.update_setup("configuration", found[0]["id"], features=features)
    done.lines.append(f"portal configuration {found[0]['id']} is up to date")


def _webhook(gateway: StripeGateway, done: SetUp, url: str) -> None:
    events = list(WANTED_TYPES)
    for found in gateway.list_setup("webhook_endpoint"):
        if found["url"] != url:
            continue
        if set(found["enabled_events"]) != set(events) or found["status"] != "enabled":
            gateway.update_setup("webhook_endpoint", found["id"], enabled_events=events, disabled=False)
            done.lines.append(f"webhook endpoint {found['id']} brought up to date")
        else:
            done.lines.append(f"webhook endpoint {found['id']} is there")
        return
    created = gateway.create_setup(
        "webhook_endpoint", url=url, enabled_events=events, metadata={_OURS: "plans"}
    )
    done.webhook_secret = created.get("secret")
    done.lines.append(f"webhook endpoint {created['id']} created for {url}")


def _is_ours(stripe_object: dict[str, Any]) -> bool:
    return _OURS in (stripe_object.get("metadata") or {})
