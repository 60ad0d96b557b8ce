"""Signing up, in and out in a real browser: by keyboard, on a phone, in dark mode."""

import secrets
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import PHONE, NewPage
from tests.support.browser.accessibility import assert_accessible, assert_fits
from tests.support.mailbox import Mailbox, running_mailbox
from tests.support.oidc_provider import Person, Provider, running_provider
from tests.support.server import RunningServer, ServerFactory, free_port

PASSWORD = "seven quiet otters"
NEW_PASSWORD = "nine patient herons"


@pytest.fixture(scope="module")
def mailbox() -> Iterator[Mailbox]:
    with running_mailbox() as box:
        yield box


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with running_provider() as running:
        yield running


@pytest.fixture(scope="module")
def mailing_server(
    tmp_path_factory: pytest.TempPathFactory,
    server_factory: ServerFactory,
    mailbox: Mailbox,
    provider: Provider,
) -> Iterator[RunningServer]:
    """A server that sends mail and knows other places to sign in."""
    settings = {f"BGERASER_{name.upper()}": value for name, value in provider.settings().items()}
    port = free_port()
    settings |= {
        "BGERASER_SMTP_URL": mailbox.url,
        "BGERASER_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "BGERASER_WORKERS": "1",
    }
    with server_factory(tmp_path_factory.mktemp("mailing"), settings, port) as running:
        yield running
        assert running.drifts() == []
        logged = [line for line in running.log_text().splitlines() if line.startswith("{")]
        assert len(logged) > 10
        assert not any(
            secret in line for line in logged for secret in ("token=", "code=", PASSWORD, NEW_PASSWORD)
        )


def new_email() -> str:
    return f"{secrets.token_hex(5)}@example.com"


def fill_in(page: Page, email: str, password: str) -> None:
    page.get_by_label("Email address").fill(email)
    page.get_by_label("Password").fill(password)


def submit(page: Page, name: str) -> None:
    page.get_by_role("main").get_by_role("button", name=name).click()


def sign_up(page: Page, server: RunningServer, email: str) -> None:
    page.goto(f"{server.address}/signup")
    fill_in(page, email, PASSWORD)
    submit(page, "Sign up")
    expect(page.get_by_role("heading", name="Check your email")).to_be_visible()


def join(page: Page, server: RunningServer, email: str) -> None:
    """Signs up and in where the server shows its links."""
    sign_up(page, server, email)
    page.get_by_role("link", name="/verify?token=").click()
    submit(page, "Confirm")
    page.wait_for_url("**/app/")


def test_signing_up_leads_to_the_editor_with_free_credits(page: Page, server: RunningServer) -> None:
    email = new_email()
    sign_up(page, server, email)
    expect(page.get_by_text("this server does not send email")).to_be_visible()
    page.get_by_role("link", name="/verify?token=").click()
    submit(page, "Confirm")
    page.wait_for_url("**/app/")
    page.goto(f"{server.address}/settings")
    expect(page.get_by_text(f"Signed in as {email}")).to_be_visible()


def test_signing_up_by_email(page: Page, mailing_server: RunningServer, mailbox: Mailbox) -> None:
    email = new_email()
    sign_up(page, mailing_server, email)
    expect(page.get_by_text("Development")).to_have_count(0)
    page.goto(mailbox.link("verify"))
    submit(page, "Confirm")
    page.wait_for_url("**/app/")
    page.goto(f"{mailing_server.address}/settings")
    expect(page.get_by_text(email)).to_be_visible()
    expect(page.get_by_text("not confirmed")).to_have_count(0)


def test_resetting_a_forgotten_password(
    new_page: NewPage, mailing_server: RunningServer, mailbox: Mailbox
) -> None:
    page, email = new_page(), new_email()
    sign_up(page, mailing_server, email)
    page.goto(mailbox.link("verify"))
    submit(page, "Confirm")
    other = new_page(expect_errors=True)
    other.goto(f"{mailing_server.address}/login")
    fill_in(other, email, "not the password")
    submit(other, "Log in")
    expect(other.get_by_role("alert")).to_have_text("The email address or the password is wrong.")
    other.get_by_role("link", name="Forgot your password?").click()
    other.get_by_label("Email address").fill(email)
    submit(other, "Send the link")
    link = mailbox.link("reset/new")
    other.goto(link)
    other.get_by_label("New password").fill(NEW_PASSWORD)
    submit(other, "Change the password")
    expect(other.get_by_role("status")).to_contain_text("Your password has been changed")
    other.goto(link)
    expect(other.get_by_role("heading", name="This link does not work")).to_be_visible()
    page.goto(f"{mailing_server.address}/settings")
    page.wait_for_url("**/login?next=*")
    fill_in(page, email, NEW_PASSWORD)
    submit(page, "Log in")
    page.wait_for_url("**/settings")
    mailbox.next()  # The notice that the password was changed.


def test_signing_in_with_a_provider_and_out(
    new_page: NewPage, mailing_server: RunningServer, provider: Provider
) -> None:
    page, email = new_page(), new_email()
    provider.person = Person(secrets.token_hex(4), email)
    page.goto(f"{mailing_server.address}/login?next=/settings")
    page.get_by_role("link", name="Continue with Example ID").click()
    page.get_by_role("link", name=f"Continue as {email}").click()
    page.wait_for_url("**/settings")
    expect(page.get_by_text(f"Signed in as {email}")).to_be_visible()
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url(f"{mailing_server.address}/")
    expect(page.get_by_role("link", name="Log in")).to_be_visible()
    provider.person = Person(secrets.token_hex(4), email, is_verified=False)
    refused = new_page(expect_errors=True)
    refused.goto(f"{mailing_server.address}/login")
    refused.get_by_role("link", name="Continue with Example ID").click()
    refused.get_by_role("link", name=f"Continue as {email}").click()
    expect(refused.get_by_role("alert")).to_contain_text("has not confirmed your e-mail address")


