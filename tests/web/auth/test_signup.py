"""Signing up and verifying the address, with and without email."""

import re
from urllib.parse import quote

import pytest
from sqlmodel import select

from api.auth import throttle
from api.auth.models import OneTimeToken, Password
from billing.ledger import accounts, ledger
from billing.ledger.models import Account
from tests.support.browsing import GOOD_PASSWORD, Browser, Site, opened_site, path_of
from tests.support.mailbox import Mailbox, part

ADA = "ada@example.com"


def account_of(site: Site, email: str = ADA) -> Account:
    with site.api.services.database.transaction() as session:
        return accounts.find_by_email(session, email)


def credits_of(site: Site, email: str = ADA) -> int:
    with site.api.services.database.transaction() as session:
        account = accounts.lock(session, accounts.find_by_email(session, email).id)
        ledger.refresh(session, account, site.clock())
        return account.available


def test_in_development_the_page_shows_the_link_and_credits_are_granted_at_once(
    site: Site, browser: Browser
) -> None:
    page = browser.sign_up("Ada@Example.com ")
    assert page.status_code == 200
    assert "Development" in page.text
    assert credits_of(site) == 15
    entered = browser.verify(browser.link("verify"))
    assert entered.headers["location"] == "/app/"
    assert browser.is_signed_in()
    assert ADA in browser.text


def test_with_email_the_credits_are_granted_when_the_address_is_verified(
    mailing_site: Site, mailbox: Mailbox
) -> None:
    browser = mailing_site.browser()
    page = browser.sign_up(ADA)
    assert "token=" not in page.text
    assert "Development" not in page.text
    assert credits_of(mailing_site) == 0
    link = mailbox.link("verify")
    assert credits_of(mailing_site) == 0
    assert browser.verify(link).headers["location"] == "/app/"
    assert credits_of(mailing_site) == 15
    assert browser.is_signed_in()


@pytest.mark.parametrize("wanted", ["/plans?from=page", "/app/#prj_0123"])
def test_the_page_that_was_wanted_is_reached_after_the_confirmation(
    mailing_site: Site, mailbox: Mailbox, wanted: str
) -> None:
    browser = mailing_site.browser()
    form = browser.get(f"/signup?next={quote(wanted, safe='')}")
    assert f'name="next" value="{wanted}"' in form.text
    browser.post("/signup", email=ADA, password=GOOD_PASSWORD, next=wanted)
    link = mailbox.link("verify")
    page = browser.get(path_of(link))
    assert f'name="next" value="{wanted}"' in page.text
    token = link.partition("token=")[2].partition("&")[0]
    entered = browser.post("/verify", token=token, next=wanted)
    assert entered.headers["location"] == wanted


@pytest.mark.parametrize(
    "elsewhere", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:x"]
)
def test_the_confirmation_never_leads_to_another_site(
    mailing_site: Site, mailbox: Mailbox, elsewhere: str
) -> None:
    browser = mailing_site.browser()
    browser.get("/signup")
    browser.post("/signup", email=ADA, password=GOOD_PASSWORD, next=elsewhere)
    link = mailbox.link("verify")
    assert "evil" not in link
    page = browser.get(f"{path_of(link)}&next={quote(elsewhere)}")
    assert "evil" not in page.text
    entered = browser.post("/verify", token=link.partition("token=")[2], next=elsewhere)
    assert entered.headers["location"] == "/app/"


def test_opening_the_link_does_not_consume_it(mailing_site: Site, mailbox: Mailbox) -> None:
    browser = mailing_site.browser()
    browser.sign_up(ADA)
    link = mailbox.link("verify")
    scanner = mailing_site.browser()
    for _ in range(3):
        assert scanner.get(path_of(link)).status_code == 200
        assert scanner.head(path_of(link)).status_code == 200
    assert account_of(mailing_site).verified_at is None
    assert browser.verify(link).status_code == 303


def test_another_browser_verifies_the_address_but_must_log_in(mailing_site: Site, mailbox: Mailbox) -> None:
    """Otherwise one could sign up with another person's address and have that person confirm it."""
    mailing_site.browser().sign_up(ADA)
    other = mailing_site.browser()
    answer = other.verify(mailbox.link("verify"))
    assert answer.status_code == 200
    assert "Log in" in answer.text
    assert account_of(mailing_site).verified_at is not None
    assert not other.is_signed_in()
    assert other.log_in(ADA).status_code == 303


def test_a_link_works_once_within_a_day(mailing_site: Site, mailbox: Mailbox) -> None:
    browser = mailing_site.browser()
    browser.sign_up(ADA)
    link = mailbox.link("verify")
    assert browser.verify(link).status_code == 303
    assert browser.get(path_of(link)).status_code == 410
    assert browser.post("/verify", token=link.partition("token=")[2]).status_code in (403, 410)
    late = mailing_site.browser()
    late.sign_up("late@example.com")
    late_link = mailbox.link("verify")
    mailing_site.clock.move(hours=24)
    assert late.get(path_of(late_link)).status_code == 410
    assert account_of(mailing_site, "late@example.com").verified_at is None


@pytest.mark.parametrize("token", ["", "x", "é", "x" * 5_000])
def test_a_broken_link_is_reported_on_the_page(browser: Browser, token: str) -> None:
    page = browser.get(f"/verify?token={token}")
    assert page.status_code == 410
    assert "This link does not work" in page.text


