"""Password reset: single-use links, and no account enumeration."""

from api.auth import api_keys, external_identities
from api.auth.external_identities import Claim
from billing.ledger import accounts
from tests.support.auth_rows import FORMER
from tests.support.browsing import GOOD_PASSWORD, Browser, Site, path_of
from tests.support.mailbox import Mailbox
from tests.web.auth.test_signup import ADA, account_of, visible

NEW_PASSWORD = "nine patient herons"


def request_reset(browser: Browser, email: str = ADA) -> str:
    browser.get("/reset")
    page = browser.post("/reset", email=email)
    assert page.status_code == 200
    return page.text


def choose(browser: Browser, link: str, password: str = NEW_PASSWORD) -> int:
    browser.get(path_of(link))
    return browser.post("/reset/new", token=link.partition("token=")[2], password=password).status_code


def test_a_reset_signs_in_this_browser_and_out_all_others(site: Site, browser: Browser) -> None:
    browser.join(ADA)
    forgetful = site.browser()
    request_reset(forgetful)
    assert choose(forgetful, forgetful.link("reset/new")) == 303
    assert forgetful.is_signed_in()
    assert not browser.is_signed_in()
    assert site.browser().log_in(ADA).status_code == 401
    assert site.browser().log_in(ADA, NEW_PASSWORD).status_code == 303


def test_the_page_is_the_same_for_an_address_without_an_account(mailing_site: Site, mailbox: Mailbox) -> None:
    mailing_site.browser().sign_up(ADA)
    mailbox.next()
    known = request_reset(mailing_site.browser())
    unknown = request_reset(mailing_site.browser(), "bob@example.com")
    assert visible(unknown).replace("bob@", "ada@") == visible(known)
    assert mailbox.next()["To"] == ADA
    mailing_site.auth.close()
    assert mailbox.is_empty()


def test_a_link_works_once_within_an_hour_and_its_use_invalidates_the_others(
    site: Site, browser: Browser
) -> None:
    browser.join(ADA)
    links = []
    for _ in range(2):
        request_reset(browser)
        links.append(browser.link("reset/new"))
    assert choose(browser, links[0]) == 303
    assert browser.get(path_of(links[0])).status_code == 410
    assert browser.get(path_of(links[1])).status_code == 410
    request_reset(browser)
    late = browser.link("reset/new")
    site.clock.move(hours=1)
    assert browser.get(path_of(late)).status_code == 410
    assert (
        browser.post("/reset/new", token=late.partition("token=")[2], password=NEW_PASSWORD).status_code
        == 410
    )


def test_a_link_that_expires_while_the_form_is_open_is_reported(site: Site, browser: Browser) -> None:
    browser.join(ADA)
    request_reset(browser)
    link = browser.link("reset/new")
    browser.get(path_of(link))
    site.clock.move(hours=2)
    page = browser.post("/reset/new", token=link.partition("token=")[2], password=NEW_PASSWORD)
    assert page.status_code == 410
    assert "This link does not work" in page.text


def test_a_weak_password_does_not_consume_the_link(site: Site, browser: Browser) -> None:
    browser.join(ADA)
    request_reset(browser)
    link = browser.link("reset/new")
    assert choose(browser, link, "short") == 422
    assert "at least 8 characters" in browser.text
    assert choose(browser, link) == 303


def test_a_reset_verifies_the_address_and_revokes_earlier_access(
    mailing_site: Site, mailbox: Mailbox
) -> None:
    """Somebody signed up with Ada's address, knows the password and made a key; Ada takes the account."""
    stranger = mailing_site.browser()
    stranger.sign_up(ADA)
    mailbox.next()
    stranger.log_in(ADA)
    account_id = account_of(mailing_site).id
    with mailing_site.api.services.database.transaction() as session:
        api_keys.create(session, account_id, "stranger's", mailing_site.clock())
    ada = mailing_site.browser()
    request_reset(ada)
    assert choose(ada, mailbox.link("reset/new")) == 303
    assert not stranger.is_signed_in()
    assert mailing_site.browser("10.1.1.1").log_in(ADA, GOOD_PASSWORD).status_code == 401
    with mailing_site.api.services.database.transaction() as session:
        assert [key.revoked_at is not None for key in api_keys.listed(session, account_id)] == [True]
        account = accounts.lock(session, account_id)
        assert account.verified_at == mailing_site.clock()
        claim = Claim("github", "1", ADA, True)
        assert external_identities.account_for(session, FORMER, claim, now=mailing_site.clock()) == account_id
    assert mailbox.next()["Subject"] == "Your password was changed"


def test_a_reset_keeps_the_keys_of_a_verified_account(site: Site, browser: Browser) -> None:
    browser.join(ADA)
    with site.api.services.database.transaction() as session:
        api_keys.create(session, account_of(site).id, "shop", site.clock())
    request_reset(browser)
    assert choose(browser, browser.link("reset/new")) == 303
    with site.api.services.database.transaction() as session:
        assert [key.revoked_at for key in api_keys.listed(session, account_of(site).id)] == [None]


def test_messages_to_one_address_are_limited_without_revealing_it(
    mailing_site: Site, mailbox: Mailbox
) -> None:
    mailing_site.browser().sign_up(ADA)
    pages = {visible(request_reset(mailing_site.browser(f"10.0.0.{number}"))) for number in range(8)}
    assert len(pages) == 1
    for _ in range(5):
        mailbox.next()
    mailing_site.auth.close()
    assert mailbox.is_empty()
