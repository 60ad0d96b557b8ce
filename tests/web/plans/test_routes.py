"""The plans pages: checkout, return, cancellation, and CSRF protection."""

import html
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlmodel import col, select

from billing.ledger import accounts
from billing.ledger.plans import PlanName
from billing.subscriptions.models import StripeCustomer
from tests.fakes.stripe import lifecycle
from tests.support.browsing import GOOD_PASSWORD, Browser, Site, opened_site
from tests.support.shop import Owner, Shop, open_shop
from web.plans import routes as plans


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with open_shop(tmp_path) as opened:
        yield opened
        opened.settle()
        opened.check()


def owner_of(shop: Shop, email: str = "ada@example.com") -> Owner:
    with shop.api.services.database.transaction() as session:
        return Owner(accounts.find_by_email(session, email).id, "")


def choose(browser: Browser, plan: str) -> str:
    """Presses the plan's button; where the page that follows leads to."""
    browser.get("/plans")
    assert browser.post(f"/plans/{plan}/checkout").status_code == 200
    return led_to(browser)


def led_to(browser: Browser) -> str:
    found = re.search(r'http-equiv="refresh" content="0; url=([^"]+)"', browser.text)
    assert found is not None, browser.text
    return html.unescape(found[1])


def pay(url: str) -> str:
    """Pays at the simulator; the address it sends the browser back to, without its host."""
    answer = httpx.post(url, data={"do": "pay", "card": "good"})
    assert answer.status_code == 303
    return answer.headers["location"].removeprefix("http://test")


def test_after_a_purchase_the_page_waits_for_the_webhook(shop: Shop, site: Site, ada: Browser) -> None:
    back = pay(choose(ada, "standard"))
    assert back == "/plans/success?plan=standard"
    ada.get(back)
    assert "We are waiting for Stripe" in ada.text
    assert 'content="2; url=/plans/success?plan=standard&amp;polls=1"' in ada.text
    assert shop.state(owner_of(shop)).plan is PlanName.FREE  # the redirect alone brings nothing
    shop.settle()
    ada.get(back)
    assert "You are on the Standard plan" in ada.text
    assert "refresh" not in ada.text
    ada.get("/plans")
    assert "Renews on" in ada.text
    assert "Choose Standard" not in ada.text


def test_opening_the_success_page_without_paying_grants_nothing(shop: Shop, ada: Browser) -> None:
    ada.get("/plans/success?plan=business")
    assert "We are waiting for Stripe" in ada.text
    ada.get("/plans/success?plan=business&polls=30")
    assert "Not confirmed yet" in ada.text
    for query in ("", "?plan=nonsense", "?plan=standard&polls=x", "?plan=standard&polls=-1"):
        assert ada.get(f"/plans/success{query}").status_code == 200
    assert shop.state(owner_of(shop)).plan is PlanName.FREE


def test_leaving_the_checkout_buys_nothing(shop: Shop, ada: Browser) -> None:
    url = choose(ada, "standard")
    answer = httpx.post(url, data={"do": "cancel"})
    ada.get(answer.headers["location"].removeprefix("http://test"))
    assert "Checkout cancelled" in ada.text


def test_a_declined_card_is_reported_and_another_card_pays(shop: Shop, ada: Browser) -> None:
    url = choose(ada, "standard")
    assert "declined" in httpx.post(url, data={"do": "pay", "card": "declined"}).text
    pay(url)
    shop.settle()
    assert shop.state(owner_of(shop)).plan is PlanName.STANDARD


def test_subscribers_change_and_cancel_in_the_portal(shop: Shop, ada: Browser) -> None:
    pay(choose(ada, "standard"))
    shop.settle()
    assert "/portal/" in choose(ada, "business")
    ada.get("/plans")
    assert ada.post("/plans/portal").status_code == 200
    portal = led_to(ada)
    httpx.post(portal, data={"do": "cancel", "subscription": shop.subscription(owner_of(shop))["id"]})
    shop.settle()
    ada.get("/plans/return")
    assert "Cancelled. You keep it until" in ada.text


def test_a_failed_payment_is_shown(shop: Shop, ada: Browser) -> None:
    pay(choose(ada, "standard"))
    shop.settle()
    shop.world.declined_customers.add(shop.customer_id(owner_of(shop)))
    # People's sessions end sooner than a month; the page is what is tried here.
    shop.pass_days(29)
    shop.settle()
    ada.log_in("ada@example.com", GOOD_PASSWORD)
    ada.get("/plans")
    assert "The last payment failed" in ada.text


def test_the_page_reports_that_stripe_is_unavailable(shop: Shop, ada: Browser) -> None:
    ada.get("/plans")
    shop.world.is_down = True
    answer = ada.post("/plans/standard/checkout")
    assert (answer.status_code, "Stripe is unavailable" in ada.text) == (503, True)
    shop.world.is_down = False


def test_an_unverified_address_cannot_buy(shop: Shop, ada: Browser) -> None:
    with shop.api.services.database.transaction() as session:
        accounts.find_by_email(session, "ada@example.com").verified_at = None
    ada.get("/plans")
    answer = ada.post("/plans/standard/checkout")
    assert (answer.status_code, "Confirm your email address" in ada.text) == (422, True)
    assert list(shop.world.all("customer")) == []


