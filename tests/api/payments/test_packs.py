"""Packs of credits from the checkout to their end: the real SDK, the simulator, webhooks and the ledger."""

import asyncio
import json
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from api.auth import account_deletion
from api.errors import InvalidParameter, NotFound
from api.payments import checkout, packs, sync
from billing.errors import StripeUnavailable
from billing.ledger import accounts, ledger
from billing.ledger.plans import PlanName
from billing.subscriptions import setup
from billing.subscriptions.events import WANTED_TYPES, enqueue_sync
from tests.api.http.mcp.conftest import HEADERS as MCP_HEADERS
from tests.api.http.mcp.conftest import message
from tests.api.payments.test_event_orders import Crash, dying_at_write
from tests.fakes.stripe import lifecycle
from tests.fakes.stripe.delivery import signed
from tests.fakes.stripe.shapes import Json
from tests.fakes.stripe.world import SECRET_KEY, WEBHOOK_SECRET
from tests.support.apps import LocalApi, local_api
from tests.support.shop import AMOUNTS, BASE, DAY, PACKS, Owner, Shop, WorldClock, open_shop

FREE, STANDARD, BUSINESS = PlanName.FREE, PlanName.STANDARD, PlanName.BUSINESS


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with open_shop(tmp_path, packs_on_sale=True) as opened:
        yield opened
        opened.settle()
        opened.check()


@pytest.fixture
def ada(shop: Shop) -> Owner:
    return shop.owner()


def credits_of(shop: Shop, owner: Owner) -> tuple[int, int]:
    """All credits, and those of packs."""
    found = shop.account(owner)["credits"]
    return found["available"], found["packCredits"]


def refused(shop: Shop, owner: Owner) -> Json:
    """The error of a call without credits."""
    headers = {"X-Api-Key": owner.key}
    form = {"image_url": "https://example.com/a.png"}
    answer = shop.api.request("POST", "/api/tools/crop", data=form, headers=headers)
    assert answer.status_code == 402, answer.text
    error: Json = answer.json()["error"]
    return error


# Buying.


def test_a_pack_is_bought_without_a_subscription_and_lasts_twelve_months(shop: Shop, ada: Owner) -> None:
    session = shop.buy_pack(ada, 100)
    assert credits_of(shop, ada) == (15, 0)  # nothing is believed before Stripe said so
    shop.settle()
    assert credits_of(shop, ada) == (115, 100)
    # Bought on the 31st of January.
    assert shop.account(ada)["credits"]["packCreditsExpireAt"] == "2027-01-31T13:00:00Z"
    assert shop.state(ada).status == "free"
    (bought,) = shop.books(ada)["packs"]
    assert (bought["id"], bought["amount_paid"], bought["currency"]) == (session["id"], 500, "usd")
    found = shop.api.call(packs.bought, shop.api.services, ada.account_id, session["id"])
    assert found is not None
    assert found.credits == 100


def test_packs_are_offered_smallest_first_and_only_those_on_sale_can_be_bought(
    shop: Shop, ada: Owner
) -> None:
    offered = shop.api.call(packs.pack_offers, shop.api.services)
    assert [(each.credits, each.price_text) for each in offered] == [(100, "$5.00"), (1_000, "$39.00")]
    with pytest.raises(InvalidParameter):
        shop.pack_checkout(ada, 99)
    assert list(shop.world.all("checkout.session")) == []


def test_without_stripe_or_packs_nothing_is_offered(tmp_path: Path) -> None:
    with open_shop(tmp_path / "a") as shop:
        ada = shop.owner()
        assert shop.api.call(packs.pack_offers, shop.api.services) == []
        shop.spend(ada, 15)
        assert "topUpUrl" not in refused(shop, ada)
        with pytest.raises(InvalidParameter):
            shop.pack_checkout(ada)
    with local_api(tmp_path / "b") as api:
        assert api.call(packs.pack_offers, api.services) == []
        with pytest.raises(NotFound):
            api.call(packs.checkout_url, api.services, "acc_1", 100, BASE, "", "/")


