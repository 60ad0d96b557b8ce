"""Signing in with a real local OpenID provider, and every refused variation."""

import hashlib
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from itsdangerous import TimestampSigner, URLSafeTimedSerializer
from sqlmodel import select

from api.auth.models import Identity, Password
from billing.ledger.models import Account
from tests.support.browsing import GOOD_PASSWORD, Browser, Site, opened_site, path_of
from tests.support.mailbox import running_mailbox
from tests.support.oidc_provider import Person, Provider, running_provider
from tests.support.operator_rows import make_operator
from tests.web.auth.test_signup import ADA, account_of, credits_of
from web.admin import routes as panel
from web.auth import oauth

WAYS = ("oidc", "github")


@pytest.fixture(scope="module")
def running() -> Iterator[Provider]:
    with running_provider() as provider:
        yield provider


@pytest.fixture
def provider(running: Provider) -> Provider:
    running.person, running.fault = Person(), ""
    running.asked.clear()
    return running


@pytest.fixture
def site(tmp_path: Path, provider: Provider) -> Iterator[Site]:
    with opened_site(tmp_path / "data", **provider.settings()) as opened:
        yield opened


def begin(browser: Browser, way: str, query: str = "") -> str:
    """Goes to the provider's page; the address that leads back from there."""
    answer = browser.get(f"/oauth/{way}{query}")
    assert answer.status_code == 303, answer.text
    page = httpx.get(answer.headers["location"])
    assert page.status_code == 200
    back = re.search(r'id="back" href="([^"]*)"', page.text)
    assert back is not None
    return path_of(unescape(back[1]))


def sign_in(browser: Browser, way: str, query: str = "") -> httpx.Response:
    return browser.get(begin(browser, way, query), **{"Sec-Fetch-Site": "cross-site"})


@pytest.mark.parametrize("way", WAYS)
def test_a_new_user_gets_an_account_with_a_verified_address(site: Site, way: str) -> None:
    browser = site.browser()
    assert f"/oauth/{way}" in browser.get("/login").text
    answer = sign_in(browser, way, "?next=/settings")
    assert (answer.status_code, answer.headers["location"]) == (303, "/settings")
    assert ADA in browser.get("/settings").text
    assert credits_of(site) == 15
    with site.api.services.database.transaction() as session:
        assert session.exec(select(Password)).all() == []
    again = site.browser()
    assert sign_in(again, way).headers["location"] == "/app/"
    with site.api.services.database.transaction() as session:
        assert len(session.exec(select(Account)).all()) == 1


@pytest.mark.parametrize("way", WAYS)
def test_each_exchange_has_its_own_state_challenge_and_nonce(
    site: Site, provider: Provider, way: str
) -> None:
    for _ in range(2):
        begin(site.browser(), way)
    first, second = provider.asked
    for name in ("state", "code_challenge", *(["nonce"] if way == "oidc" else [])):
        assert len(first[name]) >= 20
        assert first[name] != second[name]
    assert first["code_challenge_method"] == "S256"
    assert first["redirect_uri"] == f"http://test/oauth/{way}/callback"


def test_a_sign_in_starts_a_new_session(site: Site) -> None:
    browser = site.browser()
    sign_in(browser, "oidc")
    former = browser.session_cookie()
    sign_in(browser, "oidc")
    assert former != browser.session_cookie()
    assert site.browser().get("/settings", Cookie=f"bgeraser_session={former}").status_code == 303


@pytest.mark.parametrize("way", WAYS)
def test_an_operator_who_is_asked_to_sign_in_again_comes_back_to_the_panel(site: Site, way: str) -> None:
    panel.add_to(site.api.app)
    browser = site.browser()
    sign_in(browser, way)
    with site.api.services.database.transaction() as session:
        make_operator(session, session.exec(select(Account)).one(), site.clock())
    assert browser.get("/app/admin").status_code == 200
    site.clock.move(minutes=15)
    asked = browser.get("/app/admin").headers["location"]
    assert f'href="/oauth/{way}?next=/app/admin"' in browser.get(asked).text
    assert sign_in(browser, way, "?next=/app/admin").headers["location"] == "/app/admin"
    assert browser.get("/app/admin").status_code == 200


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("has_account", [True, False])
def test_an_address_not_verified_by_the_provider_is_refused(
    site: Site, provider: Provider, way: str, has_account: bool
) -> None:
    if has_account:
        site.browser().join(ADA)
    provider.person = Person(is_verified=False)
    browser = site.browser()
    answer = sign_in(browser, way)
    assert answer.status_code == 403
    assert "has not confirmed your e-mail address" in answer.text
    assert not browser.is_signed_in()
    with site.api.services.database.transaction() as session:
        assert session.exec(select(Identity)).all() == []
        assert len(session.exec(select(Account)).all()) == int(has_account)