@pytest.mark.parametrize("path", ["/plans", "/plans/success", "/plans/cancelled", "/plans/return"])
def test_guests_are_redirected_to_the_login(shop: Shop, site: Site, path: str) -> None:
    answer = site.browser().get(path)
    assert (answer.status_code, answer.headers["location"].startswith("/login?next=")) == (303, True)


@pytest.mark.parametrize("path", ["/plans/standard/checkout", "/plans/portal"])
def test_another_site_cannot_start_a_checkout(shop: Shop, ada: Browser, path: str) -> None:
    ada.get("/plans")
    assert ada.post(path, csrf_token="").status_code == 403
    assert ada.post(path, csrf_token="x" * 43).status_code == 403
    token = re.search(r'name="csrf_token" value="([^"]*)"', ada.get("/plans").text)
    assert token is not None
    crossing = {"Sec-Fetch-Site": "cross-site"}
    assert ada.post_raw(path, {"csrf_token": token[1]}, **crossing).status_code == 403
    assert list(shop.world.all("checkout.session")) == []


@pytest.mark.parametrize("plan", ["free", "gold", "../x"])
def test_an_unknown_plan_is_not_found(shop: Shop, ada: Browser, plan: str) -> None:
    ada.get("/plans")
    assert ada.post(f"/plans/{plan}/checkout").status_code in (404, 405)


def test_accounts_have_separate_customers_and_plans(shop: Shop, site: Site, ada: Browser) -> None:
    bob = site.browser().join("bob@example.com")
    pay(choose(ada, "business"))
    shop.settle()
    bob.get("/plans/success?plan=business")
    assert "We are waiting for Stripe" in bob.text
    bob.get("/plans")
    assert "Renews on" not in bob.text
    assert bob.post("/plans/portal").status_code == 404
    assert shop.state(owner_of(shop, "bob@example.com")).plan is PlanName.FREE


def test_deleting_the_account_ends_the_subscription_at_once(shop: Shop, ada: Browser) -> None:
    pay(choose(ada, "standard"))
    shop.settle()
    owner = owner_of(shop)
    ada.get("/settings/delete")
    assert ada.post("/settings/delete", sure="yes", current=GOOD_PASSWORD).status_code == 200
    shop.handle()
    assert shop.subscription(owner)["status"] == "canceled"
    shop.settle()
    with shop.api.services.database.transaction() as session:
        mine = select(StripeCustomer).where(col(StripeCustomer.account_id) == owner.account_id)
        assert session.exec(mine).one()


def test_without_stripe_the_page_shows_the_plans_and_that_billing_is_off(tmp_path: Path) -> None:
    with opened_site(tmp_path / "data") as site:
        plans.add_to(site.api.app)
        browser = site.browser().join("ada@example.com")
        browser.get("/plans")
        assert "Plans cannot be bought on this server" in browser.text
        assert "5,000" in browser.text
        assert browser.post("/plans/standard/checkout", csrf_token=token_of(browser)).status_code == 404


def token_of(browser: Browser) -> str:
    found = re.search(r'name="csrf_token" value="([^"]*)"', browser.text)
    return found[1] if found else ""


def test_buying_a_plan_below_the_operator_plan_asks_for_confirmation(shop: Shop, ada: Browser) -> None:
    with shop.api.services.database.transaction() as session:
        accounts.change_plan(session, accounts.find_by_email(session, "ada@example.com"), PlanName.BUSINESS)
    ada.get("/plans")
    assert ada.post("/plans/standard/checkout").status_code == 200
    assert "You get the assigned plan back" in ada.text
    assert list(shop.world.all("checkout.session")) == []
    ada.post("/plans/standard/checkout", sure="yes")
    pay(led_to(ada))
    shop.settle()
    assert shop.state(owner_of(shop)).plan is PlanName.STANDARD


def test_a_price_refused_by_stripe_is_reported_on_the_page(shop: Shop, ada: Browser) -> None:
    ada.get("/plans")
    for price in shop.world.all("price", lookup_key="bgeraser_standard_monthly"):
        price["active"] = False
    answer = ada.post("/plans/standard/checkout")
    assert (answer.status_code, "cannot be bought right now" in ada.text) == (422, True)


def test_signing_up_again_grants_neither_a_second_trial_nor_more_credits(
    tmp_path: Path,
) -> None:
    with open_shop(tmp_path, stripe_trial_days=7) as shop:
        site = Site(shop.api)
        plans.add_to(shop.api.app)
        browser = site.browser().join("ada@example.com")
        pay(choose(browser, "business"))
        shop.settle()
        assert shop.state(owner_of(shop)).status == "trialing"
        browser.get("/settings/delete")
        assert browser.post("/settings/delete", sure="yes", current=GOOD_PASSWORD).status_code == 200
        shop.settle()
        again = site.browser().join("Ada@Example.com")
        pay(choose(again, "business"))
        shop.settle()
        assert shop.subscription(owner_of(shop))["trial_end"] is None
        shop.check()
        site.auth.close()


def test_the_plans_page_is_correct_after_a_lost_or_won_dispute(shop: Shop, ada: Browser) -> None:
    pay(choose(ada, "standard"))
    shop.settle()
    lifecycle.open_dispute(shop.world, shop.charges(owner_of(shop))[0])
    shop.settle()
    assert ada.get("/plans").status_code == 200
