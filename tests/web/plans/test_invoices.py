"""The list of invoices: of plans and packs, newest first, page by page, and only the account's own."""

import html
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from billing.ledger.plans import PlanName
from tests.fakes.stripe import lifecycle
from tests.fakes.stripe.shapes import Json
from tests.support.browsing import Browser, Site, opened_site
from tests.support.shop import Owner, Shop, open_shop
from tests.web.plans.test_pack_routes import owner_of
from web.plans import routes as plans


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with open_shop(tmp_path, packs_on_sale=True) as opened:
        yield opened
        opened.settle()
        opened.check()


def rows(browser: Browser) -> list[list[str]]:
    """The cells of each row, as text."""
    found = re.findall(r"<tr>(.*?)</tr>", browser.text, re.DOTALL)
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", each, re.DOTALL) for each in found]
    return [[text_of(each) for each in row] for row in cells if row]


def text_of(markup: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", markup)).split())


def buy_packs(shop: Shop, owner: Owner, count: int) -> None:
    for _ in range(count):
        shop.buy_pack(owner)
        shop.world.now += 3_600


def numbers_of(shop: Shop, owner: Owner) -> list[str]:
    invoices: list[Json] = list(shop.world.all("invoice", customer=shop.customer_id(owner)))
    return [each["number"] for each in reversed(invoices) if each["number"]]


def test_an_account_that_bought_nothing_has_no_list(ada: Browser) -> None:
    assert 'id="invoices"' not in ada.get("/plans").text
    answer = ada.get("/plans/invoices")
    assert (answer.status_code, "There are no invoices yet" in ada.text) == (200, True)


def test_plans_changes_and_packs_are_listed_newest_first(shop: Shop, ada: Browser) -> None:
    owner = owner_of(shop)
    shop.buy(owner, PlanName.STANDARD)
    shop.pass_days(1)
    shop.buy_pack(owner, 1_000)
    shop.pass_days(1)
    shop.settle()
    shop.buy(owner, PlanName.BUSINESS)
    shop.settle()
    ada.get("/plans")
    found = rows(ada)
    assert [row[2] for row in found] == [
        "Change to the Business plan",
        "Pack of 1,000 credits",
        "Standard plan, 31 January to 28 February 2026",
    ]
    assert [row[0] for row in found] == ["2 February 2026", "1 February 2026", "31 January 2026"]
    assert [row[1] for row in found] == numbers_of(shop, owner)
    assert [row[3] for row in found][1:] == ["$39.00", "$9.00"]
    assert {row[4] for row in found} == {"Paid"}
    assert {row[5] for row in found} == {"View PDF"}
    links = re.findall(r'href="([^"]+/i/[^"]+)"', ada.text)
    assert len(links) == 6
    assert all(each.startswith(shop.world.address) for each in links)


def test_an_unpaid_invoice_can_be_paid_and_a_draft_is_left_out(shop: Shop, ada: Browser) -> None:
    owner = owner_of(shop)
    buy_packs(shop, owner, 5)
    states = ["draft", "open", "paid", "uncollectible", "void"]
    for invoice, status in zip(shop.world.all("invoice"), states, strict=True):
        invoice["status"] = status
    ada.get("/plans")
    assert [row[4:] for row in rows(ada)] == [
        ["Cancelled", "View PDF"],
        ["Not paid", "Pay PDF"],
        ["Paid", "View PDF"],
        ["To be paid", "Pay PDF"],
    ]


@pytest.mark.parametrize("count", [1, 10, 11, 30])
def test_thirty_invoices_are_read_page_by_page_each_once(shop: Shop, ada: Browser, count: int) -> None:
    owner = owner_of(shop)
    buy_packs(shop, owner, count)
    found, path, pages = [], "/plans", 0
    while path:
        ada.get(path)
        page = rows(ada)
        assert len(page) <= 10
        found += [row[1] for row in page]
        older = re.search(r'href="(/plans/invoices\?after=[^"]+)"', ada.text)
        path, pages = (html.unescape(older[1]) if older else ""), pages + 1
    assert found == numbers_of(shop, owner)
    assert pages == -(-count // 10)


def test_amounts_are_in_the_currency_of_each_invoice(shop: Shop, ada: Browser) -> None:
    owner = owner_of(shop)
    buy_packs(shop, owner, 3)
    amounts = {"jpy": 500, "kwd": 5_000, "isk": 90_000}
    for invoice, (currency, total) in zip(shop.world.all("invoice"), amounts.items(), strict=True):
        invoice |= {"currency": currency, "total": total}
    ada.get("/plans")
    assert [row[3] for row in rows(ada)] == ["900 ISK", "5.000 KWD", "500 JPY"]


def test_text_and_links_of_an_invoice_cannot_break_the_page(shop: Shop, ada: Browser) -> None:
    buy_packs(shop, owner_of(shop), 1)
    (invoice,) = shop.world.all("invoice")
    invoice |= {
        "number": "<script>alert(1)</script>",
        "metadata": {},
        "hosted_invoice_url": "https://evil.example/pay",
        "invoice_pdf": 'https://evil.example/"onclick="alert(1)',
    }
    invoice["lines"]["data"][0] |= {"description": "<b>bold</b>", "pricing": None}
    ada.get("/plans")
    assert "evil.example" not in ada.text
    assert "<script>alert(1)" not in ada.text
    assert rows(ada)[0][1:3] == ["<script>alert(1)</script>", "<b>bold</b>"]


def test_another_accounts_invoices_are_not_shown_whatever_the_address_names(
    shop: Shop, site: Site, ada: Browser
) -> None:
    buy_packs(shop, owner_of(shop), 2)
    newest = list(shop.world.all("invoice"))[-1]["id"]
    bob = site.browser().join("bob@example.com")
    bob.get(f"/plans/invoices?after={newest}")
    assert rows(bob) == []
    buy_packs(shop, owner_of(shop, "bob@example.com"), 1)
    answer = bob.get(f"/plans/invoices?after={newest}")
    assert (answer.status_code, rows(bob)) == (200, [])
    bob.get("/plans/invoices")
    assert len(rows(bob)) == 1
    ada.get(f"/plans/invoices?after={newest}")
    assert len(rows(ada)) == 1


@pytest.mark.parametrize("after", ["cus_1", "in_", "in_../x", "in_1&customer=cus_2", "in_" + "x" * 300])
def test_an_impossible_place_is_not_found(ada: Browser, after: str) -> None:
    assert ada.get(f"/plans/invoices?after={quote(after)}").status_code == 404


def test_stripe_out_of_reach_is_said_and_the_page_works_otherwise(shop: Shop, ada: Browser) -> None:
    buy_packs(shop, owner_of(shop), 1)
    ada.get("/plans")
    shop.world.now += 60
    shop.world.is_down = True
    answer = ada.get("/plans")
    assert (answer.status_code, "cannot be reached now" in ada.text) == (200, True)
    assert "Choose Standard" in ada.text
    assert ada.get("/plans/invoices").status_code == 503
    shop.world.is_down = False
    assert "cannot be reached now" in ada.get("/plans").text  # nobody waits for it again at once
    shop.world.now += 15
    assert len(rows_after(ada)) == 1


def rows_after(browser: Browser) -> list[list[str]]:
    browser.get("/plans")
    return rows(browser)


def test_a_page_that_was_just_read_is_not_read_again(shop: Shop, ada: Browser) -> None:
    buy_packs(shop, owner_of(shop), 1)
    ada.get("/plans")
    shop.world.calls.clear()
    ada.get("/plans")
    assert "GET /v1/invoices" not in shop.world.calls
    shop.world.now += 30
    ada.get("/plans")
    assert shop.world.calls.count("GET /v1/invoices") == 1


def test_a_customer_deleted_at_stripe_does_not_break_the_page(shop: Shop, ada: Browser) -> None:
    owner = owner_of(shop)
    buy_packs(shop, owner, 1)
    lifecycle.delete_customer(shop.world, shop.world.get(shop.customer_id(owner)))
    assert ada.get("/plans").status_code == 200
    assert rows(ada) == []


def test_guests_are_redirected_to_the_login(site: Site) -> None:
    answer = site.browser().get("/plans/invoices")
    assert (answer.status_code, answer.headers["location"].startswith("/login?next=")) == (303, True)


def test_without_stripe_there_is_no_such_page(tmp_path: Path) -> None:
    with opened_site(tmp_path / "data") as site:
        plans.add_to(site.api.app)
        browser = site.browser().join("ada@example.com")
        assert browser.get("/plans/invoices").status_code == 404
