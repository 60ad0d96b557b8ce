"""Buying a pack on the pages: the checkout, the page after it, and the way back."""

import html
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from api.payments import packs
from billing.ledger import accounts
from tests.fakes.stripe import lifecycle
from tests.support.browsing import Browser, Site
from tests.support.shop import Owner, Shop, open_shop
from web.site import routes as front


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with open_shop(tmp_path, packs_on_sale=True) as opened:
        yield opened
        opened.settle()
        opened.check()


def owner_of(shop: Shop, email: str = "ada@example.com") -> Owner:
    with shop.api.services.database.transaction() as session:
        return Owner(accounts.find_by_email(session, email).id, "")


def pack_credits(shop: Shop) -> int:
    grants = shop.books(owner_of(shop))["grants"]
    return sum(each["available"] for each in grants if each["kind"] == "pack")


def choose(browser: Browser, pack: str = "100", **fields: str) -> str:
    """Presses the pack's button; where the page that follows leads to."""
    browser.get("/plans")
    assert browser.post(f"/packs/{pack}/checkout", **fields).status_code == 200
    found = re.search(r'http-equiv="refresh" content="0; url=([^"]+)"', browser.text)
    assert found is not None, browser.text
    return html.unescape(found[1])


def pay(url: str, card: str = "good") -> str:
    """Pays at the simulator; the address it sends the browser back to, without its host."""
    answer = httpx.post(url, data={"do": "pay", "card": card})
    assert answer.status_code == 303
    return answer.headers["location"].removeprefix("http://test")


def test_the_front_page_names_packs_only_where_they_are_sold(tmp_path: Path) -> None:
    texts = []
    for is_sold in (True, False):
        with open_shop(tmp_path / str(is_sold), packs_on_sale=is_sold, pack_months=6) as shop:
            site = Site(shop.api)
            shop.api.call(packs.pack_offers, shop.api.services)
            front.add_to(shop.api.app)
            texts.append(site.browser().get("/").text)
            site.auth.close()
    assert "100 credits for $5.00, 1,000 credits for $39.00" in texts[0]
    assert "last 6 months" in texts[0]
    assert 'href="/plans#packs"' in texts[0]
    assert "Packs" not in texts[1]
    assert "$9.00 a month" in texts[1]


def test_the_plans_page_sells_packs_with_their_prices(ada: Browser) -> None:
    ada.get("/plans")
    assert 'id="packs"' in ada.text
    assert "100 credits, $5.00" in ada.text
    assert "1,000 credits, $39.00" in ada.text
    assert "last 12 months" in ada.text


def test_the_credits_are_there_when_the_browser_returns_without_a_webhook(shop: Shop, ada: Browser) -> None:
    back = pay(choose(ada))
    assert pack_credits(shop) == 0
    ada.get(back)
    assert "100 credits were added" in ada.text
    assert pack_credits(shop) == 100
    ada.get(back)
    assert pack_credits(shop) == 100


def test_the_browser_returns_to_the_picture_it_came_from(ada: Browser) -> None:
    url = choose(ada, next="/app/?a=1#prj_123")
    back = pay(url)
    answer = ada.get(back)
    assert (answer.status_code, answer.headers["location"]) == (303, "/app/?a=1#prj_123")


def test_leaving_the_checkout_returns_there_too(shop: Shop, ada: Browser) -> None:
    for fields, place in (({"next": "/app/#prj_123"}, "/app/#prj_123"), ({}, "/plans/cancelled")):
        answer = httpx.post(choose(ada, **fields), data={"do": "cancel"})
        assert answer.headers["location"] == f"http://test{place}"
    assert pack_credits(shop) == 0


@pytest.mark.parametrize("elsewhere", ["https://example.com/", "//example.com", "/\\example.com", "x"])
def test_the_way_back_never_leads_to_another_site(ada: Browser, elsewhere: str) -> None:
    back = pay(choose(ada, next=elsewhere))
    assert ada.get(back).headers["location"] == "/app/"
    session = re.search("session=(cs_[a-z0-9_]+)", back)
    assert session is not None
    forged = httpx.URL("/packs/success", params={"session": session[1], "next": elsewhere})
    assert ada.get(str(forged)).headers["location"] == "/app/"


