"""The Stripe webhook: signatures, storage and handling of events."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlmodel import select
from structlog.testing import capture_logs

from billing.ledger.plans import PlanName
from billing.subscriptions.connection import API_VERSION
from billing.subscriptions.events import WANTED_TYPES
from billing.subscriptions.models import StripeEvent
from tests.fakes.stripe import lifecycle
from tests.fakes.stripe.delivery import signature, signed
from tests.fakes.stripe.world import WEBHOOK_SECRET
from tests.support.apps import local_api
from tests.support.calling import code_of
from tests.support.shop import Owner, Shop, open_shop

OLD_SECRET = "whsec_the_one_before"


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with open_shop(tmp_path, stripe_webhook_secret_previous=SecretStr(OLD_SECRET)) as opened:
        yield opened


@pytest.fixture
def ada(shop: Shop) -> Owner:
    return shop.owner()


def paid_event(shop: Shop, ada: Owner) -> dict[str, object]:
    """The event that brings Standard's credits, not delivered yet."""
    shop.buy(ada, PlanName.STANDARD)
    return next(event for event in shop.world.take_outbox() if event["type"] == "invoice.paid")


def body(event: dict[str, object]) -> bytes:
    return json.dumps(event).encode()


FORGERIES: dict[str, Callable[[bytes, int], str | None]] = {
    "no signature": lambda payload, now: None,
    "an empty one": lambda payload, now: "",
    "nonsense": lambda payload, now: "nonsense",
    "no time": lambda payload, now: signature(payload, WEBHOOK_SECRET, now).partition(",")[2],
    "another secret": lambda payload, now: signature(payload, "whsec_of_somebody_else", now),
    "an empty secret": lambda payload, now: signature(payload, "", now),
    "another body": lambda payload, now: signature(payload + b" ", WEBHOOK_SECRET, now),
    "old": lambda payload, now: signature(payload, WEBHOOK_SECRET, now - 301),
    "from the future": lambda payload, now: signature(payload, WEBHOOK_SECRET, now + 301),
    "an hour from the future": lambda payload, now: signature(payload, WEBHOOK_SECRET, now + 3_600),
    "another time": lambda payload, now: signature(payload, WEBHOOK_SECRET, now - 1_000).replace(
        f"t={now - 1_000}", f"t={now}"
    ),
    "two times": lambda payload, now: signature(payload, WEBHOOK_SECRET, now - 1_000) + f",t={now}",
    "a huge time": lambda payload, now: signature(payload, WEBHOOK_SECRET, 10**30),
    "an older scheme": lambda payload, now: signature(payload, WEBHOOK_SECRET, now).replace("v1=", "v0="),
    "no letters of ours": lambda payload, now: "t=1,v1=é".encode("latin-1").decode("latin-1"),
}


@pytest.mark.parametrize("forgery", FORGERIES, ids=str)
def test_an_invalid_or_expired_signature_is_refused_and_changes_nothing(
    shop: Shop, ada: Owner, forgery: str
) -> None:
    payload = body(paid_event(shop, ada))
    before = shop.books(ada)
    header = FORGERIES[forgery](payload, shop.world.now)
    headers = {"Stripe-Signature": header.encode("latin-1")} if header is not None else {}
    answer = shop.api.request("POST", "/stripe/webhook", content=payload, headers=headers)
    assert (answer.status_code, code_of(answer)) == (403, "FORBIDDEN")
    shop.handle()
    assert shop.books(ada) == before
    assert shop.waiting_events() == 0


@pytest.mark.parametrize(
    "payload",
    [b"", b"[]", b"{}", b"null", b"\xff\xfe", b'{"object":"event"}', b'{"object":"charge","id":"evt_1"}'],
    ids=str,
)
def test_a_signed_body_that_is_not_an_event_is_refused(shop: Shop, payload: bytes) -> None:
    header = signature(payload, WEBHOOK_SECRET, shop.world.now)
    answer = shop.api.request(
        "POST", "/stripe/webhook", content=payload, headers={"Stripe-Signature": header}
    )
    assert answer.status_code == 403