def test_a_taken_address_gets_the_same_page_and_only_the_message_differs(
    mailing_site: Site, mailbox: Mailbox
) -> None:
    first = mailing_site.browser().sign_up(ADA)
    mailbox.next()
    before = account_of(mailing_site)
    second = mailing_site.browser().sign_up(ADA, "another password of mine")
    assert visible(second.text) == visible(first.text)
    assert second.status_code == first.status_code
    message = mailbox.next()
    assert message["Subject"] == "You already have an account"
    assert "/reset/new?token=" in part(message, "plain")
    assert account_of(mailing_site) == before
    assert mailing_site.browser().log_in(ADA, "another password of mine").status_code == 401
    assert mailing_site.browser().log_in(ADA).status_code == 303


def test_a_taken_address_costs_the_same_hash(mailing_site: Site, mailbox: Mailbox) -> None:
    hashed: list[str] = []
    real = mailing_site.auth.hashing.hash

    async def counted(password: str) -> str:
        hashed.append(password)
        return await real(password)

    object.__setattr__(mailing_site.auth.hashing, "hash", counted)
    for _ in range(2):
        mailing_site.browser().sign_up(ADA)
        mailbox.next()
    assert len(hashed) == 2


@pytest.mark.parametrize(
    ("password", "expected"),
    [
        ("short", "at least 8 characters"),
        ("", "at least 8 characters"),
        ("Password123", "most common"),
        ("qwertyuiop", "most common"),
        ("ada@example.com", "too close"),
        ("bgeraser2026", "too close"),
        ("abababababab", "too few characters"),
        ("x" * 129, "at most 128 characters"),
    ],
)
def test_a_weak_password_is_reported_at_its_field(browser: Browser, password: str, expected: str) -> None:
    page = browser.sign_up(ADA, password)
    assert page.status_code == 422
    assert expected in page.text
    assert 'aria-invalid="true"' in page.text
    assert password in ("", ADA) or password not in page.text


@pytest.mark.parametrize(
    "email",
    [
        "",
        "ada",
        "ada@",
        "@x.org",
        "a b@x.org",
        "ada@x",
        "a@x.org\r\nBcc: b@x.org",
        "a" * 250 + "@x.org",
        "<script>@x.org",
    ],
)
def test_an_invalid_address_is_reported_at_its_field(browser: Browser, email: str) -> None:
    page = browser.sign_up(email)
    assert page.status_code == 422
    assert "This is not a valid email address" in page.text
    assert "<script>@" not in page.text


@pytest.mark.parametrize(
    "password", ["ÄÖÜ ärger 12", "密码密码和更多的字符", "🦦🦦 otters 🦦🦦", "x" * 60 + " yz" + "w" * 65]
)
def test_a_password_may_contain_any_characters(site: Site, browser: Browser, password: str) -> None:
    browser.join(ADA, password)
    assert site.browser().log_in(ADA, password).status_code == 303


def test_a_password_of_two_megabytes_is_refused_before_it_is_read(browser: Browser) -> None:
    page = browser.sign_up(ADA, "x" * 2_000_000)
    assert page.status_code == 413
    assert "text/html" in page.headers["content-type"]
    assert browser.log_in(ADA, "x" * 2_000_000).status_code == 413


def test_a_public_server_without_email_refuses_sign_ups(tmp_path_factory: pytest.TempPathFactory) -> None:
    place = tmp_path_factory.mktemp("public")
    with opened_site(place, public_url="https://pictures.example.com") as site:
        browser = site.browser()
        assert "cannot send email" in browser.get("/signup").text
        assert "<form" not in browser.text
        assert browser.post("/signup", email=ADA, password=GOOD_PASSWORD).status_code == 403


def test_messages_to_one_address_are_limited(mailing_site: Site, mailbox: Mailbox) -> None:
    for number in range(throttle.MAILS.attempts + 3):
        page = mailing_site.browser(f"10.0.0.{number}").sign_up(ADA)
        assert page.status_code == 200
    for _ in range(throttle.MAILS.attempts):
        mailbox.next()
    mailing_site.auth.close()  # Waits for what is on its way.
    assert mailbox.is_empty()


def test_many_sign_ups_from_one_address_are_throttled(site: Site) -> None:
    answers = [site.browser().sign_up(f"a{number}@example.com") for number in range(23)]
    assert [answer.status_code for answer in answers] == [200] * 20 + [429] * 3
    assert "Try again in" in answers[-1].text
    assert site.browser("10.0.0.2").sign_up("b@example.com").status_code == 200
    site.clock.move(minutes=1)
    assert site.browser().sign_up("c@example.com").status_code == 200


def test_another_link_can_be_requested_until_the_address_is_verified(
    mailing_site: Site, mailbox: Mailbox
) -> None:
    browser = mailing_site.browser()
    browser.sign_up(ADA)
    mailbox.next()
    browser.log_in(ADA)
    assert "not confirmed yet" in browser.get("/settings").text
    browser.post("/verify/resend")
    assert browser.verify(mailbox.link("verify")).headers["location"] == "/app/"
    assert "not confirmed yet" not in browser.get("/settings").text
    assert browser.post("/verify/resend").headers["location"] == "/settings"
    assert mailbox.is_empty()


def test_stored_values_do_not_grant_access(site: Site, browser: Browser) -> None:
    browser.sign_up(ADA)
    token = browser.link("verify").partition("token=")[2]
    with site.api.services.database.transaction() as session:
        stored = [repr(row.model_dump()) for row in session.exec(select(OneTimeToken))]
        stored += [repr(row.model_dump()) for row in session.exec(select(Password))]
    assert len(stored) == 2
    assert not any(secret in row for row in stored for secret in (token, GOOD_PASSWORD))
    assert any("$argon2id$" in row for row in stored)


def visible(page: str) -> str:
    """The page without what differs between any two answers."""
    return re.sub(r'(nonce="|value="|req_)[^"<]*', r"\1", page)
