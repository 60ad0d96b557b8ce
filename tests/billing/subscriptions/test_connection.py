"""The connection to Stripe: one API version, a key of ours with every write, and answers that get lost."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from billing.errors import StripeUnavailable
from billing.ledger.plans import PlanName
from billing.subscriptions import setup
from billing.subscriptions.connection import API_VERSION, KEY_PREFIX, is_live_key, new_intent, write_options
from billing.subscriptions.gateway import StripeGateway
from tests.fakes.stripe import lifecycle
from tests.fakes.stripe.server import serving
from tests.fakes.stripe.shapes import Json
from tests.fakes.stripe.world import SECRET_KEY, LoggedRequest, World
from tests.support.shop import AMOUNTS, BASE, PACKS, Shop, open_shop

#: Every write of the product, with ids left out.
WRITES = {
    "POST /v1/customers",
    "POST /v1/checkout/sessions",
    "POST /v1/checkout/sessions/ID/expire",
    "POST /v1/billing_portal/sessions",
    "POST /v1/billing_portal/configurations",
    "POST /v1/billing_portal/configurations/ID",
    "POST /v1/products",
    "POST /v1/prices",
    "POST /v1/webhook_endpoints",
    "POST /v1/webhook_endpoints/ID",
    "POST /v1/subscriptions/ID",
    "POST /v1/refunds",
    "DELETE /v1/subscriptions/ID",
}


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with open_shop(tmp_path, packs_on_sale=True, stripe_trial_days=7) as opened:
        yield opened


def set_up(gateway: StripeGateway, packs: dict[int, int] = PACKS) -> None:
    url = f"{BASE}/stripe/webhook"
    setup.set_up(gateway, amounts=AMOUNTS, currency="usd", webhook_url=url, packs=packs)


def writes(world: World) -> list[LoggedRequest]:
    return [each for each in world.requests if each.method != "GET"]


def without_ids(request: LoggedRequest) -> str:
    path = re.sub(r"/[a-z]+_(test_)?sim\w+", "/ID", request.path)
    return f"{request.method} {path}"


def make_every_write(shop: Shop) -> None:
    (endpoint,) = shop.world.all("webhook_endpoint")
    endpoint["status"] = "disabled"
    set_up(shop.stripe.gateway)  # updates the endpoint and the portal
    ada = shop.owner()
    shop.pack_checkout(ada)
    shop.buy(ada, PlanName.STANDARD)  # closes the checkout of the pack
    shop.settle()
    shop.portal(ada, "good-card")
    subscription = shop.subscription(ada)
    shop.stripe.gateway.end_trial(subscription["id"])
    shop.stripe.gateway.refund(shop.charges(ada)[0]["payment_intent"])
    shop.stripe.gateway.cancel_now(subscription["id"])


def test_every_write_has_a_key_of_ours_and_every_request_the_version(shop: Shop) -> None:
    make_every_write(shop)
    log = writes(shop.world)
    assert {without_ids(each) for each in log} == WRITES
    # Deletions are idempotent by themselves, and Stripe takes no key for them.
    posts = [each for each in log if each.method == "POST"]
    assert [each for each in posts if not (each.idempotency_key or "").startswith(KEY_PREFIX)] == []
    assert {each.api_version for each in shop.world.requests} == {API_VERSION}


def test_keys_tell_different_requests_apart(shop: Shop) -> None:
    make_every_write(shop)
    posts = [each for each in writes(shop.world) if each.method == "POST"]
    assert len({each.idempotency_key for each in posts}) == len(posts)


def test_the_simulator_refuses_a_write_with_a_key_of_the_sdk(shop: Shop) -> None:
    import stripe

    client = stripe.StripeClient(SECRET_KEY, base_addresses={"api": shop.world.address})
    with pytest.raises(stripe.StripeError, match="no idempotency key"):
        client.v1.customers.create({"email": "ada@example.com"})
    assert list(shop.world.all("customer")) == []


def test_the_same_intent_has_the_same_key_and_another_one_another() -> None:
    intent = new_intent()
    same = write_options("checkout", intent, {"a": 1, "b": 2})
    assert same == write_options("checkout", intent, {"b": 2, "a": 1})
    others = [
        write_options("checkout", new_intent(), {"a": 1, "b": 2}),
        write_options("checkout", intent, {"a": 1, "b": 3}),
        write_options("portal", intent, {"a": 1, "b": 2}),
    ]
    assert same not in others
    assert len(same["idempotency_key"]) <= 255


def test_two_clicks_are_two_intents_and_open_two_pages(shop: Shop) -> None:
    ada = shop.owner()
    first, second = shop.pack_checkout(ada), shop.pack_checkout(ada)
    assert first != second
    statuses = [each["status"] for each in shop.world.all("checkout.session")]
    assert statuses == ["expired", "open"]


def test_the_webhook_endpoint_has_our_version_and_another_one_is_reported(shop: Shop) -> None:
    (endpoint,) = shop.world.all("webhook_endpoint")
    assert endpoint["api_version"] == API_VERSION
    endpoint["api_version"] = "2020-08-27"
    done = setup.set_up(
        shop.stripe.gateway, amounts=AMOUNTS, currency="usd", webhook_url=f"{BASE}/stripe/webhook"
    )
    assert f"its events have the API version 2020-08-27, not {API_VERSION}" in done.lines


@pytest.mark.parametrize(
    ("key", "is_live"),
    [
        ("sk_test_1", False),
        ("rk_test_1", False),
        (" sk_test_1", False),
        ("sk_live_1", True),
        ("rk_live_1", True),
        ("sk_4eC39", True),  # as they were before there was a test mode in the name
    ],
)
def test_a_key_says_whether_it_moves_real_money(key: str, is_live: bool) -> None:
    assert is_live_key(key) is is_live


# Answers that get lost.


@pytest.fixture
def world() -> Iterator[World]:
    made = World(1_780_000_000)
    with serving(made):
        yield made


@pytest.fixture
def gateway(world: World) -> StripeGateway:
    return StripeGateway(SECRET_KEY, world.address)


def customer(gateway: StripeGateway, world: World) -> str:
    return gateway.create_customer("acc_1", "ada@example.com")


def checkout(gateway: StripeGateway, world: World) -> str:
    pack = gateway.pack_prices()[100]
    return gateway.pack_checkout_url(
        customer_id=customer(gateway, world),
        account_id="acc_1",
        price=pack,
        success_url=BASE,
        cancel_url=BASE,
        intent=new_intent(),
    )


def portal(gateway: StripeGateway, world: World) -> str:
    return gateway.portal_url(customer_id=customer(gateway, world), return_url=BASE)


def refund(gateway: StripeGateway, world: World) -> object:
    session: Json = world.get(checkout(gateway, world).rsplit("/", 1)[1])
    with world.lock:
        lifecycle.pay_once(world, session)
    return gateway.refund(session["payment_intent"])


Act = Callable[[StripeGateway, World], object]
CUTS: list[tuple[str, str, Act, int]] = [
    ("customers", "customer", customer, 1),
    ("checkout/sessions", "checkout.session", checkout, 1),
    ("billing_portal/sessions", "billing_portal.session", portal, 1),
    ("refunds", "refund", refund, 1),
    ("products", "product", lambda gateway, world: set_up(gateway), 3),
    ("prices", "price", lambda gateway, world: set_up(gateway), 4),
    ("webhook_endpoints", "webhook_endpoint", lambda gateway, world: set_up(gateway), 1),
    (
        "billing_portal/configurations",
        "billing_portal.configuration",
        lambda gateway, world: set_up(gateway),
        1,
    ),
]


@pytest.mark.parametrize(("path", "kind", "act", "count"), CUTS, ids=[each[0] for each in CUTS])
def test_a_write_whose_answer_is_lost_is_retried_and_made_once(
    gateway: StripeGateway, world: World, path: str, kind: str, act: Act, count: int
) -> None:
    if kind in ("checkout.session", "refund"):
        set_up(gateway)
    world.requests.clear()
    world.cuts[f"POST /v1/{path}"] = 2
    act(gateway, world)
    assert world.cuts[f"POST /v1/{path}"] == 0
    assert len(list(world.all(kind))) == count
    keys = [each.idempotency_key for each in writes(world) if each.path == f"/v1/{path}"]
    assert len(keys) == count + 2
    assert keys[0] == keys[1] == keys[2]


def test_a_checkout_whose_answers_are_all_lost_leaves_one_open_page_after_the_next_click(
    gateway: StripeGateway, world: World
) -> None:
    set_up(gateway)
    world.cuts["POST /v1/checkout/sessions"] = 3
    with pytest.raises(StripeUnavailable):
        checkout(gateway, world)
    url = checkout(gateway, world)
    sessions = list(world.all("checkout.session"))
    assert [each["status"] for each in sessions] == ["expired", "open"]
    assert sessions[1]["url"] == url
    assert len(list(world.all("customer"))) == 1


def test_setting_up_again_after_its_answers_were_lost_creates_nothing_twice(
    gateway: StripeGateway, world: World
) -> None:
    world.cuts["POST /v1/prices"] = 3
    with pytest.raises(StripeUnavailable):
        set_up(gateway)
    set_up(gateway)
    assert len(list(world.all("product"))) == 3
    assert len(list(world.all("price"))) == 4


def test_a_price_that_is_changed_back_within_a_day_is_made_again(
    gateway: StripeGateway, world: World
) -> None:
    for amount in (500, 600, 500):
        set_up(gateway, {100: amount})
        assert gateway.pack_prices()[100].unit_amount == amount
    for product in world.all("product"):
        product["active"] = False
    set_up(gateway, {100: 700})
    (price,) = world.all("price", lookup_key="bgeraser_pack_100")
    assert world.get(price["product"])["active"]
