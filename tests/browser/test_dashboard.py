"""The dashboard in a real browser: keys, webhooks, and what the account did."""

import re

import httpx
from playwright.sync_api import Page, expect

from tests.browser.conftest import PHONE, NewPage
from tests.support.browser.accessibility import assert_accessible, assert_fits
from tests.support.browser.visitors import sign_in
from tests.support.calling import small_picture
from tests.support.server import Customer, RunningServer

# Gradio draws its parts after the page has loaded; a first visit also fetches its scripts.
PATIENCE_MS = 30_000


def open_dashboard(page: Page, server: RunningServer, customer: Customer) -> None:
    sign_in(page, server, customer)
    page.goto(f"{server.address}/app/dashboard")
    expect(page.locator("#cards .figure")).to_be_visible(timeout=PATIENCE_MS)


def open_tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).click()


def make_key(page: Page, name: str) -> str:
    open_tab(page, "API")
    page.get_by_label("Name of the key").fill(name)
    page.get_by_role("button", name="Generate API Key").click()
    shown = page.locator("#new-key textarea, #new-key input")
    expect(shown).to_have_value(re.compile("^bge_live_"), timeout=PATIENCE_MS)
    expect(page.locator(".key", has_text=name)).to_be_visible(timeout=PATIENCE_MS)
    return shown.input_value()


def crop(server: RunningServer, key: str, width: str = "10") -> httpx.Response:
    return httpx.post(
        f"{server.address}/api/tools/crop",
        headers={"Authorization": f"Bearer {key}"},
        files={"image": small_picture()},
        data={"width": width, "height": "10"},
        timeout=60,
    )


def test_a_new_key_works_its_call_is_listed_and_it_is_refused_once_revoked(
    page: Page, server: RunningServer
) -> None:
    customer = server.new_customer()
    open_dashboard(page, server, customer)
    key = make_key(page, "shop *window*")
    assert crop(server, key).status_code == 200
    assert crop(server, key, width="none").status_code == 422

    page.get_by_role("button", name="Refresh").click()
    expect(page.locator("#cards .figure")).to_contain_text("14 left of 15", timeout=PATIENCE_MS)
    open_tab(page, "Requests")
    expect(page.locator("#calls")).to_contain_text("Crop & rotate", timeout=PATIENCE_MS)
    expect(page.locator("#calls")).to_contain_text("shop *window*")
    expect(page.locator("#calls")).to_contain_text("Refused (422 INVALID_PARAMETER)")
    open_tab(page, "Statement")
    expect(page.locator("#statement")).to_contain_text("Crop & rotate")

    open_tab(page, "API")
    row = page.locator(".key", has_text="shop *window*")
    row.get_by_role("button", name="Revoke", exact=True).click()
    row.get_by_role("button", name="Revoke this key").click()
    expect(row).to_have_count(0, timeout=PATIENCE_MS)
    refused = crop(server, key)
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "INVALID_API_KEY")


def test_a_rotated_key_has_a_successor_and_a_grace_period(page: Page, server: RunningServer) -> None:
    open_dashboard(page, server, server.new_customer())
    old = make_key(page, "phone")
    row = page.locator(".key", has_text="phone")
    row.get_by_role("button", name="Rotate").click()
    expect(page.locator(".key", has_text="phone")).to_have_count(2, timeout=PATIENCE_MS)
    new = page.locator("#new-key textarea, #new-key input").input_value()
    assert new != old
    expect(page.locator(".code-sample code").first).to_contain_text(new)
    assert [crop(server, key).status_code for key in (old, new)] == [200, 200]
    expect(page.locator(".key", has_text=", ends ")).to_have_count(1)