def test_a_refused_call_says_when_credits_come_and_where_they_are_sold(shop: Shop, ada: Owner) -> None:
    shop.api.call(packs.pack_offers, shop.api.services)
    shop.spend(ada, 15)
    error = refused(shop, ada)
    assert error == {
        "code": "INSUFFICIENT_CREDITS",
        "message": "No credits are left.",
        "param": None,
        "retryable": False,
        "renewsAt": shop.account(ada)["credits"]["renewsAt"],
        "topUpUrl": f"{BASE}/plans#packs",
    }
    # An agent that calls the tool is told the same.
    arguments = {"image": {"url": "https://example.com/a.png"}, "width": 5}
    headers = MCP_HEADERS | {"X-Api-Key": ada.key}
    answer = shop.api.request("POST", "/mcp", json=message("crop", arguments), headers=headers)
    event = json.loads(answer.text.partition("data: ")[2])
    assert event["result"]["structuredContent"]["error"] == error
    shop.buy_pack(ada)
    shop.settle()
    # With credits the same call gets as far as the address, which no test may fetch.
    answer = shop.api.request(
        "POST",
        "/api/tools/crop",
        data={"image_url": "https://127.0.0.1/a.png"},
        headers={"X-Api-Key": ada.key},
    )
    assert answer.status_code == 422


def test_the_drop_in_for_remove_bg_tells_packs_as_pay_as_you_go(shop: Shop, ada: Owner) -> None:
    shop.buy_pack(ada)
    shop.settle()
    answer = shop.api.request("GET", "/v1.0/account", headers={"X-Api-Key": ada.key})
    assert answer.json()["data"]["attributes"]["credits"] == {
        "total": 115,
        "subscription": 15,
        "payg": 100,
        "enterprise": 0,
    }


def test_the_months_credits_are_spent_first_and_a_pack_continues_where_they_end(
    shop: Shop, ada: Owner
) -> None:
    shop.buy_pack(ada)
    shop.settle()
    shop.spend(ada, 14)
    assert credits_of(shop, ada) == (101, 100)
    shop.world.now += 1
    shop.spend(ada, 3)
    assert credits_of(shop, ada) == (98, 98)
    shop.pass_days(31)
    assert credits_of(shop, ada) == (113, 98)


def test_subscribers_of_every_plan_buy_packs_that_survive_its_changes_and_its_end(
    shop: Shop, ada: Owner
) -> None:
    shop.buy(ada, STANDARD)
    shop.settle()
    assert "/pay/" in shop.pack_checkout(ada)  # and not to the portal
    shop.buy_pack(ada)
    shop.settle()
    assert shop.plan_and_credits(ada) == ("standard", 615)
    shop.buy(ada, BUSINESS)
    shop.settle()
    assert shop.plan_and_credits(ada)[0] == "business"
    shop.buy_pack(ada, 1_000)
    shop.settle()
    assert credits_of(shop, ada)[1] == 1_100
    shop.portal(ada, "cancel")
    shop.pass_days(33)
    shop.settle()
    assert shop.plan_and_credits(ada) == ("free", 1_115)


def test_a_pack_expires_to_the_second(shop: Shop, ada: Owner) -> None:
    shop.buy_pack(ada)
    shop.settle()
    (bought,) = shop.books(ada)["packs"]
    end = round(bought["expires_at"].timestamp())
    shop.pass_days((end - 1 - shop.world.now) / DAY)
    assert credits_of(shop, ada)[1] == 100
    shop.world.now = end
    assert credits_of(shop, ada)[1] == 0
    assert shop.account(ada)["credits"]["packCreditsExpireAt"] is None
    expiries = [each for each in shop.books(ada)["entries"] if each["kind"] == "expiry"]
    assert -100 in [each["amount"] for each in expiries]


def test_a_call_that_outlives_its_pack_is_charged_and_one_that_fails_then_returns_nothing(
    shop: Shop, ada: Owner
) -> None:
    shop.buy_pack(ada)
    shop.settle()
    (bought,) = shop.books(ada)["packs"]
    shop.pass_days((bought["expires_at"].timestamp() - 1 - shop.world.now) / DAY)
    shop.account(ada)  # grants the month's
    shop.spend(ada, 15)

    def hold(number: int) -> str:
        with shop.api.services.database.transaction() as session:
            account = accounts.lock(session, ada.account_id)
            now = shop.api.clock()
            reference = f"request:late-{number}"
            return ledger.hold(
                session, account, reference=reference, lease_owner="p", lease_seconds=60, now=now
            ).id

    succeeds, fails = hold(1), hold(2)
    shop.world.now += 1
    assert credits_of(shop, ada)[1] == 0
    with shop.api.services.database.transaction() as session:
        ledger.capture(session, succeeds, lease_owner="p", now=shop.api.clock())
    with shop.api.services.database.transaction() as session:
        ledger.release(session, fails, now=shop.api.clock())
    assert credits_of(shop, ada)[1] == 0
    assert shop.account(ada)["credits"]["held"] == 0


