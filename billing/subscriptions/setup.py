"""Sets up an operator's Stripe account: products, prices, webhook endpoint, portal configuration.

Objects are found by their lookup key or our metadata, so a second run changes nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from billing.ledger.plans import PLANS, PlanName
from billing.subscriptions.connection import API_VERSION
from billing.subscriptions.events import WANTED_TYPES
from billing.subscriptions.gateway import StripeGateway
from billing.subscriptions.packs import lookup_key
from billing.subscriptions.parsing import PLAN_METADATA

_OURS = "bgeraser"
#: Metadata of the product of a pack: its credits.
_PACK = "bgeraser_pack"
_PORTAL_NAME = "bgeraser plans"


@dataclass
class SetUpResult:
    """A description of each step. Stripe reveals `webhook_secret` only when the endpoint is created."""

    lines: list[str] = field(default_factory=list)
    webhook_secret: str | None = None


def set_up(
    gateway: StripeGateway,
    *,
    amounts: dict[PlanName, int],
    currency: str,
    webhook_url: str | None,
    packs: Mapping[int, int] = MappingProxyType({}),
) -> SetUpResult:
    """Raises StripeUnavailable, StripeRefused.

    `amounts`: a month's price in the currency's smallest unit. `packs`: the price of each pack, by its
    credits; others that are on sale stay as they are.
    """
    result = SetUpResult()
    product_id = _product(gateway, result)
    prices = {
        plan: _price(gateway, result, plan, amount, currency, product_id) for plan, amount in amounts.items()
    }
    portal_configuration(gateway, result, product_id, list(prices.values()))
    for credits_, amount in sorted(packs.items()):
        _pack(gateway, result, credits_, amount, currency)
    if webhook_url is not None:
        _webhook(gateway, result, webhook_url)
    return result


def find_portal_configuration(gateway: StripeGateway) -> str | None:
    """Our configuration, if `set_up` has created one; otherwise Stripe's default is used."""
    existing = [each for each in gateway.setup.list("configuration", active=True) if _is_ours(each)]
    return str(existing[0]["id"]) if existing else None


def _product(gateway: StripeGateway, result: SetUpResult) -> str:
    for existing in gateway.setup.list("product", active=True):
        if _is_ours(existing) and _PACK not in existing["metadata"]:
            result.lines.append(f"product {existing['id']} is there")
            return str(existing["id"])
    created = gateway.setup.create("product", name="bgeraser", metadata={_OURS: "plans"})
    result.lines.append(f"product {created['id']} created")
    return str(created["id"])


def _price(
    gateway: StripeGateway, result: SetUpResult, plan: PlanName, amount: int, currency: str, product_id: str
) -> str:
    lookup_key = PLANS[plan].price_lookup_key
    for existing in gateway.setup.list("price", lookup_keys=[lookup_key], active=True):
        if (existing["unit_amount"], existing["currency"]) == (amount, currency):
            result.lines.append(f"price of {plan.value}: {existing['id']} is there")
            return str(existing["id"])
    # Prices are immutable: a new one takes over the lookup key, and existing subscribers keep the old one.
    created = gateway.setup.create(
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
    result.lines.append(f"price of {plan.value}: {created['id']} created")
    return str(created["id"])


def _pack(gateway: StripeGateway, result: SetUpResult, credits_: int, amount: int, currency: str) -> None:
    """A product of its own for each pack, whose name Stripe shows on its page and on the receipt."""
    title = f"{credits_:,} credits"
    for existing in gateway.setup.list("price", lookup_keys=[lookup_key(credits_)], active=True):
        if (existing["unit_amount"], existing["currency"]) == (amount, currency):
            result.lines.append(f"price of {title}: {existing['id']} is there")
            return
    created = gateway.setup.create(
        "price",
        product=_pack_product(gateway, result, credits_, title),
        unit_amount=amount,
        currency=currency,
        lookup_key=lookup_key(credits_),
        transfer_lookup_key=True,
        nickname=title,
        metadata={_PACK: str(credits_)},
    )
    result.lines.append(f"price of {title}: {created['id']} created")


def _pack_product(gateway: StripeGateway, result: SetUpResult, credits_: int, title: str) -> str:
    for existing in gateway.setup.list("product", active=True):
        if (existing.get("metadata") or {}).get(_PACK) == str(credits_):
            return str(existing["id"])
    metadata = {_OURS: "packs", _PACK: str(credits_)}
    created = gateway.setup.create("product", name=f"bgeraser, {title}", metadata=metadata)
    result.lines.append(f"product {created['id']} created")
    return str(created["id"])


def portal_configuration(
    gateway: StripeGateway, result: SetUpResult, product_id: str, price_ids: list[str]
) -> None:
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
    existing = [each for each in gateway.setup.list("configuration", active=True) if _is_ours(each)]
    if not existing:
        created = gateway.setup.create(
            "configuration", name=_PORTAL_NAME, features=features, metadata={_OURS: "plans"}
        )
        result.lines.append(f"portal configuration {created['id']} created")
        return
    gateway.setup.update("configuration", existing[0]["id"], features=features)
    result.lines.append(f"portal configuration {existing[0]['id']} is up to date")


def _webhook(gateway: StripeGateway, result: SetUpResult, url: str) -> None:
    events = list(WANTED_TYPES)
    for existing in gateway.setup.list("webhook_endpoint"):
        if existing["url"] != url:
            continue
        if set(existing["enabled_events"]) != set(events) or existing["status"] != "enabled":
            gateway.setup.update("webhook_endpoint", existing["id"], enabled_events=events, disabled=False)
            result.lines.append(f"webhook endpoint {existing['id']} brought up to date")
        else:
            result.lines.append(f"webhook endpoint {existing['id']} is there")
        if existing["api_version"] != API_VERSION:
            # Stripe does not change it. Only ids are read of an event, so another version serves as well.
            version = existing["api_version"] or "the account's default"
            result.lines.append(f"its events have the API version {version}, not {API_VERSION}")
        return
    created = gateway.setup.create(
        "webhook_endpoint",
        url=url,
        enabled_events=events,
        api_version=API_VERSION,
        metadata={_OURS: "plans"},
    )
    result.webhook_secret = created.get("secret")
    result.lines.append(f"webhook endpoint {created['id']} created for {url}")


def _is_ours(stripe_object: dict[str, Any]) -> bool:
    return _OURS in (stripe_object.get("metadata") or {})
