"""A failed payment is announced once, whatever Stripe tries and however often its state is fetched."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.alerts.models import AlertKind
from api.http.openapi_webhooks import FailedPayment
from billing.ledger.plans import PlanName
from tests.support.alert_rows import alerts_of
from tests.support.shop import Owner, Shop, open_shop


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with open_shop(tmp_path, packs_on_sale=True) as opened:
        yield opened
        opened.settle()
        opened.check()


def failures(shop: Shop, owner: Owner) -> list[dict[str, str]]:
    with shop.api.services.database.transaction() as session:
        found = alerts_of(session, owner.account_id)
        return [json.loads(each.facts) for each in found if each.kind == AlertKind.PAYMENT_FAILED]


def test_each_unpaid_invoice_is_announced_once(shop: Shop) -> None:
    ada = shop.owner()
    shop.buy(ada, PlanName.STANDARD)
    shop.settle()
    assert failures(shop, ada) == []
    shop.portal(ada, "declined-card")
    shop.pass_days(31.1)
    shop.settle()
    (first,) = failures(shop, ada)
    assert first["plan"] == "standard"
    FailedPayment.model_validate(first)  # as the OpenAPI document describes it
    assert first["unpaidSince"] < first["planEndsAt"]
    for _ in range(3):  # Stripe tries again, and the state is fetched again
        shop.pass_days(1)
        shop.settle()
        shop.reconcile()
    assert failures(shop, ada) == [first]
    shop.portal(ada, "good-card")
    shop.settle()
    assert failures(shop, ada) == [first]
    shop.portal(ada, "declined-card")
    shop.pass_days(31.1)
    shop.settle()
    assert len(failures(shop, ada)) == 2


def test_a_paid_subscription_and_a_pack_announce_nothing(shop: Shop) -> None:
    ada = shop.owner()
    shop.buy(ada, PlanName.STANDARD)
    shop.buy_pack(ada)
    shop.settle()
    shop.pass_days(31.1)
    shop.settle()
    assert failures(shop, ada) == []