def test_the_operator_sets_how_long_packs_last_and_paid_ones_keep_their_date(tmp_path: Path) -> None:
    with open_shop(tmp_path, packs_on_sale=True, pack_months=1) as shop:
        ada = shop.owner()
        shop.buy_pack(ada)
        shop.settle()
        shop.stripe.pack_months = 60
        shop.reconcile()
        # A month after the 31st of January.
        assert shop.account(ada)["credits"]["packCreditsExpireAt"] == "2026-02-28T13:00:00Z"
        shop.buy_pack(ada)
        shop.settle()
        ends = {f"{each['expires_at']:%Y-%m-%d}" for each in shop.books(ada)["packs"]}
        assert ends == {"2026-02-28", "2031-01-31"}
        shop.check()


def test_a_promotion_code_may_pay_all_of_a_pack(shop: Shop, ada: Owner) -> None:
    session = shop.world.get(shop.pack_checkout(ada).rsplit("/", 1)[1])
    lifecycle.pay_once(shop.world, session, is_free=True)
    shop.settle()
    assert credits_of(shop, ada) == (115, 100)
    assert shop.books(ada)["packs"][0]["amount_paid"] == 0


def test_a_second_click_closes_the_first_page(shop: Shop, ada: Owner) -> None:
    urls = [shop.pack_checkout(ada), shop.pack_checkout(ada, 1_000)]
    paid = [httpx.post(url, data={"do": "pay", "card": "good"}).status_code for url in urls]
    assert paid == [410, 303]
    shop.settle()
    assert credits_of(shop, ada) == (1_015, 1_000)


def test_a_pack_bought_twice_is_granted_twice(shop: Shop, ada: Owner) -> None:
    for _ in range(2):
        shop.buy_pack(ada)
        shop.settle()
    assert credits_of(shop, ada) == (215, 200)


def test_a_checkout_waits_for_the_one_that_is_being_opened(
    shop: Shop, ada: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkout, "_WAIT_SECONDS", 0.0)
    services = shop.api.services

    async def both() -> list[object]:
        return await asyncio.gather(
            *(packs.checkout_url(services, ada.account_id, 100, BASE, "", "/") for _ in range(2)),
            return_exceptions=True,
        )

    shop.pack_checkout(ada)  # the customer is there
    outcomes = shop.api.call(both)
    assert {type(each) for each in outcomes} <= {str, StripeUnavailable}
    is_open = [each for each in shop.world.all("checkout.session") if each["status"] == "open"]
    assert len(is_open) == 1


# Slow payments.


def test_a_bank_debit_grants_when_it_has_succeeded(shop: Shop, ada: Owner) -> None:
    session = shop.buy_pack(ada, card="bank")
    assert (session["status"], session["payment_status"]) == ("complete", "unpaid")
    shop.settle()
    shop.reconcile()
    assert credits_of(shop, ada) == (15, 0)
    shop.pass_days(5)
    lifecycle.settle_slow_payment(shop.world, session, succeeds=True)
    assert shop.world.events[-1]["type"] == "checkout.session.async_payment_succeeded"
    shop.settle()
    assert credits_of(shop, ada) == (115, 100)


def test_a_bank_debit_that_fails_grants_nothing(shop: Shop, ada: Owner) -> None:
    session = shop.buy_pack(ada, card="bank")
    shop.settle()
    lifecycle.settle_slow_payment(shop.world, session, succeeds=False)
    assert shop.world.events[-1]["type"] == "checkout.session.async_payment_failed"
    shop.settle()
    shop.reconcile()
    assert credits_of(shop, ada) == (15, 0)
    assert shop.books(ada)["packs"] == []


# Events.