def test_a_slow_payment_is_waited_for_and_then_continues(shop: Shop, ada: Browser) -> None:
    back = pay(choose(ada, next="/app/#prj_1"), card="bank")
    ada.get(back)
    assert "We are waiting for Stripe" in ada.text
    found = re.search(r'data-next="([^"]+)"', ada.text)
    assert found is not None
    following = html.unescape(found[1])
    assert following.endswith("polls=1")
    ada.get(following.replace("polls=1", "polls=30"))
    assert "Not confirmed yet" in ada.text
    (session,) = shop.world.all("checkout.session", mode="payment")
    lifecycle.settle_slow_payment(shop.world, session, succeeds=True)
    shop.settle()
    ada.get(following)
    assert "100 credits were added" in ada.text
    assert 'href="/app/#prj_1" data-continue' in ada.text


def test_stripe_is_asked_at_some_of_the_polls_only(shop: Shop, ada: Browser) -> None:
    pay(choose(ada), card="bank")
    (session,) = shop.world.all("checkout.session", mode="payment")
    for polls, is_asked in (
        (0, True),
        (1, False),
        (4, False),
        (5, True),
        (30, True),
        (35, False),
        ("x", True),
    ):
        shop.world.calls.clear()
        ada.get(f"/packs/success?session={session['id']}&polls={polls}")
        assert ("GET /v1/charges" in shop.world.calls) is is_asked, polls


def test_opening_the_success_page_without_paying_grants_nothing(shop: Shop, ada: Browser) -> None:
    url = choose(ada)
    session_id = url.rsplit("/", 1)[1]
    ada.get(f"/packs/success?session={session_id}")
    assert "We are waiting for Stripe" in ada.text
    for query in ("", "?session=", "?session=cs_none", f"?session={'x' * 900}", "?polls=-1&session=x"):
        assert ada.get(f"/packs/success{query}").status_code == 200
    assert pack_credits(shop) == 0


def test_another_accounts_checkout_is_not_shown(shop: Shop, site: Site, ada: Browser) -> None:
    back = pay(choose(ada))
    ada.get(back)
    bob = site.browser().join("bob@example.com")
    bob.get(back)
    assert "credits were added" not in bob.text


def test_guests_are_redirected_to_the_login(site: Site) -> None:
    answer = site.browser().get("/packs/success")
    assert (answer.status_code, answer.headers["location"].startswith("/login?next=")) == (303, True)


def test_another_site_cannot_start_a_checkout(shop: Shop, ada: Browser) -> None:
    ada.get("/plans")
    assert ada.post("/packs/100/checkout", csrf_token="").status_code == 403
    assert ada.post("/packs/100/checkout", csrf_token="x" * 43).status_code == 403
    assert list(shop.world.all("checkout.session")) == []


@pytest.mark.parametrize("pack", ["99", "0", "-1", "x", "1e2", "12345678", "%D9%A1"])
def test_an_unknown_pack_cannot_be_bought(shop: Shop, ada: Browser, pack: str) -> None:
    ada.get("/plans")
    assert ada.post(f"/packs/{pack}/checkout").status_code in (404, 422)
    assert list(shop.world.all("checkout.session")) == []


def test_problems_are_reported_and_nothing_is_charged(shop: Shop, ada: Browser) -> None:
    ada.get("/plans")
    shop.world.is_down = True
    answer = ada.post("/packs/100/checkout")
    assert (answer.status_code, "Stripe is unavailable" in ada.text) == (503, True)
    shop.world.is_down = False
    with shop.api.services.database.transaction() as session:
        accounts.find_by_email(session, "ada@example.com").verified_at = None
    ada.get("/plans")
    answer = ada.post("/packs/100/checkout")
    assert (answer.status_code, "Confirm your email address" in ada.text) == (422, True)
    assert list(shop.world.all("charge")) == []