def test_an_account_with_an_unverified_address_is_not_linked(tmp_path: Path, provider: Provider) -> None:
    """A stranger signed up with Ada's address; her own sign-in must not end up in the stranger's account."""
    with (
        running_mailbox() as mailbox,
        opened_site(tmp_path, smtp_url=mailbox.url, **provider.settings()) as site,
    ):
        stranger = site.browser()
        stranger.sign_up(ADA)
        stranger.log_in(ADA)
        ada = site.browser()
        answer = sign_in(ada, "oidc")
        assert answer.status_code == 403
        assert "never confirmed" in answer.text
        assert not ada.is_signed_in()
        assert account_of(site).verified_at is None


def test_a_verified_account_with_the_same_address_is_linked(site: Site) -> None:
    site.browser().join(ADA)
    browser = site.browser()
    assert sign_in(browser, "oidc").status_code == 303
    page = browser.get("/settings").text
    assert "Example ID" in page
    assert site.browser().log_in(ADA, GOOD_PASSWORD).status_code == 303


def test_identities_are_matched_by_subject_and_not_by_address(site: Site, provider: Provider) -> None:
    sign_in(site.browser(), "oidc")
    provider.person = Person(email="new@example.com")
    browser = site.browser()
    sign_in(browser, "oidc")
    assert ADA in browser.get("/settings").text
    provider.person = Person(subject="1002", email="bob@example.com")
    bob = site.browser()
    sign_in(bob, "oidc")
    assert "bob@example.com" in bob.get("/settings").text


@pytest.mark.parametrize(
    "fault",
    [
        "nonce",
        "audience",
        "issuer",
        "expired",
        "foreign key",
        "unsigned",
        "no id token",
        "garbage",
        "refused",
    ],
)
def test_a_mismatched_callback_is_refused(site: Site, provider: Provider, fault: str) -> None:
    provider.fault = fault
    browser = site.browser()
    answer = sign_in(browser, "oidc")
    assert answer.status_code == 403
    assert "Example ID did not confirm the sign-in" in answer.text
    assert not browser.is_signed_in()


def test_an_unreachable_provider_is_reported_on_a_page(site: Site, provider: Provider) -> None:
    provider.fault = "lost"
    browser = site.browser()
    answer = sign_in(browser, "github")
    assert answer.status_code in (403, 503)
    assert "text/html" in answer.headers["content-type"]


@pytest.mark.parametrize("state", ["", "x", "é", "another's", "x" * 5_000])
def test_an_unknown_state_is_refused(site: Site, state: str) -> None:
    browser, other = site.browser(), site.browser()
    back = begin(browser, "oidc")
    theirs = parse_qs(urlsplit(begin(other, "oidc")).query)["state"][0]
    code = parse_qs(urlsplit(back).query)["code"][0]
    sent = theirs if state == "another's" else state
    answer = browser.get(str(httpx.URL("/oauth/oidc/callback", params={"code": code, "state": sent})))
    assert answer.status_code == 403
    assert "started in another browser" in answer.text
    assert not browser.is_signed_in()


def test_a_callback_works_once_and_only_in_the_browser_that_started_it(site: Site) -> None:
    browser, other = site.browser(), site.browser()
    back = begin(browser, "oidc")
    assert other.get(back).status_code == 403
    assert browser.get(back).status_code == 303
    assert browser.get(back).status_code == 403


def test_a_callback_for_another_provider_is_refused(site: Site) -> None:
    browser = site.browser()
    back = begin(browser, "oidc")
    assert browser.get(back.replace("/oidc/", "/github/")).status_code == 403