def events_of_a_life(shop: Shop, ada: Owner) -> list[Json]:
    """Two packs, one by a bank debit; one of them is refunded in part."""
    shop.buy_pack(ada, 100)
    slow = shop.buy_pack(ada, 1_000, card="bank")
    lifecycle.settle_slow_payment(shop.world, slow, succeeds=True)
    lifecycle.refund(shop.world, shop.charges(ada)[0], 250)
    wanted = set(WANTED_TYPES)
    return [each for each in shop.world.take_outbox() if each["type"] in wanted]


def deliver(api: LocalApi, event: Json, now: int) -> None:
    payload, headers = signed(event, now)
    assert api.request("POST", "/stripe/webhook", content=payload, headers=headers).is_success


@pytest.mark.parametrize("seed", range(4))
def test_repeated_and_shuffled_events_grant_each_pack_once(tmp_path: Path, seed: int) -> None:
    with open_shop(tmp_path, packs_on_sale=True) as shop:
        ada = shop.owner()
        events = events_of_a_life(shop, ada) * 3
        random.Random(seed).shuffle(events)
        for event in events:
            deliver(shop.api, event, shop.world.now)
            if seed % 2:
                shop.handle()
        shop.handle()
        assert credits_of(shop, ada) == (1_065, 1_050)
        assert shop.waiting_events() == 0
        shop.check()


def test_two_servers_and_the_returning_browser_at_once_grant_each_pack_once(
    tmp_path: Path, database_url: str
) -> None:
    settings: dict[str, Any] = {"database_url": database_url}
    with open_shop(tmp_path, packs_on_sale=True, **settings) as shop:
        ada = shop.owner()
        events = events_of_a_life(shop, ada)
        paid = [each["id"] for each in shop.world.all("checkout.session")]
        settings |= {
            "stripe_secret_key": SecretStr(SECRET_KEY),
            "stripe_webhook_secret": SecretStr(WEBHOOK_SECRET),
            "stripe_api_base": shop.world.address,
        }
        with local_api(tmp_path, WorldClock(shop.world), **settings) as other:
            assert other.services.stripe is not None

            def handle(api: LocalApi) -> None:
                api.call(sync.handle_due, api.services, api.services.stripe)

            def come_back(api: LocalApi, session_id: str) -> None:
                api.call(packs.look_for, api.services, ada.account_id, session_id)

            with ThreadPoolExecutor(12) as pool:
                jobs: list[Any] = []
                for api in (shop.api, other):
                    jobs += [pool.submit(deliver, api, each, shop.world.now) for each in events * 2]
                    jobs += [pool.submit(handle, api) for _ in range(4)]
                    jobs += [pool.submit(come_back, api, each) for each in paid * 3]
                for job in jobs:
                    job.result()
        shop.world.now += 3600  # the longest wait of an event whose customer was busy
        shop.handle()
        assert shop.waiting_events() == 0
        assert credits_of(shop, ada) == (1_065, 1_050)
        granted = [each["reference"] for each in shop.books(ada)["grants"] if each["kind"] == "pack"]
        assert sorted(granted) == sorted(f"stripe:{each}" for each in paid)
        shop.check()


def test_a_crash_at_each_write_is_repaired_by_redelivery(tmp_path: Path) -> None:
    with open_shop(tmp_path, packs_on_sale=True) as shop:
        number = 0
        while True:
            number += 1
            owner = shop.owner(f"{number}@example.com")
            shop.buy_pack(owner)
            with dying_at_write(shop, number) as written, suppress(Crash), capture_logs():
                shop.settle()
            came_through = len(written) + 1 < number
            shop.world.now += 600  # the dead process's hold on the customer lapses
            shop.settle()
            assert credits_of(shop, owner) == (115, 100), f"after a crash at write {number}"
            if came_through:
                break
        assert number > 8
        shop.check()


def test_a_pack_whose_events_were_lost_is_found_by_the_page_after_the_payment(shop: Shop, ada: Owner) -> None:
    session = shop.buy_pack(ada)
    shop.world.take_outbox()
    found = shop.api.call(packs.look_for, shop.api.services, ada.account_id, session["id"])
    assert found is not None
    assert credits_of(shop, ada) == (115, 100)
    shop.world.is_down = True  # a pack that is here needs no request
    assert shop.api.call(packs.look_for, shop.api.services, ada.account_id, session["id"]) == found
    assert shop.api.call(packs.look_for, shop.api.services, ada.account_id, "cs_other") is None
    shop.world.is_down = False


