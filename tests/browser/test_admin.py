"""The operator's panel in a real browser: refunding, suspending, by keyboard, on a phone and in dark mode."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from playwright.sync_api import Page, expect

from billing.ledger.models import Account
from billing.timestamps import utc_now
from tests.browser.conftest import PHONE, NewPage
from tests.support.browser.accessibility import assert_accessible, assert_fits
from tests.support.browser.visitors import sign_in
from tests.support.calling import small_picture
from tests.support.operator_rows import make_operator
from tests.support.server import Customer, RunningServer, ServerFactory


@pytest.fixture(scope="module")
def shop(
    tmp_path_factory: pytest.TempPathFactory, server_factory: ServerFactory
) -> Iterator[list[RunningServer]]:
    """Two processes that serve the same data."""
    data, settings = tmp_path_factory.mktemp("shop"), {"BGERASER_WORKERS": "1"}
    with server_factory(data, settings) as first, server_factory(data, settings) as second:
        yield [first, second]
        assert first.drifts() == []


@pytest.fixture
def operator(page: Page, shop: list[RunningServer]) -> Customer:
    """An operator whose browser is `page`."""
    made = shop[0].new_customer()
    with shop[0].database.transaction() as session:
        make_operator(session, session.get_one(Account, made.account_id), utc_now())
    sign_in(page, shop[0], made)
    return made


def call(server: RunningServer, customer: Customer) -> httpx.Response:
    with server.client(customer) as client:
        return client.post("/api/tools/crop", files={"image": small_picture()}, data={"flip": "h"})


def open_account(page: Page, server: RunningServer, customer: Customer) -> None:
    """By the search, as an operator who was sent an e-mail."""
    page.goto(f"{server.address}/app/admin")
    page.get_by_role("link", name="Accounts", exact=True).click()
    page.get_by_label("Email address or id").fill(customer.email[:10])
    page.get_by_role("button", name="Search").click()
    page.get_by_role("link", name=customer.email).click()
    expect(page.get_by_role("heading", name=customer.email)).to_be_visible()


def test_the_customer_sees_the_refund_and_the_log_and_the_audit_agree(
    page: Page, new_page: NewPage, shop: list[RunningServer], operator: Customer
) -> None:
    server, customer = shop[0], shop[0].new_customer(credits=5)
    answer = call(server, customer)
    assert answer.status_code == 200
    request_id = answer.json()["requestId"]
    assert server.balance(customer) == (4, 0)

    open_account(page, server, customer)
    page.get_by_role("link", name=f"Refund {request_id}").click()
    form = page.locator("#refund-call")
    expect(form.get_by_label("Request id of the call")).to_have_value(request_id)
    form.get_by_label("Reason").fill("The picture was grey")
    form.get_by_role("button", name="Refund a call").click()
    expect(page.get_by_role("status")).to_contain_text("Call refunded")
    expect(page.get_by_role("row", name=re.compile(request_id)).first).to_contain_text("refunded")
    expect(page.get_by_role("region", name="Audit log")).to_contain_text("The picture was grey")
    assert server.balance(customer) == (5, 0)

    theirs = new_page()
    sign_in(theirs, server, customer)
    theirs.goto(f"{server.address}/app/dashboard")
    theirs.get_by_role("tab", name="Statement").click()
    row = theirs.locator("#statement").get_by_role("row", name=re.compile("credit returned"))
    expect(row).to_contain_text(request_id)
    expect(row).to_contain_text("+1")

    page.goto(f"{server.address}/app/admin/log?account={customer.email}&act=refund-call")
    line = page.get_by_role("region", name="Audit log").get_by_role("row").nth(1)
    for text in (
        customer.email,
        operator.email,
        "The picture was grey",
        "available 4",
        "available 5",
        request_id,
    ):
        expect(line).to_contain_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "web.cli", "admin", "audit"],
        env=os.environ | {"BGERASER_DATA_DIR": str(server.data_dir)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "All balances match their entries.")


def test_a_suspended_account_is_refused_by_both_processes_at_once(
    page: Page, new_page: NewPage, shop: list[RunningServer], operator: Customer
) -> None:
    server, customer = shop[0], shop[0].new_customer(credits=50)
    theirs = new_page(expect_errors=True)
    sign_in(theirs, server, customer)
    theirs.goto(f"{server.address}/settings")
    assert [call(each, customer).status_code for each in shop] == [200, 200]
    spent = server.balance(customer)

    open_account(page, server, customer)
    page.locator("#suspend summary").click()
    page.locator("#suspend").get_by_label("Reason").fill("Stolen card")
    page.get_by_role("button", name="Suspend the account").click()
    expect(page.get_by_text("suspended since")).to_be_visible()
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda each: call(each, customer), shop * 4))
    assert [(each.status_code, each.json()["error"]["code"]) for each in answers] == [(403, "FORBIDDEN")] * 8
    assert server.balance(customer) == spent

    for each in shop:
        theirs.goto(f"{each.address}/settings")
        expect(theirs.get_by_role("heading", name="This account is suspended")).to_be_visible()
        theirs.goto(f"{each.address}/app/")
        expect(theirs.get_by_role("heading", name="This account is suspended")).to_be_visible()
    assert_accessible(theirs)
    theirs.get_by_role("main").get_by_role("button", name="Log out").click()
    theirs.wait_for_url("**/")
    expect(theirs.get_by_role("link", name="Log in")).to_be_visible()

    page.locator("#restore summary").click()
    page.locator("#restore").get_by_label("Reason").fill("A mistake")
    page.get_by_role("button", name="Restore the account").click()
    expect(page.get_by_role("status")).to_contain_text("Restored")
    assert [call(each, customer).status_code for each in shop] == [200, 200]


def test_credits_are_granted_by_keyboard(page: Page, shop: list[RunningServer], operator: Customer) -> None:
    customer = shop[0].new_customer(credits=0)
    page.goto(f"{shop[0].address}/app/admin/accounts/{customer.account_id}")
    page.locator("#grant-credits summary").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.type("25")
    for _ in range(2):
        page.keyboard.press("Tab")
    expect(page.locator("#grant-credits").get_by_label("Reason")).to_be_focused()
    page.keyboard.type("Sorry for the outage")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("Credits granted")
    assert shop[0].balance(customer) == (25, 0)
    page.go_back()
    page.reload()
    assert shop[0].balance(customer) == (25, 0)


def test_what_was_wrong_is_said_and_what_was_typed_is_kept(
    new_page: NewPage, shop: list[RunningServer], operator: Customer
) -> None:
    page = new_page(expect_errors=True)
    sign_in(page, shop[0], operator)
    customer = shop[0].new_customer(credits=0)
    page.goto(f"{shop[0].address}/app/admin/accounts/{customer.account_id}?refund=req_unknown")
    form = page.locator("#refund-call")
    form.get_by_label("Reason").fill("They asked")
    form.get_by_role("button", name="Refund a call").click()
    expect(page.get_by_role("alert")).to_contain_text("no charged call")
    expect(form.get_by_label("Reason")).to_have_value("They asked")
    expect(form.get_by_label("Request id of the call")).to_have_value("req_unknown")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_is_accessible_and_fits_a_phone(
    new_page: NewPage, shop: list[RunningServer], operator: Customer, scheme: str
) -> None:
    server, customer = shop[0], shop[0].new_customer()
    call(server, customer)
    for viewport in ({"width": 1280, "height": 800}, PHONE):
        page = new_page(viewport=viewport, color_scheme=scheme)
        sign_in(page, server, operator)
        for path in ("", "/accounts", f"/accounts/{customer.account_id}", "/log"):
            page.goto(f"{server.address}/app/admin{path}")
            page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
            assert_accessible(page)
            assert_fits(page)
    page = new_page(viewport=PHONE, color_scheme=scheme)
    sign_in(page, server, operator)
    page.goto(f"{server.address}/login?again=yes&next=/app/admin")
    expect(page.get_by_role("heading", name="Log in again")).to_be_visible()
    assert_accessible(page)
    assert_fits(page)


def test_everyone_else_sees_no_panel(new_page: NewPage, shop: list[RunningServer]) -> None:
    page = new_page(expect_errors=True)
    sign_in(page, shop[0], shop[0].new_customer())
    page.goto(f"{shop[0].address}/settings")
    expect(page.get_by_role("link", name="Operator")).to_have_count(0)
    for path in ("/app/admin", "/app/admin/log", "/app/nothing"):
        answer = page.goto(f"{shop[0].address}{path}")
        assert answer is not None
        assert answer.status == 404
        expect(page.get_by_text("This address does not exist.")).to_be_visible()