def test_a_tampered_exchange_is_refused(site: Site) -> None:
    browser = site.browser()
    back = begin(browser, "oidc")
    (cookie,) = (cookie for cookie in browser.cookies.jar if cookie.name == "bgeraser_exchange")
    assert cookie.value is not None
    head, second_last, last = cookie.value[:-2], cookie.value[-2], cookie.value[-1]
    for altered in (
        head + ("A" if second_last != "A" else "B") + last,
        "A" + cookie.value,
        cookie.value.replace(".", ""),
        "." + cookie.value,
    ):
        assert site.browser().get(back, Cookie=f"bgeraser_exchange={altered}").status_code == 403


def test_an_exchange_expires_after_ten_minutes(site: Site) -> None:
    class OldSigner(TimestampSigner):
        age_seconds = 0

        def get_timestamp(self) -> int:
            return super().get_timestamp() - self.age_seconds

    serializer = URLSafeTimedSerializer(
        site.auth.secret,
        salt=oauth.COOKIE_SALT,
        signer=OldSigner,
        signer_kwargs={"digest_method": hashlib.sha256},
    )
    statuses = []
    for age_seconds in (500, 700):
        browser = site.browser()
        back = begin(browser, "oidc")
        (cookie,) = (cookie for cookie in browser.cookies.jar if cookie.name == "bgeraser_exchange")
        OldSigner.age_seconds = age_seconds
        old = serializer.dumps(serializer.loads(cookie.value or ""))
        statuses.append(site.browser().get(back, Cookie=f"bgeraser_exchange={old}").status_code)
    assert statuses == [303, 403]


def test_another_site_cannot_start_a_sign_in(site: Site) -> None:
    answer = site.browser().get("/oauth/oidc", **{"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403


def test_a_sign_in_does_not_redirect_to_other_hosts(site: Site) -> None:
    assert sign_in(site.browser(), "oidc", "?next=//evil.example").headers["location"] == "/app/"


def test_identities_are_linked_and_removed_in_the_settings(site: Site, provider: Provider) -> None:
    browser = site.browser().join(ADA)
    provider.person = Person(email="work@example.com")
    assert "Link Example ID" in browser.get("/settings").text
    assert sign_in(browser, "oidc", "?link=1").headers["location"] == "/settings"
    page = browser.get("/settings").text
    assert "Link Example ID" not in page
    assert "work@example.com" in page
    other = site.browser()
    sign_in(other, "oidc")
    assert ADA in other.get("/settings").text
    identity = re.search(r'name="identity_id" value="([^"]+)"', browser.get("/settings").text)
    assert identity is not None
    assert browser.post("/settings/identities/remove", identity_id=identity[1]).status_code == 303
    assert "Link Example ID" in browser.get("/settings").text


def test_an_identity_of_another_account_is_not_linked(site: Site, provider: Provider) -> None:
    sign_in(site.browser(), "oidc")
    bob = site.browser().join("bob@example.com")
    answer = sign_in(bob, "oidc", "?link=1")
    assert answer.status_code == 403
    assert "belongs to another account" in answer.text


def test_linking_started_while_signed_in_cannot_finish_signed_out(site: Site) -> None:
    browser = site.browser().join(ADA)
    back = begin(browser, "oidc", "?link=1")
    browser.get("/settings")
    browser.post("/logout")
    assert browser.get(back).status_code == 403


def test_only_configured_providers_are_shown(tmp_path: Path, provider: Provider) -> None:
    configured = provider.settings() | {"oauth_google_client_id": "id only"}
    del configured["oauth_github_client_secret"]
    with opened_site(tmp_path, **configured) as site:
        page = site.browser().get("/login").text
        assert "Continue with Example ID" in page
        assert "GitHub" not in page
        assert "Google" not in page
        assert site.browser().get("/oauth/github").status_code == 404
        assert site.browser().get("/oauth/google/callback?code=x&state=y").status_code == 404


def test_google_is_configured_through_its_discovery_document(tmp_path: Path) -> None:
    with opened_site(tmp_path, oauth_google_client_id="id", oauth_google_client_secret="secret") as site:
        assert "Continue with Google" in site.browser().get("/signup").text
        google = site.auth.providers["google"]
        assert google.issuer == "https://accounts.google.com"
        described = google._client._server_metadata_url
        assert described == "https://accounts.google.com/.well-known/openid-configuration"
