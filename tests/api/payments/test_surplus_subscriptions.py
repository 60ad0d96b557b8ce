"""Duplicate subscriptions, late payments, refunds beside disputes, and failing customers."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import httpx
import pytest
from sqlmodel import Session

from api.auth import account_deletion
from api.payments import checkout, plans, sync
from billing.errors import StripeUnavailable
from billing.ledger.models import Account
from billing.ledger.plans import PlanName
from billing.subscriptions.events import enqueue_sync
from billing.subscriptions.gateway import StripeGateway
from billing.subscriptions.types import CustomerFacts
from tests.fakes.stripe import lifecycle, pages
from tests.fakes.stripe.delivery import signed
from tests.fakes.stripe.shapes import Json
from tests.fakes.stripe.world import SECRET_KEY, Gate
from tests.support.shop import BASE, DAY, Owner, Shop, key_of, open_shop

STANDARD, BUSINESS = PlanName.STANDARD, PlanName.BUSINESS


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with open_shop(tmp_path) as opened:
        yield opened


@pytest.fixture
def ada(shop: Shop) -> Owner:
    return shop.owner()


def price_of(shop: Shop, plan: PlanName) -> Json:
    return next(each for each in shop.world.all("price") if each["lookup_key"] == key_of(plan))


def subscribe_beside(shop: Shop, ada: Owner, plan: PlanName) -> Json:
    """A second subscription, as a checkout page sells it that was still open."""
    return lifecycle.subscribe(shop.world, shop.customer_id(ada), price_of(shop, plan)["id"], {})


def is_refunded(shop: Shop, subscription: Json) -> bool:
    invoice = shop.world.get(subscription["latest_invoice"])
    payment = next(shop.world.all("invoice_payment", invoice=invoice["id"]))["payment"]["payment_intent"]
    charge = next(shop.world.all("charge", payment_intent=payment))
    return bool(charge["refunded"])


# Prorations.


def test_a_renewal_with_prorations_pays_the_new_month(shop: Shop, ada: Owner) -> None:
    shop.buy(ada, STANDARD)
    shop.settle()
    shop.pass_days(14)
    business = price_of(shop, BUSINESS)["id"]
    lifecycle.change_price(shop.world, shop.subscription(ada), business, "create_prorations")
    shop.settle()
    assert shop.plan_and_credits(ada) == ("business", 515)  # nothing is paid yet
    shop.pass_days(14.1)
    shop.settle()
    invoice = list(shop.world.all("invoice", billing_reason="subscription_cycle"))[-1]
    assert [line["amount"] > 0 for line in invoice["lines"]["data"]] == [False, True, True]
    assert shop.plan_and_credits(ada) == ("business", 5_000 + 2_250)
    shop.check()


def test_invoice_lines_beyond_the_first_page_count_too(shop: Shop, ada: Owner) -> None:
    shop.buy(ada, STANDARD)
    shop.settle()
    for number in range(12):
        shop.pass_days(1)
        plan = (BUSINESS, STANDARD)[number % 2]
        price = price_of(shop, plan)["id"]
        lifecycle.change_price(shop.world, shop.subscription(ada), price, "create_prorations")
    shop.pass_days(16.1)
    shop.settle()
    assert shop.plan_and_credits(ada) == ("standard", 500 + round(4_500 * 6 / 28))
    shop.check()


def test_an_upgrade_an_hour_before_the_period_ends_grants_one_hour_of_credits(shop: Shop, ada: Owner) -> None:
    shop.buy(ada, STANDARD)
    shop.settle()
    shop.pass_days(
        (lifecycle.item_of(shop.subscription(ada))["current_period_end"] - shop.world.now) / DAY - 1 / 24
    )
    before = shop.plan_and_credits(ada)[1]
    shop.buy(ada, BUSINESS)
    shop.settle()
    assert shop.charges(ada)[-1]["amount"] == 6
    assert shop.plan_and_credits(ada) == ("business", before + 7)


def test_a_month_paid_from_the_customer_balance_counts_in_full(shop: Shop, ada: Owner) -> None:
    shop.buy(ada, BUSINESS)
    shop.settle()
    shop.pass_days(1)
    lifecycle.change_price(shop.world, shop.subscription(ada), price_of(shop, STANDARD)["id"])
    shop.settle()
    assert shop.world.get(shop.customer_id(ada))["balance"] < -3_000
    shop.pass_days(28)
    shop.settle()
    assert len(shop.charges(ada)) == 1
    assert shop.plan_and_credits(ada) == ("standard", 500)
    shop.check()


# Two at once.


@pytest.mark.parametrize(("second", "kept"), [(STANDARD, STANDARD), (BUSINESS, BUSINESS)])
def test_a_second_subscription_is_cancelled_and_refunded(
    shop: Shop, ada: Owner, second: PlanName, kept: PlanName
) -> None:
    shop.buy(ada, STANDARD)
    first = shop.subscription(ada)
    shop.world.now += 5
    other = subscribe_beside(shop, ada, second)
    shop.settle()
    shop.settle()
    surplus, good = (other, first) if second is STANDARD else (first, other)
    assert (surplus["status"], good["status"]) == ("canceled", "active")
    assert (is_refunded(shop, surplus), is_refunded(shop, good)) == (True, False)
    assert shop.plan_and_credits(ada) == (kept.value, 15 + (500 if kept is STANDARD else 5_000))
    shop.check()


def test_concurrent_clicks_leave_one_open_checkout(shop: Shop, ada: Owner) -> None:
    """Likewise at a first purchase."""
    services = shop.api.services

    async def both() -> list[str]:
        return await asyncio.gather(
            *(plans.checkout_url(services, ada.account_id, plan, BASE) for plan in (STANDARD, BUSINESS))
        )

    urls = shop.api.call(both)
    paid = [httpx.post(url, data={"do": "pay", "card": "good"}).status_code for url in urls]
    assert sorted(paid) == [303, 410]
    assert len(list(shop.world.all("customer"))) == 1
    shop.settle()
    shop.check()


def test_a_double_click_served_by_two_processes_leaves_one_open_checkout(
    shop: Shop, ada: Owner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    creating = shop.world.gates["POST /v1/checkout/sessions"] = Gate()
    command = [sys.executable, "-m", "tests.support.checkout_process", str(tmp_path), shop.world.address]
    command += [str(shop.world.now), ada.account_id, STANDARD.value]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert creating.reached.wait(60)
            monkeypatch.setattr(checkout, "_WAIT_SECONDS", 0.0)
            with pytest.raises(StripeUnavailable):
                shop.checkout(ada, BUSINESS)  # while the other process opens its page
        finally:
            creating.open.set()
        first = other.communicate()[0]
    second = shop.checkout(ada, BUSINESS)
    assert len({first, second}) == 2
    paid = [httpx.post(url, data={"do": "pay", "card": "good"}).status_code for url in (first, second)]
    assert paid == [410, 303]
    assert len(list(shop.world.all("customer"))) == 1
    shop.settle()
    assert shop.plan_and_credits(ada) == ("business", 5_015)
    shop.check()


def test_a_checkout_being_paid_prevents_a_second_one(shop: Shop, ada: Owner) -> None:
    first = shop.checkout(ada, STANDARD).rsplit("/", 1)[1]
    shop.world.sessions_being_paid.add(first)
    with pytest.raises(StripeUnavailable):
        shop.checkout(ada, STANDARD)
    shop.world.sessions_being_paid.clear()
    pages.complete(shop.world, shop.world.get(first))
    assert "/portal/" in shop.checkout(ada, STANDARD)


# After the end.


def delete(shop: Shop, ada: Owner) -> None:
    now = shop.api.clock()
    with shop.api.services.database.transaction() as session:
        customer_id = checkout.customer_id_of(session, ada.account_id)
        if customer_id is not None:
            enqueue_sync(session, customer_id, "account.closed", now)
        account_deletion.delete_account(session, shop.api.services.former, ada.account_id, now=now)


def test_deleting_the_account_closes_its_open_checkout(shop: Shop, ada: Owner) -> None:
    url = shop.checkout(ada, STANDARD)
    delete(shop, ada)
    shop.handle()
    assert httpx.post(url, data={"do": "pay", "card": "good"}).status_code == 410


def test_a_payment_after_the_account_was_deleted_is_refunded(shop: Shop, ada: Owner) -> None:
    session_id = shop.checkout(ada, STANDARD).rsplit("/", 1)[1]
    delete(shop, ada)
    pages.complete(shop.world, shop.world.get(session_id))
    shop.settle()
    subscription = shop.subscription(ada)
    assert subscription["status"] == "canceled"
    assert is_refunded(shop, subscription)
    shop.settle()
    assert shop.waiting_events() == 0


def test_a_payment_made_before_the_deletion_is_not_refunded(shop: Shop, ada: Owner) -> None:
    shop.buy(ada, STANDARD)
    shop.settle()
    shop.pass_days(1)
    delete(shop, ada)
    shop.settle()
    assert shop.subscription(ada)["status"] == "canceled"
    assert not is_refunded(shop, shop.subscription(ada))


# Deleted, archived.


def test_a_customer_deleted_at_stripe_loses_the_plan_and_can_buy_again(shop: Shop, ada: Owner) -> None:
    shop.buy(ada, STANDARD)
    shop.settle()
    former = shop.customer_id(ada)
    lifecycle.delete_customer(shop.world, shop.world.get(former))
    shop.settle()
    assert shop.plan_and_credits(ada) == ("free", 515)
    shop.buy(ada, BUSINESS)
    shop.settle()
    assert shop.customer_id(ada) != former
    assert shop.plan_and_credits(ada)[0] == "business"
    shop.check()


def test_a_customer_deleted_without_an_event_is_replaced_at_the_next_purchase(shop: Shop, ada: Owner) -> None:
    shop.checkout(ada, STANDARD)
    former = shop.customer_id(ada)
    lifecycle.delete_customer(shop.world, shop.world.get(former))
    shop.world.take_outbox()
    shop.buy(ada, STANDARD)
    shop.settle()
    assert shop.customer_id(ada) != former
    assert shop.plan_and_credits(ada) == ("standard", 515)


def test_an_archived_price_is_fetched_again(shop: Shop, ada: Owner) -> None:
    shop.checkout(ada, STANDARD)
    old = price_of(shop, STANDARD)
    new = {**old, "id": "price_new", "unit_amount": 1_100}
    old |= {"active": False, "lookup_key": None}
    shop.world.add(new)
    shop.buy(ada, STANDARD)
    assert shop.charges(ada)[-1]["amount"] == 1_100


# Money back.


def test_a_pending_refund_revokes_credits_and_restores_them_if_it_fails(shop: Shop, ada: Owner) -> None:
    shop.buy(ada, STANDARD)
    shop.settle()
    made = lifecycle.refund(shop.world, shop.charges(ada)[0], 300, is_pending=True)
    shop.settle()
    assert shop.plan_and_credits(ada) == ("standard", 515 - 166)
    lifecycle.fail_refund(shop.world, made)
    shop.settle()
    assert shop.plan_and_credits(ada) == ("standard", 515)


@pytest.mark.parametrize("late", [False, True], ids=["in order", "the refund is heard of late"])
def test_a_refund_and_a_dispute_revoke_no_more_than_the_payment_granted(
    shop: Shop, ada: Owner, late: bool
) -> None:
    shop.buy(ada, STANDARD)
    shop.settle()
    charge = shop.charges(ada)[0]
    refund = lifecycle.refund(shop.world, charge, 300)
    if late:
        refund["status"] = "requires_action_by_nobody"
    shop.settle()
    shop.world.now += 60
    dispute = lifecycle.open_dispute(shop.world, charge)
    dispute["amount"] = charge["amount"]  # a bank may ask for all of it
    shop.settle()
    refund["status"] = "succeeded"
    shop.reconcile()
    reversals = shop.books(ada)["reversals"]
    assert len(reversals) == 2
    assert sum(each["credits"] for each in reversals) == 500
    assert shop.plan_and_credits(ada) == ("standard", 15)
    shop.check()


# One customer must not delay the others.


class FaultyGateway(StripeGateway):
    """Unexpected data of one customer, or a slow answer from Stripe."""

    faulty = ""
    slow: threading.Event | None = None
    is_waiting = False

    def customer_facts(
        self, customer_id: str, now: datetime, packs_since: datetime | None = None
    ) -> CustomerFacts:
        if customer_id == self.faulty:
            raise KeyError("items")
        return super().customer_facts(customer_id, now, packs_since)

    def subscribed_customers(self) -> set[str]:
        if self.slow is not None:
            self.is_waiting = True
            self.slow.wait(30)
        return super().subscribed_customers()


def test_an_error_for_one_customer_does_not_stop_reconciliation_of_others(shop: Shop, ada: Owner) -> None:
    bob = shop.owner("bob@example.com")
    for owner in (ada, bob):
        shop.buy(owner, STANDARD)
    faulty = FaultyGateway(SECRET_KEY, shop.world.address)
    first, other = sorted([ada, bob], key=shop.customer_id)
    faulty.faulty = shop.customer_id(first)
    shop.stripe.gateway = faulty
    done = shop.reconcile()
    assert done.failures == {shop.customer_id(first): "KeyError"}
    assert list(done.changes) == [shop.customer_id(other)]
    assert shop.plan_and_credits(other) == ("standard", 515)


def test_events_do_not_wait_for_reconciliation(shop: Shop, ada: Owner) -> None:
    services = shop.api.services
    slow = FaultyGateway(SECRET_KEY, shop.world.address)
    slow.slow = threading.Event()

    def plan(session: Session) -> str:
        return session.get_one(Account, ada.account_id).plan

    shop.stripe.gateway = slow

    async def until_bought() -> None:
        transport = httpx.ASGITransport(shop.api.app)
        client = httpx.AsyncClient(transport=transport, base_url=BASE)
        running = asyncio.create_task(sync.run_forever(shop.api.services, shop.stripe))
        try:
            events = shop.world.take_outbox()
            async with asyncio.timeout(30):
                while not slow.is_waiting:  # noqa: ASYNC110 - reconciliation sends no event when it waits
                    await asyncio.sleep(0.01)
                for payload, headers in (signed(each, shop.world.now) for each in events):
                    await client.post("/stripe/webhook", content=payload, headers=headers)
                while await services.database.read(plan) != "standard":  # noqa: ASYNC110 - rows send no events
                    await asyncio.sleep(0.05)
        finally:
            assert slow.slow is not None
            slow.slow.set()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    shop.buy(ada, STANDARD)
    shop.api.call(until_bought)


def test_the_front_page_shows_the_last_prices_while_stripe_is_unavailable(shop: Shop) -> None:
    services, clock = shop.api.services, shop.api.clock
    shop.api.call(shop.stripe.refresh, clock())
    shop.world.now += 7_200
    answers = threading.Event()

    class Silent(StripeGateway):
        def prices(self) -> dict[PlanName, object]:  # type: ignore[override]
            answers.wait(30)
            return {}

    shop.stripe.gateway = Silent(SECRET_KEY, shop.world.address)

    async def ask() -> list[str | None]:
        return [offer.price_text for offer in plans.cached_offers(services)]

    for _ in range(3):
        assert shop.api.call(ask) == [None, "$9.00 a month", "$49.00 a month"]
    answers.set()


# The plan that the operator gave.


def test_the_plan_set_by_the_operator_returns_after_a_subscription(shop: Shop) -> None:
    given = shop.owner("given@example.com", BUSINESS)
    shop.buy(given, STANDARD)
    shop.settle()
    assert shop.plan_and_credits(given)[0] == "standard"
    shop.portal(given, "cancel")
    shop.pass_days(32)
    shop.settle()
    assert shop.plan_and_credits(given) == ("business", 5_000)
    assert shop.state(given).status == "given"
    shop.check()