def test_reloading_does_not_show_the_key_again(page: Page, server: RunningServer) -> None:
    open_dashboard(page, server, server.new_customer())
    key = make_key(page, "once")
    page.reload()
    open_tab(page, "API")
    expect(page.locator(".code-sample code").first).to_contain_text("Bearer $KEY", timeout=PATIENCE_MS)
    expect(page.locator(".key", has_text="once")).to_be_visible(timeout=PATIENCE_MS)
    assert key not in page.content()
    expect(page.locator("#new-key")).to_be_hidden()


def test_a_new_key_is_filled_into_the_code_samples_and_can_be_copied(
    new_page: NewPage, server: RunningServer
) -> None:
    page = new_page(permissions=["clipboard-read", "clipboard-write"])
    open_dashboard(page, server, server.new_customer())
    key = make_key(page, "shop")
    for language in ("curl", "Node", "Python"):
        open_tab(page, language)
        sample = page.locator(".code-sample:visible")
        expect(sample.locator("code")).to_contain_text(key)
    sample.get_by_role("button", name="Copy").click()
    expect(sample.get_by_role("button", name="Copied")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert f'"Bearer {key}"' in copied
    compile(copied, "sample.py", "exec")


def test_a_new_key_is_copied_without_a_secure_context(page: Page, server: RunningServer) -> None:
    page.context.add_init_script(
        "Object.defineProperty(Navigator.prototype, 'clipboard', { value: undefined })"
    )
    open_dashboard(page, server, server.new_customer())
    key = make_key(page, "shop")
    page.locator("#new-key button").click()
    name = page.get_by_label("Name of the key")
    name.press("Control+v")
    expect(name).to_have_value(key)
    # Another visit transfers none of the client's modules again.
    page.goto("about:blank")
    page.goto(f"{server.address}/app/dashboard")
    expect(page.locator("#cards .figure")).to_be_visible(timeout=PATIENCE_MS)
    entries = page.evaluate(
        "performance.getEntriesByType('resource').map(({ name, transferSize }) => [name, transferSize])"
    )
    modules = {url: size for url, size in entries if "/app/assets/" in url}
    assert len(modules) > 20
    assert set(modules.values()) == {0}, modules


def test_a_page_that_the_browser_kept_is_loaded_anew(page: Page, server: RunningServer) -> None:
    open_dashboard(page, server, server.new_customer())
    key = make_key(page, "kept")
    with page.expect_navigation():
        page.evaluate("window.dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
    open_tab(page, "API")
    expect(page.locator(".key", has_text="kept")).to_be_visible(timeout=PATIENCE_MS)
    assert key not in page.content()


def test_the_chart_follows_the_period_and_loads_no_library(page: Page, server: RunningServer) -> None:
    addresses: list[str] = []
    page.on("request", lambda request: addresses.append(request.url))
    customer = server.new_customer()
    assert crop(server, customer.key).status_code == 200
    open_dashboard(page, server, customer)
    chart = page.get_by_role("img", name="Credits a day. 1 credit in 30 days")
    expect(chart).to_be_visible(timeout=PATIENCE_MS)
    page.get_by_label("7 days").check()
    expect(page.locator("#usage")).to_contain_text("1 credit in 7 days", timeout=PATIENCE_MS)
    page.get_by_label("Key", exact=True).check()
    expect(page.locator(".legend")).to_have_text(re.compile("test"), timeout=PATIENCE_MS)
    assert [
        url for url in addresses if re.search("vega|plotly|codemirror|Plot|Dataframe", url, re.IGNORECASE)
    ] == []


def test_accounts_do_not_see_each_others_data(new_page: NewPage, server: RunningServer) -> None:
    mine, other = new_page(), new_page()
    owner, stranger = server.new_customer(), server.new_customer()
    open_dashboard(mine, server, owner)
    make_key(mine, "a name to find")
    open_dashboard(other, server, stranger)
    open_tab(other, "API")
    expect(other.locator(".key")).to_have_count(1, timeout=PATIENCE_MS)
    assert "a name to find" not in other.content()
    assert owner.email not in other.content()


def test_the_dashboard_redirects_to_the_login_and_back(page: Page, server: RunningServer) -> None:
    page.goto(f"{server.address}/app/dashboard")
    assert page.url == f"{server.address}/login?next=/app/dashboard"


def test_an_event_after_the_session_ended_shows_a_message(new_page: NewPage, server: RunningServer) -> None:
    page = new_page(expect_errors=True)
    open_dashboard(page, server, server.new_customer())
    expect(page.locator("#usage svg").first).to_be_visible(timeout=PATIENCE_MS)  # its first events are done
    page.context.clear_cookies()
    page.get_by_role("button", name="Refresh").click()
    expect(page.get_by_test_id("toast-text").first).to_have_text(
        "Your session has ended. Reload the page to log in again.", timeout=PATIENCE_MS
    )


def add_webhook(page: Page, url: str) -> str:
    """Its secret."""
    open_tab(page, "Webhooks")
    page.get_by_label("URL of the webhook").fill(url)
    page.get_by_role("button", name="Add webhook").click()
    expect(page.locator(".webhook", has_text=url)).to_be_visible(timeout=PATIENCE_MS)
    shown = page.locator("#webhook-secret textarea, #webhook-secret input")
    expect(shown).to_have_value(re.compile("^whsec_"), timeout=PATIENCE_MS)
    return shown.input_value()


def test_a_webhook_is_added_tested_rotated_and_deleted(page: Page, server: RunningServer) -> None:
    open_dashboard(page, server, server.new_customer())
    first = add_webhook(page, "https://shop.invalid/hooks")
    row = page.locator(".webhook")
    row.get_by_role("button", name="Send test").click()
    # No such host exists.
    expect(row.locator(".delivery")).to_contain_text("HOST_REFUSED", timeout=PATIENCE_MS)
    row.get_by_role("button", name="Send again").click()
    expect(row.locator(".delivery")).to_have_count(2, timeout=PATIENCE_MS)
    row.get_by_role("button", name="Rotate secret").click()
    expect(row).to_contain_text("The former secret signs too", timeout=PATIENCE_MS)
    shown = page.locator("#webhook-secret textarea, #webhook-secret input")
    assert re.match("whsec_", shown.input_value())
    assert shown.input_value() != first
    row.get_by_role("button", name="Disable").click()
    expect(row).to_contain_text("Disabled.", timeout=PATIENCE_MS)
    expect(row.get_by_role("button", name="Send test")).to_have_count(0)
    row.get_by_role("button", name="Enable").click()
    expect(row.get_by_role("button", name="Send test")).to_be_visible(timeout=PATIENCE_MS)
    page.get_by_label("URL of the webhook").fill("https://169.254.169.254/")
    page.get_by_role("button", name="Add webhook").click()
    expect(page.get_by_test_id("toast-text").first).to_contain_text("public host", timeout=PATIENCE_MS)
    row.get_by_role("button", name="Delete", exact=True).click()
    row.get_by_role("button", name="Delete this webhook").click()
    expect(row).to_have_count(0, timeout=PATIENCE_MS)


def test_the_dashboard_is_accessible_and_fits_a_phone(new_page: NewPage, server: RunningServer) -> None:
    for options in ({}, {"viewport": PHONE, "color_scheme": "dark"}):
        page = new_page(**options)
        open_dashboard(page, server, server.new_customer())
        expect(page.locator("#usage svg").first).to_be_visible(timeout=PATIENCE_MS)
        assert_accessible(page)
        assert_fits(page)
        make_key(page, "seen")
        assert_accessible(page)
        add_webhook(page, "https://shop.invalid/a-long-path/of-a-webhook/that-is-wrapped-on-phones")
        page.get_by_role("button", name="Deliveries").click()
        expect(page.locator(".webhook")).to_contain_text("Nothing was sent", timeout=PATIENCE_MS)
        assert_accessible(page)
        assert_fits(page)
