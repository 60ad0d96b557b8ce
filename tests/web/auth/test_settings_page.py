"""Account settings: confirmations, and what each change revokes."""

import csv
import io

import pytest
from sqlmodel import select

from api import cleanup
from api.auth import account_deletion, api_keys, external_identities, former_accounts, sessions, tokens
from api.auth.external_identities import Claim
from api.auth.former_accounts import FormerAddresses
from api.auth.models import BrowserSession, FormerAddress, Identity, OneTimeToken, Password, Purpose
from api.webhooks.models import WebhookDelivery, WebhookEndpoint, WebhookMessage
from billing.ledger import accounts, audit, ledger
from billing.ledger.models import Account
from tests.support.auth_rows import FORMER
from tests.support.browsing import GOOD_PASSWORD, Browser, Site, path_of
from tests.support.calling import small_picture
from tests.support.webhook_rows import make_delivery
from tests.web.auth.test_signup import ADA, account_of

NEW_PASSWORD = "nine patient herons"
BOB = "bob@example.com"


def change(browser: Browser, current: str = GOOD_PASSWORD, password: str = NEW_PASSWORD) -> int:
    browser.get("/settings")
    return browser.post("/settings/password", current=current, password=password).status_code


def test_changing_the_password_ends_other_sessions_and_replaces_this_one(
    site: Site, browser: Browser
) -> None:
    browser.join(ADA)
    other, former = site.browser(), browser.session_cookie()
    other.log_in(ADA)
    assert change(browser) == 303
    assert browser.is_signed_in()
    assert browser.session_cookie() != former
    assert not other.is_signed_in()
    assert site.browser().log_in(ADA).status_code == 401
    assert site.browser().log_in(ADA, NEW_PASSWORD).status_code == 303


def test_changing_the_password_invalidates_mailed_links(site: Site, browser: Browser) -> None:
    """Somebody who reads the mailbox asks for a link, and its owner changes the password."""
    browser.join(ADA)
    stranger = site.browser()
    stranger.get("/reset")
    stranger.post("/reset", email=ADA)
    link = path_of(stranger.link("reset/new"))
    assert stranger.get(link).status_code == 200
    assert change(browser) == 303
    assert stranger.get(link).status_code == 410
    token = link.partition("token=")[2]
    stranger.get("/reset")
    assert stranger.post("/reset/new", token=token, password="another quiet otter").status_code == 410
    assert site.browser().log_in(ADA, NEW_PASSWORD).status_code == 303


def test_adding_or_removing_an_identity_invalidates_mailed_links(site: Site, browser: Browser) -> None:
    browser.join(ADA)
    now = site.clock()
    with site.api.services.database.transaction() as session:
        account_id = account_of(site).id
        tokens.create(session, account_id, Purpose.RESET, now=now)
        external_identities.link(session, account_id, Claim("github", "1", ADA, True), now=now)
        assert session.exec(select(OneTimeToken)).all() == []
        tokens.create(session, account_id, Purpose.LOGIN, now=now)
        (linked,) = external_identities.listed(session, account_id)
        external_identities.unlink(session, account_id, linked.id)
        assert session.exec(select(OneTimeToken)).all() == []


def test_the_current_password_is_required_and_attempts_are_limited(site: Site, browser: Browser) -> None:
    browser.join(ADA)
    answers = [change(browser, "not the password") for _ in range(12)]
    assert answers == [422] * 10 + [429] * 2
    assert "Too many attempts" in browser.text
    site.clock.move(minutes=1)
    assert change(browser) == 303


def test_a_weak_new_password_is_reported_at_its_field(browser: Browser) -> None:
    browser.join(ADA)
    assert change(browser, password="password") == 422
    assert "most common" in browser.text


def test_sessions_are_listed_and_ended_one_by_one(site: Site, browser: Browser) -> None:
    browser.join(ADA)
    phone = site.browser("10.7.7.7")
    phone.log_in(ADA)
    page = browser.get("/settings").text
    assert "10.7.7.7" in page
    with site.api.services.database.transaction() as session:
        (phones,) = (
            row
            for row in sessions.listed(session, account_of(site).id, site.clock())
            if row.address == "10.7.7.7"
        )
    assert browser.post("/settings/sessions/end", session_id=phones.id).status_code == 303
    assert not phone.is_signed_in()
    assert browser.is_signed_in()
    assert browser.post("/settings/sessions/end", session_id=phones.id).status_code == 404


def test_all_other_browsers_can_be_signed_out(site: Site, browser: Browser) -> None:
    browser.join(ADA)
    others = [site.browser() for _ in range(3)]
    for other in others:
        other.log_in(ADA)
    browser.get("/settings")
    browser.post("/settings/sessions/end-others")
    assert not any(other.is_signed_in() for other in others)
    assert browser.is_signed_in()