OPEN_A_SAMPLE = """async () => {
    const session = (await (await fetch("/editor/session")).json()).data;
    const headers = {"Content-Type": "application/json", "X-CSRF-Token": session.csrfToken};
    const body = JSON.stringify({sample: "coffee"});
    return (await fetch("/editor/projects", {method: "POST", headers, body})).status;
}"""
COUNT_PROJECTS = "async () => (await (await fetch('/editor/projects')).json()).data.length"


def test_the_projects_of_a_guest_belong_to_the_new_account_under_another_session(
    new_page: NewPage, server: RunningServer
) -> None:
    page, stranger = new_page(), new_page()
    page.goto(f"{server.address}/login")
    assert page.evaluate(OPEN_A_SAMPLE) == 200
    before = session_of(page)
    assert before is not None
    join(page, server, new_email())
    assert session_of(page) not in (None, before)
    page.goto(f"{server.address}/settings")
    assert page.evaluate(COUNT_PROJECTS) == 1
    join(stranger, server, new_email())
    stranger.goto(f"{server.address}/settings")
    assert stranger.evaluate(COUNT_PROJECTS) == 0


def session_of(page: Page) -> str | None:
    for cookie in page.context.cookies():
        if cookie["name"] == "bgeraser_session":
            assert cookie["httpOnly"]
            assert cookie["sameSite"] == "Lax"
            return cookie["value"]
    return None


def test_every_form_works_by_keyboard(page: Page, server: RunningServer) -> None:
    """The first field has the focus; Tab reaches every control; Enter submits."""
    email = new_email()
    page.goto(f"{server.address}/signup")
    page.keyboard.type(email)
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Check your email")).to_be_visible()
    press_tab_until(page, "/verify?token=")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Confirm")).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url("**/app/")
    page.goto(f"{server.address}/settings")
    press_tab_until(page, "Delete the account")
    page.keyboard.press("Enter")
    page.wait_for_url("**/settings/delete")
    press_tab_until(page, "current", "id")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Account deleted")).to_be_visible()


def press_tab_until(page: Page, wanted: str, of: str = "textContent") -> None:
    for _ in range(40):
        page.keyboard.press("Tab")
        if wanted in page.evaluate(f"String(document.activeElement.{of})"):
            outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline != "none", f"{wanted} does not show that it has the focus"
            return
    raise AssertionError(f"Tab never reaches {wanted}")


def test_settings_sign_out_other_browsers_and_change_the_password(
    new_page: NewPage, server: RunningServer
) -> None:
    page, email = new_page(expect_errors=True), new_email()
    join(page, server, email)
    other = new_page()
    other.goto(f"{server.address}/login?next=/settings")
    fill_in(other, email, PASSWORD)
    submit(other, "Log in")
    other.wait_for_url("**/settings")
    page.goto(f"{server.address}/settings")
    page.get_by_role("button", name="Sign out Chrome on Linux").click()
    expect(page.get_by_role("status")).to_have_text("The browser was signed out.")
    other.reload()
    other.wait_for_url("**/login?next=*")
    page.get_by_label("Current password").fill(PASSWORD)
    page.get_by_label("New password").fill("password1")
    submit(page, "Change the password")
    expect(page.get_by_label("New password")).to_have_accessible_description(
        "This is one of the most common passwords, which are tried first. Choose another one."
    )
    page.get_by_label("Current password").fill(PASSWORD)
    page.get_by_label("New password").fill(NEW_PASSWORD)
    submit(page, "Change the password")
    expect(page.get_by_role("status")).to_contain_text("Your password has been changed")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the statement").click()
    assert download.value.suggested_filename == "bgeraser-statement.csv"


@pytest.mark.parametrize(
    ("scheme", "width"),
    [
        ("light", "desktop"),
        ("dark", "phone"),
        pytest.param("dark", "desktop", marks=pytest.mark.long),
        pytest.param("light", "phone", marks=pytest.mark.long),
    ],
)
def test_every_page_is_accessible_and_fits_its_viewport(
    new_page: NewPage, mailing_server: RunningServer, server: RunningServer, scheme: str, width: str
) -> None:
    options = {"viewport": PHONE} if width == "phone" else {}
    page = new_page(expect_errors=True, color_scheme=scheme, **options)

    def check() -> None:
        assert_accessible(page)
        assert_fits(page)

    for path in (
        "/login",
        "/signup",
        "/reset",
        "/verify?token=x",
        "/reset/new?token=x",
        "/oauth/oidc/callback",
    ):
        page.goto(mailing_server.address + path)
        check()
    page.goto(f"{mailing_server.address}/login")
    fill_in(page, "nobody@example.com", "not the password")
    submit(page, "Log in")
    expect(page.get_by_role("alert")).to_be_visible()
    check()
    page.goto(f"{server.address}/signup")
    fill_in(page, "nobody@example.com", "password1")
    submit(page, "Sign up")
    check()
    sign_up(page, server, new_email())
    check()
    page.get_by_role("link", name="/verify?token=").click()
    check()
    submit(page, "Confirm")
    page.wait_for_url("**/app/")
    for path in ("/settings", "/settings/delete"):
        page.goto(server.address + path)
        check()
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(int(part) for part in dark[4:-1].split(",")) < 200) == (scheme == "dark")