def test_a_checkout_of_another_account_is_not_found(shop: Shop, ada: Owner) -> None:
    session = shop.buy_pack(ada)
    shop.settle()
    bob = shop.owner("bob@example.com")
    assert shop.api.call(packs.look_for, shop.api.services, bob.account_id, session["id"]) is None
    assert credits_of(shop, bob) == (15, 0)


def test_reconciliation_finds_a_pack_whose_events_were_lost(shop: Shop, ada: Owner) -> None:
    session = shop.buy_pack(ada)
    shop.world.take_outbox()
    done = shop.reconcile()
    assert done.changes == {shop.customer_id(ada): [f"{session['id']}: 100 credits granted"]}
    assert credits_of(shop, ada) == (115, 100)


def test_reconciliation_finds_a_pack_of_a_customer_missing_from_a_restored_database(
    shop: Shop, ada: Owner
) -> None:
    shop.buy_pack(ada)
    shop.world.take_outbox()
    with shop.api.services.database.transaction() as session:
        session.connection().exec_driver_sql("delete from stripe_customer")
    shop.reconcile()
    assert credits_of(shop, ada) == (115, 100)


# Money back.


def test_refunds_take_back_their_share_and_never_what_was_spent(shop: Shop, ada: Owner) -> None:
    shop.buy_pack(ada)
    shop.settle()
    charge = shop.charges(ada)[0]
    lifecycle.refund(shop.world, charge, 125)
    shop.settle()
    assert credits_of(shop, ada) == (90, 75)
    shop.spend(ada, 15 + 70)
    lifecycle.refund(shop.world, charge)
    shop.settle()
    assert credits_of(shop, ada) == (0, 0)
    reversals = shop.books(ada)["reversals"]
    assert sorted((each["credits"], each["taken"]) for each in reversals) == [(25, 25), (75, 5)]


def test_a_refund_leaves_the_credits_of_other_packs_and_of_the_month(shop: Shop, ada: Owner) -> None:
    for credits_ in (100, 1_000):
        shop.buy_pack(ada, credits_)
        shop.settle()
        shop.world.now += 60  # the first one ends first
    shop.spend(ada, 15 + 100)
    lifecycle.refund(shop.world, shop.charges(ada)[0])
    shop.settle()
    assert credits_of(shop, ada) == (1_000, 1_000)


def test_a_dispute_takes_the_credits_and_a_won_one_returns_them_until_the_packs_end(
    shop: Shop, ada: Owner
) -> None:
    shop.buy_pack(ada)
    shop.settle()
    shop.spend(ada, 15 + 40)
    expire_at = shop.account(ada)["credits"]["packCreditsExpireAt"]
    dispute = lifecycle.open_dispute(shop.world, shop.charges(ada)[0])
    shop.settle()
    assert credits_of(shop, ada) == (0, 0)
    shop.pass_days(20)
    lifecycle.close_dispute(shop.world, dispute, won=True)
    shop.settle()
    assert credits_of(shop, ada) == (60, 60)
    assert shop.account(ada)["credits"]["packCreditsExpireAt"] == expire_at
    shop.pass_days(11.5)
    shop.spend(ada, 16)
    # Returned credits are spent after the month's, as those of the pack were.
    assert credits_of(shop, ada) == (59, 59)


def test_a_refund_after_the_horizon_of_invoices_still_takes_back_a_pack(shop: Shop, ada: Owner) -> None:
    shop.buy_pack(ada)
    shop.settle()
    shop.pass_days(300)
    lifecycle.refund(shop.world, shop.charges(ada)[0])
    shop.settle()
    assert credits_of(shop, ada)[1] == 0


def test_a_declined_attempt_before_the_payment_changes_nothing(shop: Shop, ada: Owner) -> None:
    session = shop.buy_pack(ada)
    charge = shop.charges(ada)[0]
    declined = {**charge, "id": "ch_declined", "status": "failed", "paid": False, "amount_captured": 0}
    shop.world.add(declined)
    shop.settle()
    lifecycle.refund(shop.world, charge, 250)
    shop.settle()
    assert credits_of(shop, ada) == (65, 50)
    assert session["payment_status"] == "paid"