@pytest.mark.parametrize("offset", [-300, -299, 0, 299, 300])
def test_a_signature_within_five_minutes_in_either_direction_is_valid(
    shop: Shop, ada: Owner, offset: int
) -> None:
    payload = body(paid_event(shop, ada))
    header = signature(payload, WEBHOOK_SECRET, shop.world.now + offset)
    assert shop.send(payload, {"Stripe-Signature": header})
    shop.handle()
    assert shop.plan_and_credits(ada) == ("standard", 515)


@pytest.mark.parametrize("secret", [WEBHOOK_SECRET, OLD_SECRET])
def test_both_secrets_are_valid_during_rotation(shop: Shop, ada: Owner, secret: str) -> None:
    assert shop.send(*signed(paid_event(shop, ada), shop.world.now, secret))
    shop.handle()
    assert shop.plan_and_credits(ada) == ("standard", 515)


def test_two_signatures_in_one_header_are_valid_during_rotation(shop: Shop, ada: Owner) -> None:
    payload = body(paid_event(shop, ada))
    now = shop.world.now
    other = signature(payload, "whsec_the_next", now).split(",")[1]
    assert shop.send(payload, {"Stripe-Signature": f"{signature(payload, WEBHOOK_SECRET, now)},{other}"})


def test_a_signed_event_of_the_live_mode_changes_nothing_at_a_test_server(shop: Shop, ada: Owner) -> None:
    event = paid_event(shop, ada) | {"livemode": True}
    before = shop.books(ada)
    payload, headers = signed(event, shop.world.now)
    with capture_logs() as logs:
        answer = shop.api.request("POST", "/stripe/webhook", content=payload, headers=headers)
    assert (answer.status_code, code_of(answer)) == (403, "FORBIDDEN")
    reasons = [each["reason"] for each in logs if "other mode" in each["event"]]
    assert reasons == ["this is a live event, and this server has a test key of Stripe's"]
    shop.handle()
    assert shop.books(ada) == before
    assert shop.waiting_events() == 0


@pytest.mark.parametrize(("event_is_live", "status"), [(True, 200), (False, 403)])
def test_a_live_server_takes_live_events_only(tmp_path: Path, event_is_live: bool, status: int) -> None:
    key, secret = SecretStr("sk_live_x"), SecretStr(WEBHOOK_SECRET)
    with local_api(tmp_path, stripe_secret_key=key, stripe_webhook_secret=secret) as api:
        now = int(api.clock().timestamp())
        event = {
            "id": "evt_1",
            "object": "event",
            "type": "product.created",
            "created": now,
            "livemode": event_is_live,
            "data": {"object": {"id": "prod_1", "object": "product"}},
        }
        payload, headers = signed(event, now)
        answer = api.request("POST", "/stripe/webhook", content=payload, headers=headers)
        assert answer.status_code == status


def test_an_event_of_an_old_version_is_handled_because_the_customer_is_fetched_in_ours(
    shop: Shop, ada: Owner
) -> None:
    event = paid_event(shop, ada)
    # As invoices were before 2025: with what is elsewhere now, and without what is read of present ones.
    old_invoice = {
        "id": "in_1",
        "object": "invoice",
        "customer": shop.customer_id(ada),
        "charge": "ch_1",
        "payment_intent": "pi_1",
        "subscription": "sub_1",
        "lines": {"data": [{"amount": 1, "plan": {"id": "gold"}, "proration": True}]},
    }
    old = event | {"api_version": "2020-08-27", "data": {"object": old_invoice}}
    assert shop.send(*signed(old, shop.world.now))
    shop.handle()
    assert shop.plan_and_credits(ada) == ("standard", 515)
    assert {each.api_version for each in shop.world.requests} == {API_VERSION}
    assert shop.waiting_events() == 0


@pytest.mark.parametrize("secret", [None, SecretStr(""), SecretStr("   ")])
def test_the_webhook_is_404_without_a_secret(tmp_path: Path, secret: SecretStr | None) -> None:
    with local_api(tmp_path, stripe_secret_key=SecretStr("sk_test_x"), stripe_webhook_secret=secret) as api:
        payload = b"{}"
        now = int(api.clock().timestamp())
        for signed_with in ("", "   ", WEBHOOK_SECRET):
            headers = {"Stripe-Signature": signature(payload, signed_with, now)}
            answer = api.request("POST", "/stripe/webhook", content=payload, headers=headers)
            assert (answer.status_code, code_of(answer)) == (404, "NOT_FOUND")


