"""Taxes, tax ids and promotion codes of checkout pages, as Stripe accepts them for customers that exist."""

from pathlib import Path
from typing import Any

import pytest

from billing.errors import StripeRefused
from billing.ledger.plans import PlanName
from billing.subscriptions.checkout_options import PLAIN, CheckoutOptions
from billing.subscriptions.connection import write_options
from tests.fakes.stripe.shapes import Json
from tests.support.shop import BASE, Owner, Shop, open_shop

NOTHING: dict[str, Any] = {}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (PLAIN, NOTHING),
        (CheckoutOptions(promotion_codes=True), {"allow_promotion_codes": True}),
        (
            CheckoutOptions(automatic_tax=True),
            {"automatic_tax": {"enabled": True}, "customer_update": {"address": "auto"}},
        ),
        (
            CheckoutOptions(tax_ids=True),
            {
                "tax_id_collection": {"enabled": True},
                "billing_address_collection": "required",
                "customer_update": {"address": "auto", "name": "auto"},
            },
        ),
        (
            CheckoutOptions(automatic_tax=True, tax_ids=True),
            {
                "automatic_tax": {"enabled": True},
                "tax_id_collection": {"enabled": True},
                "billing_address_collection": "required",
                "customer_update": {"address": "auto", "name": "auto"},
            },
        ),
    ],
)
def test_the_customer_is_updated_only_as_far_as_stripe_requires(
    options: CheckoutOptions, expected: dict[str, Any]
) -> None:
    assert options.parameters() == expected


def opened_pages(shop: Shop, owner: Owner) -> list[Json]:
    """The checkout sessions of a plan and of a pack."""
    shop.checkout(owner, PlanName.STANDARD)
    shop.pack_checkout(owner)
    return list(shop.world.all("checkout.session"))


@pytest.mark.parametrize("automatic_tax", [False, True])
@pytest.mark.parametrize("tax_ids", [False, True])
def test_both_checkouts_collect_what_the_settings_say(
    tmp_path: Path, automatic_tax: bool, tax_ids: bool
) -> None:
    settings: dict[str, Any] = {"stripe_automatic_tax": automatic_tax, "stripe_collect_tax_ids": tax_ids}
    with open_shop(tmp_path, packs_on_sale=True, **settings) as shop:
        for session in opened_pages(shop, shop.owner()):
            assert session["automatic_tax"]["enabled"] is automatic_tax
            assert session["tax_id_collection"]["enabled"] is tax_ids
            assert session["billing_address_collection"] == ("required" if tax_ids else None)


def test_only_the_checkout_of_a_pack_asks_for_an_invoice(tmp_path: Path) -> None:
    with open_shop(tmp_path, packs_on_sale=True) as shop:
        plan, pack = opened_pages(shop, shop.owner())
        assert plan["invoice_creation"] is None
        assert pack["invoice_creation"]["enabled"]
        assert pack["invoice_creation"]["invoice_data"]["metadata"]["bgeraser_pack_credits"] == "100"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"tax_id_collection": {"enabled": True}}, "updating business name"),
        ({"automatic_tax": {"enabled": True}}, "a valid address"),
    ],
)
def test_the_simulator_refuses_what_stripe_refuses(
    tmp_path: Path, options: dict[str, Any], reason: str
) -> None:
    import stripe

    with open_shop(tmp_path, packs_on_sale=True) as shop:
        gateway = shop.stripe.gateway
        customer_id = gateway.create_customer("acc_1", "ada@example.com")
        price = gateway.pack_prices()[100]
        params = {
            "mode": "payment",
            "customer": customer_id,
            "line_items": [{"price": price.id, "quantity": 1}],
            "success_url": BASE,
            **options,
        }
        client = stripe.StripeClient("sk_test_simulation", base_addresses={"api": shop.world.address})
        with pytest.raises(stripe.InvalidRequestError, match=reason):
            client.v1.checkout.sessions.create(params, write_options("test", params))  # type: ignore[arg-type]
        with pytest.raises(StripeRefused):
            gateway.portal_url(customer_id="cus_x", return_url=BASE)
