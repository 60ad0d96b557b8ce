"""Choosing mails in a real browser, switching one off by its link, and what the mails look like."""

import os
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from api.alerts import preferences
from api.alerts.models import AlertKind
from api.alerts.unsubscribe_tokens import UnsubscribeTokens
from tests.api.auth.email.test_alert_mails import KEY, compose
from tests.browser.conftest import DESKTOP, PHONE, NewPage
from tests.support.browser.accessibility import assert_accessible, assert_fits
from tests.support.browser.visitors import sign_in
from tests.support.server import Customer, RunningServer

LONG_NAME = "a-key-whose-name-has-no-space-and-goes-on-and-on-0123456789-<b>bold</b>-" * 2
LOOKS = [("light", DESKTOP), ("dark", DESKTOP), ("light", PHONE), ("dark", PHONE)]


def muted(server: RunningServer, customer: Customer) -> set[AlertKind]:
    with server.database.transaction() as session:
        return preferences.muted(session, customer.account_id)


def shoot(page: Page, name: str) -> None:
    """Keep a picture for a person to look at, where BGERASER_PICTURES says."""
    if directory := os.environ.get("BGERASER_PICTURES"):
        page.screenshot(path=Path(directory) / f"{name}.png", full_page=True)


def test_mails_are_switched_off_and_on_by_keyboard(page: Page, server: RunningServer) -> None:
    customer = server.new_customer()
    sign_in(page, server, customer)
    page.goto(f"{server.address}/settings#alerts")
    box = page.get_by_role("checkbox", name="A sign-in from a new browser")
    expect(box).to_be_checked()
    expect(box).to_have_accessible_description(
        "Without this mail you do not learn that somebody else has your password or your linked account,"
        " until they change something."
    )
    expect(page.get_by_text("This server has no mail server")).to_be_visible()
    box.focus()
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/settings?saved=alerts")
    expect(page.get_by_role("status")).to_have_text("Your choice of mails was saved.")
    expect(box).not_to_be_checked()
    assert muted(server, customer) == {AlertKind.SIGN_IN}
    box.check()
    page.get_by_role("button", name="Save which mails I get").click()
    expect(box).to_be_checked()
    assert muted(server, customer) == set()


def test_the_link_of_a_mail_switches_it_off_without_signing_in(page: Page, server: RunningServer) -> None:
    customer = server.new_customer()
    secret = (server.data_dir / "secret.key").read_text().strip()
    token = UnsubscribeTokens((secret,)).token(customer.account_id, AlertKind.CREDITS_LOW)
    page.goto(f"{server.address}/unsubscribe?token={token}")
    assert_accessible(page)
    shoot(page, "unsubscribe")
    page.get_by_role("button", name="Switch off").click()
    expect(page.get_by_role("status")).to_contain_text("“Credits are running low”")
    assert_accessible(page)
    assert muted(server, customer) == {AlertKind.CREDITS_LOW}


@pytest.mark.parametrize(("scheme", "viewport"), LOOKS)
def test_the_settings_are_accessible_and_fit(
    new_page: NewPage, server: RunningServer, scheme: str, viewport: dict[str, int]
) -> None:
    page = new_page(color_scheme=scheme, viewport=viewport)
    sign_in(page, server, server.new_customer())
    page.goto(f"{server.address}/settings#alerts")
    assert_accessible(page)
    assert_fits(page)
    shoot(page, f"settings-{scheme}-{viewport['width']}")


@pytest.mark.parametrize(("scheme", "viewport"), LOOKS)
def test_every_mail_is_readable_and_fits(new_page: NewPage, scheme: str, viewport: dict[str, int]) -> None:
    """Without a request to anywhere, which `new_page` checks."""
    width = min(600, viewport["width"])
    page = new_page(color_scheme=scheme, viewport={**viewport, "width": width})
    for kind in AlertKind:
        facts = {**KEY, "name": LONG_NAME} if kind is AlertKind.KEY_ENDING else None
        page.set_content(compose(kind, facts).html)
        assert_accessible(page)
        assert_fits(page)
        background = page.evaluate("getComputedStyle(document.querySelector('.card')).backgroundColor")
        is_dark = sum(int(part) for part in background[4:-1].split(",")) < 200
        assert is_dark == (scheme == "dark")
        shoot(page, f"mail-{kind.value}-{scheme}-{width}")
