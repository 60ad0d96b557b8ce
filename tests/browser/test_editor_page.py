"""What the editor's page loads, and its account menu."""

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import DESKTOP, PHONE, NewPage
from tests.support.browser.accessibility import assert_accessible, assert_fits
from tests.support.browser.editing import Editor
from tests.support.browser.visitors import sign_in
from tests.support.server import RunningServer

REQUESTS_MAX = 25
BYTES_MAX = 300_000


def test_the_page_is_light_and_needs_no_client_of_gradio(page: Page, server: RunningServer) -> None:
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    sizes: list[int] = []
    session.on("Network.loadingFinished", lambda event: sizes.append(int(event["encodedDataLength"])))
    addresses: list[str] = []
    page.on("request", lambda request: addresses.append(request.url.removeprefix(server.address)))
    sign_in(page, server, server.new_customer())
    Editor(page, server)
    for picture in page.locator(".samples img").all():
        expect(picture).to_have_js_property("complete", True)
    page.wait_for_load_state("networkidle")
    assert len(addresses) <= REQUESTS_MAX
    assert sum(sizes) <= BYTES_MAX
    assert [address for address in addresses if address.startswith("/app/")] == ["/app/"]
    # The session is asked for ahead of the script, and not again by the script.
    assert addresses.count("/editor/session") == 1


def test_the_next_visit_loads_no_script_or_style_again(page: Page, server: RunningServer) -> None:
    Editor(page, server)
    page.goto("about:blank")
    Editor(page, server)
    entries = page.evaluate(
        "performance.getEntriesByType('resource').map(({ name, transferSize }) => [name, transferSize])"
    )
    # Pictures may still have been loading when the page was left.
    versioned = {url: size for url, size in entries if re.search(r"\.(js|css)\?v=[0-9a-f]{12}$", url)}
    assert set(versioned.values()) == {0}, versioned
    assert any("editor.bundle.js" in url for url in versioned)


def test_the_account_menu_leads_to_the_accounts_pages_and_logs_out(page: Page, server: RunningServer) -> None:
    customer = server.new_customer()
    sign_in(page, server, customer)
    Editor(page, server)
    button = page.locator(".topbar").get_by_role("button", name="15 credits")
    button.click()
    menu = page.get_by_role("navigation", name="Account")
    expect(menu).to_contain_text(customer.email)
    expect(menu).to_contain_text("Free plan, new credits on")
    links = [link.get_attribute("href") for link in menu.get_by_role("link").all()]
    assert links == ["/app/dashboard", "/plans", "/settings"]
    assert_accessible(page)
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]  # Playwright's own dictionary type
    page.get_by_role("button", name="A cup of espresso").click()
    expect(page.locator(".workplace")).to_be_visible(timeout=30_000)
    page.locator(".account-button").click()
    expect(menu.get_by_role("link")).to_have_count(3)  # the hidden ones are not counted
    page.set_viewport_size(DESKTOP)  # type: ignore[arg-type]
    page.keyboard.press("Escape")
    expect(menu).to_be_hidden()
    button.press("Enter")
    menu.get_by_role("button", name="Log out").click()
    page.goto(f"{server.address}/app/")
    expect(page.get_by_role("link", name="Log in")).to_be_visible()
    assert page.evaluate("sessionStorage.getItem('bgeraser.project')") is None


@pytest.mark.parametrize("look", [{}, {"viewport": PHONE, "color_scheme": "dark"}])
def test_the_start_screen_is_accessible_and_fits(
    new_page: NewPage, server: RunningServer, look: dict[str, Any]
) -> None:
    page = new_page(**look)
    Editor(page, server)
    assert_accessible(page)
    assert_fits(page)