# The account's end.


def delete(shop: Shop, owner: Owner) -> None:
    now = shop.api.clock()
    with shop.api.services.database.transaction() as session:
        customer_id = checkout.customer_id_of(session, owner.account_id)
        assert customer_id is not None
        enqueue_sync(session, customer_id, "account.closed", now)
        account_deletion.delete_account(session, shop.api.services.former, owner.account_id, now=now)


@pytest.mark.parametrize("card", ["good", "bank"])
def test_a_pack_paid_after_its_account_was_deleted_is_refunded(shop: Shop, ada: Owner, card: str) -> None:
    session = shop.world.get(shop.pack_checkout(ada).rsplit("/", 1)[1])
    if card == "bank":
        lifecycle.pay_once(shop.world, session, is_slow=True)
        shop.settle()
        delete(shop, ada)
        shop.settle()
        shop.pass_days(3)
        lifecycle.settle_slow_payment(shop.world, session, succeeds=True)
    else:
        delete(shop, ada)
        lifecycle.pay_once(shop.world, session)
    shop.settle()
    shop.settle()
    assert shop.charges(ada)[0]["refunded"]
    assert shop.books(ada)["packs"] == []
    assert shop.waiting_events() == 0


def test_a_pack_that_was_granted_before_the_deletion_is_not_refunded(shop: Shop, ada: Owner) -> None:
    shop.buy_pack(ada)
    shop.settle()
    shop.pass_days(1)
    delete(shop, ada)
    shop.settle()
    assert not shop.charges(ada)[0]["refunded"]


def test_a_customer_deleted_at_stripe_keeps_packs_and_can_buy_others(shop: Shop, ada: Owner) -> None:
    shop.buy_pack(ada)
    shop.settle()
    former = shop.customer_id(ada)
    lifecycle.delete_customer(shop.world, shop.world.get(former))
    shop.settle()
    assert credits_of(shop, ada) == (115, 100)
    shop.buy_pack(ada, 1_000)
    shop.settle()
    assert shop.customer_id(ada) != former
    assert credits_of(shop, ada) == (1_115, 1_100)


# Setting up.


def set_up(shop: Shop, wanted: dict[int, int]) -> list[str]:
    done = setup.set_up(
        shop.stripe.gateway,
        amounts=AMOUNTS,
        currency="usd",
        webhook_url=f"{BASE}/stripe/webhook",
        packs=wanted,
    )
    return [line for line in done.lines if "created" in line]


def test_setting_up_again_creates_nothing_and_without_packs_leaves_them(shop: Shop) -> None:
    before = set(shop.world.objects)
    assert set_up(shop, PACKS) == []
    assert set_up(shop, {}) == []
    assert set(shop.world.objects) == before
    assert [each.credits for each in shop.api.call(packs.pack_offers, shop.api.services)] == [100, 1_000]


def test_a_changed_price_of_a_pack_replaces_the_former_one(shop: Shop, ada: Owner) -> None:
    shop.pack_checkout(ada)  # knows the former price
    (former,) = shop.world.all("price", lookup_key="bgeraser_pack_100")
    assert len(set_up(shop, {100: 600})) == 1
    (current,) = shop.world.all("price", lookup_key="bgeraser_pack_100")
    assert (former["lookup_key"], current["unit_amount"]) == (None, 600)
    assert current["product"] == former["product"]
    former["active"] = False
    shop.buy_pack(ada)
    assert shop.charges(ada)[-1]["amount"] == 600
    shop.settle()
    assert credits_of(shop, ada) == (115, 100)


def test_a_price_of_the_operators_own_is_not_a_pack(shop: Shop) -> None:
    (price,) = shop.world.all("price", lookup_key="bgeraser_pack_100")
    for number, key in enumerate((None, "mug", "bgeraser_pack_", "bgeraser_pack_0", "bgeraser_pack_1x")):
        shop.world.add({**price, "id": f"price_other{number}", "lookup_key": key})
    shop.stripe.invalidate_prices()
    assert [each.credits for each in shop.api.call(packs.pack_offers, shop.api.services)] == [100, 1_000]