def test_user_agents_are_escaped(site: Site, browser: Browser) -> None:
    browser.join(ADA)
    evil = site.browser()
    evil.get("/login")
    fields = {"email": ADA, "password": GOOD_PASSWORD, "csrf_token": token_in(evil)}
    evil.post_raw("/login", fields, **{"User-Agent": "<script>alert(1)</script>" + "x" * 5_000})
    page = browser.get("/settings").text
    assert "<script>alert" not in page
    assert "A browser" in page


def token_in(browser: Browser) -> str:
    return browser.text.partition('name="csrf_token" value="')[2].partition('"')[0]


def test_sessions_and_identities_of_another_account_are_not_found(site: Site, browser: Browser) -> None:
    browser.join(ADA)
    stranger = site.browser().join(BOB)
    with site.api.services.database.transaction() as session:
        ada = account_of(site).id
        external_identities.link(session, ada, Claim("github", "1", ADA, True), now=site.clock())
        (own,) = session.exec(select(BrowserSession).where(BrowserSession.account_id == ada))
        (linked,) = session.exec(select(Identity))
        session_id, identity_id = own.id, linked.id
    page = stranger.get("/settings").text
    assert session_id not in page
    assert identity_id not in page
    assert stranger.post("/settings/sessions/end", session_id=session_id).status_code == 404
    assert stranger.post("/settings/identities/remove", identity_id=identity_id).status_code == 404
    stranger.post("/settings/sessions/end-others")
    assert browser.is_signed_in()
    assert identity_id in browser.get("/settings").text


def test_the_last_sign_in_method_cannot_be_removed(site: Site, browser: Browser) -> None:
    with site.api.services.database.transaction() as session:
        account_id = external_identities.account_for(
            session, FORMER, Claim("github", "1", ADA, True), now=site.clock()
        )
        made = sessions.create(session, account_id, now=site.clock())
        (linked,) = external_identities.listed(session, account_id)
    browser.cookies.set("bgeraser_session", made.token, domain="test.local", path="/")
    browser.get("/settings")
    refused = browser.post("/settings/identities/remove", identity_id=linked.id)
    assert refused.status_code == 403
    assert "only way to sign in" in refused.text
    browser.get("/settings")
    assert browser.post("/settings/password", password=NEW_PASSWORD).status_code == 303
    browser.get("/settings")
    assert browser.post("/settings/identities/remove", identity_id=linked.id).status_code == 303
    assert site.browser().log_in(ADA, NEW_PASSWORD).status_code == 303


def test_without_a_password_a_change_needs_a_recent_login(site: Site, browser: Browser) -> None:
    with site.api.services.database.transaction() as session:
        account_id = external_identities.account_for(
            session, FORMER, Claim("github", "1", ADA, True), now=site.clock()
        )
        made = sessions.create(session, account_id, now=site.clock())
    browser.cookies.set("bgeraser_session", made.token, domain="test.local", path="/")
    site.clock.move(minutes=11)
    browser.get("/settings")
    assert browser.post("/settings/password", password=NEW_PASSWORD).status_code == 422
    assert "Log out and log in again" in browser.text
    assert "log out and log in again" in browser.get("/settings/delete").text
    assert browser.post("/settings/delete", sure="yes", csrf_token=csrf_of(made)).status_code == 422


def csrf_of(made: sessions.CreatedSession) -> str:
    return sessions.csrf_token(made.token)


def test_the_statement_is_complete_and_of_one_account(site: Site, browser: Browser) -> None:
    browser.join(ADA)
    site.browser().join(BOB)
    with site.api.services.database.transaction() as session:
        account = accounts.lock(session, account_of(site).id)
        ledger.refresh(session, account, site.clock())
        for number in range(3):
            held = ledger.hold(
                session,
                account,
                reference=f"request:{number}",
                lease_owner="t",
                lease_seconds=60,
                now=site.clock(),
            )
            ledger.capture(session, held.id, lease_owner="t", now=site.clock())
            session.refresh(account)
    answer = browser.get("/settings/statement.csv")
    assert answer.headers["content-type"].startswith("text/csv")
    assert "attachment" in answer.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [(row["kind"], row["credits"], row["balance"]) for row in rows] == [
        ("capture", "-1", "12"),
        ("capture", "-1", "13"),
        ("capture", "-1", "14"),
        ("grant", "15", "15"),
    ]
    assert site.browser().get("/settings/statement.csv").status_code == 303


def delete(browser: Browser, **fields: str) -> int:
    browser.get("/settings/delete")
    return browser.post("/settings/delete", **fields).status_code


def test_deletion_requires_the_password_and_a_confirmation(browser: Browser) -> None:
    browser.join(ADA)
    assert delete(browser, current=GOOD_PASSWORD) == 422
    assert delete(browser, current="not the password", sure="yes") == 422
    assert browser.is_signed_in()


