"""The simulator's objects have the types declared by the installed SDK."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from billing.ledger.plans import PlanName
from tests.fakes.sdk_shapes import CLASSES, differences
from tests.fakes.stripe import lifecycle
from tests.support.shop import open_shop


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Every object that a subscription leaves behind, from checkout to refund, and those in its events."""
    directory: Path = tmp_path_factory.mktemp("shop")
    with open_shop(directory, packs_on_sale=True, stripe_trial_days=3) as shop:
        ada = shop.owner()
        shop.buy_pack(ada)
        shop.buy(ada, PlanName.STANDARD)
        shop.pass_days(4)
        shop.settle()
        subscription = shop.subscription(ada)
        shop.buy(ada, PlanName.BUSINESS)
        lifecycle.refund(shop.world, shop.charges(ada)[0], 100)
        lifecycle.close_dispute(
            shop.world, lifecycle.open_dispute(shop.world, shop.charges(ada)[0]), won=True
        )
        shop.settle()
        shop.portal(ada, "price", PlanName.STANDARD)
        shop.pass_days(40)
        shop.world.declined_customers.add(shop.customer_id(ada))
        lifecycle.pause_collection(shop.world, subscription)
        lifecycle.pause_collection(shop.world, subscription, paused=False)
        shop.pass_days(40)
        shop.settle()
        things = list(shop.world.objects.values())
        return things + shop.world.events + [each["data"]["object"] for each in shop.world.events]


def test_every_object_type_is_covered(objects: list[dict[str, Any]]) -> None:
    kinds = Counter(each["object"] for each in objects)
    inner = {"plan", "subscription_item", "line_item"}  # within subscriptions and invoices
    assert set(CLASSES) - inner <= set(kinds)


def test_every_object_has_the_shape_declared_by_the_sdk(objects: list[dict[str, Any]]) -> None:
    found = Counter(line for each in objects for line in differences(each))
    assert found == Counter()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"amount": None}, "Charge.amount is null"),
        ({"amount": "9"}, "Charge.amount is '9'"),
        ({"paid": 1}, "Charge.paid is 1"),
        ({"invoice": "in_1"}, "Charge.invoice is not a field"),
        ({"billing_details": {"address": None}}, "is missing"),
    ],
    ids=str,
)
def test_the_comparison_detects_deviations(
    objects: list[dict[str, Any]], change: dict[str, Any], expected: str
) -> None:
    charge = next(each for each in objects if each["object"] == "charge")
    assert differences(charge) in ([], None)
    wrong = differences({**charge, **change})
    if expected == "is missing":
        wrong = differences({name: value for name, value in charge.items() if name != "amount"})
    assert any(expected in line for line in wrong), wrong