def test_without_any_stripe_setting_everything_else_works(tmp_path: Path) -> None:
    with local_api(tmp_path) as api:
        key = api.new_key("ada@example.com")
        assert api.request("POST", "/stripe/webhook", content=b"{}").status_code == 404
        assert api.request("GET", "/api/account", headers={"X-Api-Key": key}).status_code == 200


def test_an_event_is_stored_before_it_is_handled_and_only_once(shop: Shop, ada: Owner) -> None:
    event = paid_event(shop, ada)
    answers = [
        shop.api.request("POST", "/stripe/webhook", content=payload, headers=headers).json()["data"]
        for payload, headers in [signed(event, shop.world.now)] * 3
    ]
    assert [each["new"] for each in answers] == [True, False, False]
    assert shop.plan_and_credits(ada) == ("free", 15)
    assert shop.waiting_events() == 1
    shop.handle()
    assert shop.plan_and_credits(ada) == ("standard", 515)
    assert shop.waiting_events() == 0
    calls_before = len(shop.world.calls)
    assert shop.send(*signed(event, shop.world.now))
    shop.handle()
    assert len(shop.world.calls) == calls_before  # it is handled, so Stripe is not called again


def test_failed_handling_is_retried_from_the_stored_event(shop: Shop, ada: Owner) -> None:
    event = paid_event(shop, ada)
    shop.world.is_down = True
    assert shop.send(*signed(event, shop.world.now))
    shop.handle()
    assert shop.waiting_events() == 1
    with shop.api.services.database.transaction() as session:
        stored = session.get_one(StripeEvent, str(event["id"]))
        assert stored.attempts == 1
        assert stored.error
    shop.world.is_down = False
    shop.handle()
    assert shop.plan_and_credits(ada) == ("free", 15)  # not before its time
    shop.pass_days(1 / 24)
    shop.handle()
    assert shop.plan_and_credits(ada) == ("standard", 515)
    assert shop.waiting_events() == 0


def test_the_content_of_a_stale_event_is_not_trusted(shop: Shop, ada: Owner) -> None:
    event = paid_event(shop, ada)
    shop.world.take_outbox()
    lifecycle.cancel_now(shop.world, shop.subscription(ada))
    assert shop.send(*signed(event, shop.world.now))
    shop.handle()
    plan, credits_ = shop.plan_and_credits(ada)
    assert plan == "free"  # the event was sent while the subscription ran
    assert credits_ == 515  # paid for, until the period ends


def test_forged_amounts_in_a_signed_event_move_no_credits(shop: Shop, ada: Owner) -> None:
    shop.buy(ada, PlanName.STANDARD)
    shop.settle()
    event = shop.world.events[-1] | {"id": "evt_lie", "type": "invoice.paid"}
    event["data"] = {
        "object": {"id": "in_lie", "customer": shop.customer_id(ada), "status": "paid", "amount_paid": 9_999}
    }
    assert shop.send(*signed(event, shop.world.now))
    shop.handle()
    assert shop.plan_and_credits(ada) == ("standard", 515)


def test_events_of_unknown_customers_and_other_types_are_stored_as_handled(shop: Shop, ada: Owner) -> None:
    paid_event(shop, ada)
    event = shop.world.events[-1]
    stranger = event | {"id": "evt_stranger", "type": "invoice.paid"}
    stranger["data"] = {"object": {"id": "in_1", "customer": "cus_nobody"}}
    other = event | {"id": "evt_other", "type": "payout.paid"}
    for each in (stranger, other):
        assert shop.send(*signed(each, shop.world.now))
    shop.handle()
    assert shop.waiting_events() == 0
    with shop.api.services.database.transaction() as session:
        assert {each.id for each in session.exec(select(StripeEvent))} == {"evt_stranger", "evt_other"}


def test_the_endpoint_subscribes_to_exactly_the_handled_event_types(shop: Shop) -> None:
    (endpoint,) = shop.world.all("webhook_endpoint")
    assert set(endpoint["enabled_events"]) == set(WANTED_TYPES)


def test_a_body_over_the_limit_is_refused(shop: Shop) -> None:
    answer = shop.api.request("POST", "/stripe/webhook", content=b"x" * (1024 * 1024 + 1))
    assert answer.status_code == 413