def test_deletion_removes_personal_data_and_keeps_the_ledger_balanced(site: Site, browser: Browser) -> None:
    browser.join(ADA)
    other = site.browser()
    other.log_in(ADA)
    account_id = account_of(site).id
    notified: list[str] = []
    site.auth.before_deletion.append(lambda _session, account, _now: notified.append(account))
    with site.api.services.database.transaction() as session:
        external_identities.link(session, account_id, Claim("github", "1", ADA, True), now=site.clock())
        _, key = api_keys.create(session, account_id, "shop", site.clock())
        make_delivery(session, account_id, site.clock())
    stored = site.api.request(
        "POST", "/api/images", headers={"X-Api-Key": key}, files={"image": small_picture()}
    ).json()["data"]
    assert delete(browser, current=GOOD_PASSWORD, sure="yes") == 200
    assert "Account deleted" in browser.text
    assert notified == [account_id]
    assert not browser.is_signed_in()
    assert not other.is_signed_in()
    assert site.browser().log_in(ADA).status_code == 401
    assert site.api.request("GET", "/api/account", headers={"X-Api-Key": key}).status_code in (401, 403)
    picture = site.api.request("GET", stored["imageUrl"].removeprefix("http://test"))
    assert picture.status_code in (404, 410)
    with site.api.services.database.transaction() as session:
        personal = (Password, Identity, OneTimeToken, BrowserSession)
        for table in (*personal, WebhookEndpoint, WebhookMessage, WebhookDelivery):
            assert session.exec(select(table)).all() == []
        assert ADA not in repr(session.get_one(Account, account_id).model_dump())
        assert audit.audit(session) == []
    again = site.browser().join(ADA)
    assert again.is_signed_in()
    assert account_of(site).id != account_id


def test_images_of_a_deleted_account_are_deleted(site: Site, browser: Browser) -> None:
    browser.join(ADA)
    with site.api.services.database.transaction() as session:
        _, key = api_keys.create(session, account_of(site).id, "shop", site.clock())
    site.api.request("POST", "/api/images", headers={"X-Api-Key": key}, files={"image": small_picture()})
    delete(browser, current=GOOD_PASSWORD, sure="yes")
    site.clock.move(minutes=3)
    services = site.api.services
    deleted = site.api.call(
        cleanup.delete_expired_images, services.database, services.storage.delete, site.clock()
    )
    assert deleted == 1


@pytest.mark.parametrize("path", ["/settings", "/settings/delete", "/settings/statement.csv"])
def test_settings_redirect_to_the_login_and_back(browser: Browser, path: str) -> None:
    answer = browser.get(path)
    assert answer.status_code == 303
    assert answer.headers["location"] == f"/login?next={path.replace('/', '%2F')}"


def test_pages_are_never_cached(site: Site, browser: Browser) -> None:
    browser.join(ADA)
    for path in ("/login", "/signup", "/reset", "/settings", "/settings/delete", "/settings/statement.csv"):
        answer = (browser if path.startswith("/settings") else site.browser()).get(path)
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-frame-options"] == "DENY"


def credits_of(site: Site, email: str = ADA) -> int:
    with site.api.services.database.transaction() as session:
        account = accounts.lock(session, accounts.find_by_email(session, email).id)
        ledger.refresh(session, account, site.clock())
        return account.available


def test_signing_up_again_after_deletion_grants_no_second_month_of_credits(site: Site) -> None:
    started_at = site.clock()
    for _ in range(3):
        browser = site.browser().join(ADA)
        found = credits_of(site)
        assert found == (15 if site.clock() == started_at else 0)
        browser.get("/settings/delete")
        assert browser.post("/settings/delete", sure="yes", current=GOOD_PASSWORD).status_code == 200
        site.clock.move(days=2)
    with site.api.services.database.transaction() as session:
        (kept,) = session.exec(select(FormerAddress))
        assert ADA not in str(kept)
    site.browser().join(ADA)
    assert credits_of(site) == 0
    # The period of the first account continues: the next one starts on the same day of the month.
    site.clock.move(days=24)
    assert credits_of(site) == 15
    with site.api.services.database.transaction() as session:
        former_accounts.delete_expired(session, site.clock(), limit=10)
        assert session.exec(select(FormerAddress)).all() == []


@pytest.mark.parametrize(
    ("secrets", "is_known"), [(("old",), True), (("new", "old"), True), (("new",), False)]
)
def test_a_former_address_is_recognised_after_a_secret_rotation(
    site: Site, secrets: tuple[str, ...], is_known: bool
) -> None:
    now = site.clock()
    with site.api.services.database.transaction() as session:
        account = accounts.create(session, email=ADA, now=now)
        ledger.refresh(session, account, now)
        account_deletion.delete_account(session, FormerAddresses(("old",)), account.id, now=now)
        again = accounts.create(session, email=ADA, now=now)
        FormerAddresses(secrets).continue_period(session, again, now)
        assert (again.period_ends_at is not None) == is_known


def test_deleting_an_unverified_account_leaves_no_record(site: Site) -> None:
    with site.api.services.database.transaction() as session:
        account = accounts.create(session, email=ADA, now=site.clock(), is_verified=False)
        site.api.services.former.remember(session, account, site.clock())
        assert session.exec(select(FormerAddress)).all() == []
