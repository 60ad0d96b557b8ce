"""Keys with limits and test keys in a real browser: made, used, changed, and counted."""

import re

import httpx
from playwright.sync_api import Page, expect

from tests.browser.conftest import PHONE, NewPage
from tests.browser.test_dashboard import PATIENCE_MS, crop, open_dashboard, open_tab
from tests.support.browser.accessibility import assert_accessible, assert_fits
from tests.support.ml.photos import jpeg_bytes, open_bytes, photo
from tests.support.server import RunningServer


def generate(page: Page, name: str) -> str:
    page.get_by_label("Name of the key").fill(name)
    page.get_by_role("button", name="Generate API Key").click()
    expect(page.locator(".key", has_text=name)).to_be_visible(timeout=PATIENCE_MS)
    return page.locator("#new-key textarea, #new-key input").input_value()


def limit_new_key(page: Page, *, credits: str, only: str) -> None:
    """Fill in the fields for the next key."""
    page.get_by_role("button", name="Limit what the key may do").click()
    fields = page.locator("#key-limits")
    fields.get_by_label("Credits a month at most").fill(credits)
    for box in fields.get_by_role("checkbox").all():
        box.uncheck()
    fields.get_by_role("checkbox", name=only).check()


def test_a_limited_key_stops_at_its_limit_and_is_counted(page: Page, server: RunningServer) -> None:
    open_dashboard(page, server, server.new_customer())
    open_tab(page, "API")
    limit_new_key(page, credits="2", only="Crop")
    key = generate(page, "partner")
    row = page.locator(".key", has_text="partner")
    expect(row).to_contain_text("0 of 2 credits used this month")
    expect(row).to_contain_text("May use: Crop.")
    assert_accessible(page)

    assert [crop(server, key).status_code for _ in range(3)] == [200, 200, 402]
    upscaled = httpx.post(
        f"{server.address}/api/tools/upscale",
        headers={"Authorization": f"Bearer {key}"},
        files={"image": jpeg_bytes(photo("chelsea")[:40, :40])},
    )
    assert (upscaled.status_code, upscaled.json()["error"]["code"]) == (403, "FORBIDDEN")

    page.reload()
    table = page.locator("#usage-by-key")
    expect(table).to_contain_text(re.compile(r"partner \(bge_live_\w{4}…\)\s*2\s*2\s*2"), timeout=PATIENCE_MS)
    open_tab(page, "API")
    row = page.locator(".key", has_text="partner")
    expect(row).to_contain_text("2 of 2 credits used this month", timeout=PATIENCE_MS)
    expect(row).to_contain_text("from 127.0.0.1")

    row.get_by_role("button", name="Limits").click()
    row.get_by_label("Credits a month at most").fill("3")
    row.get_by_label("Last day on which it works").fill("2999-12-31")
    row.get_by_role("button", name="Save limits").click()
    expect(row).to_contain_text("2 of 3 credits used this month", timeout=PATIENCE_MS)
    expect(row).to_contain_text("works until the end of 2999-12-31 UTC")
    assert [crop(server, key).status_code for _ in range(2)] == [200, 402]


def test_impossible_limits_are_explained(page: Page, server: RunningServer) -> None:
    open_dashboard(page, server, server.new_customer())
    open_tab(page, "API")
    page.get_by_role("button", name="Limit what the key may do").click()
    page.locator("#key-limits").get_by_label("Last day on which it works").fill("2020-01-01")
    page.get_by_role("button", name="Generate API Key").click()
    expect(page.get_by_text("must not be in the past")).to_be_visible(timeout=PATIENCE_MS)
    expect(page.locator(".key")).to_have_count(1)  # the one that the account had before


def test_a_test_key_gives_marked_results_for_nothing(page: Page, server: RunningServer) -> None:
    customer = server.new_customer()
    open_dashboard(page, server, customer)
    open_tab(page, "API")
    page.get_by_role("radio", name="Test key").check()
    expect(page.locator("#key-limits").get_by_label("Credits a month at most")).to_be_hidden()
    key = generate(page, "trial")
    assert key.startswith("bge_test_")
    expect(page.locator(".key", has_text="trial")).to_contain_text("test key")

    answer = httpx.post(
        f"{server.address}/api/tools/bg-removal",
        headers={"Authorization": f"Bearer {key}"},
        files={"image": jpeg_bytes(photo("coffee"))},
        timeout=120,
    ).json()["data"]
    assert (answer["creditsCharged"], answer["creditsRemaining"]) == (0, 15)
    assert max(answer["width"], answer["height"]) <= 512
    page.set_content(f'<img alt="" src="{answer["imageUrl"]}">')
    page.wait_for_function("document.images[0].naturalWidth > 0")
    assert page.evaluate("document.images[0].naturalWidth") == 512
    result = open_bytes(httpx.get(answer["imageUrl"]).content)
    # The corner is background, so only the mark is seen there.
    corner = result[:60, :120, 3]
    assert 0.02 < (corner > 40).mean() < 0.6

    page.goto(f"{server.address}/app/dashboard")
    expect(page.locator("#usage-by-key")).to_contain_text("free of charge", timeout=PATIENCE_MS)
    expect(page.locator("#usage-by-key")).to_contain_text(re.compile(r"trial \(bge_test_\w{4}…\)\s*1"))
    expect(page.locator("#cards .figure")).to_contain_text("15 left of 15")
    assert server.balance(customer) == (15, 0)


def test_the_keys_fit_on_a_phone(new_page: NewPage, server: RunningServer) -> None:
    page = new_page(viewport=PHONE)
    open_dashboard(page, server, server.new_customer())
    open_tab(page, "API")
    name = "a key with a rather long name of some fifty letters"
    generate(page, name)
    row = page.locator(".key", has_text=name)
    row.get_by_role("button", name="Limits").click()
    expect(row.get_by_label("Last day on which it works")).to_be_visible(timeout=PATIENCE_MS)
    assert_accessible(page)
    assert_fits(page)
