"""Logging in and out: no account enumeration, and throttling without lockout."""

import asyncio
import threading
from pathlib import Path

import pytest
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlmodel import Session

from api.auth import registration, throttle, tokens
from api.auth.models import Password, Purpose
from api.auth.passwords import Hashing
from billing.ledger import accounts
from tests.support.browsing import GOOD_PASSWORD, Browser, Site, opened_site
from tests.web.auth.test_signup import ADA, account_of, visible

WRONG = "not the password"


def stored_hash(site: Site, email: str = ADA) -> str:
    with site.api.services.database.transaction() as session:
        return session.get_one(Password, accounts.find_by_email(session, email).id).hash


def test_a_login_redirects_to_the_editor_and_starts_a_new_session(site: Site, browser: Browser) -> None:
    browser.join(ADA)
    first = browser.session_cookie()
    other = site.browser()
    answer = other.log_in(" ADA@example.com")
    assert (answer.status_code, answer.headers["location"]) == (303, "/app/")
    assert other.session_cookie() not in (None, first)
    assert other.is_signed_in()
    assert browser.is_signed_in()


def test_logging_in_again_replaces_the_session(site: Site, browser: Browser) -> None:
    browser.join(ADA)
    former = browser.session_cookie()
    browser.get("/settings")
    assert browser.post("/login", email=ADA, password=GOOD_PASSWORD).status_code == 303
    assert browser.session_cookie() != former
    thief = site.browser()
    thief.cookies.set("bgeraser_session", former or "", domain="test.local")
    assert not thief.is_signed_in()


def test_logging_out_ends_the_session_on_the_server(site: Site, browser: Browser) -> None:
    browser.join(ADA)
    cookie = browser.session_cookie() or ""
    browser.get("/settings")
    assert browser.post("/logout").headers["location"] == "/"
    assert browser.session_cookie() is None
    again = site.browser()
    answer = again.get("/settings", Cookie=f"bgeraser_session={cookie}")
    assert answer.status_code == 303


@pytest.mark.parametrize("email", [ADA, "nobody@example.com", "", "no address", "é@x", "\ud800"])
def test_an_unknown_address_and_a_wrong_password_get_the_same_message(
    site: Site, browser: Browser, email: str
) -> None:
    browser.join(ADA)
    known = site.browser()
    known.log_in(ADA, WRONG)
    stranger = site.browser()
    fields = {"email": email.encode("utf-8", "replace").decode(), "password": WRONG}
    stranger.get("/login")
    answer = stranger.post("/login", **fields)
    assert answer.status_code == 401
    assert unfocused(answer.text) == unfocused(known.text)


def unfocused(page: str) -> str:
    """The focused field depends only on whether an address was entered."""
    return visible(page).replace(" autofocus", "")


def test_an_unknown_address_costs_the_same_hash(site: Site, browser: Browser) -> None:
    """The same work is what makes the same time."""
    browser.join(ADA)
    verified: list[int] = []
    real = Argon2Hasher.verify

    def counted(self: Argon2Hasher, password: bytes, stored: str) -> bool:
        verified.append(int(stored.split("m=")[1].split(",")[0]))
        return real(self, password, stored)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Argon2Hasher, "verify", counted)
        site.browser().log_in(ADA, WRONG)
        site.browser().log_in("nobody@example.com", WRONG)
        site.browser().log_in(ADA, "x" * 5_000)
    assert verified == [47_104] * 3


def test_an_old_hash_is_upgraded_once_at_login(site: Site, browser: Browser) -> None:
    browser.join(ADA)
    weak = Argon2Hasher(memory_cost=8_192, time_cost=1, parallelism=1).hash(GOOD_PASSWORD)
    with site.api.services.database.transaction() as session:
        registration.set_password(session, accounts.find_by_email(session, ADA).id, weak, now=site.clock())
    assert site.browser().log_in(ADA, WRONG).status_code == 401
    assert stored_hash(site) == weak
    assert site.browser().log_in(ADA).status_code == 303
    better = stored_hash(site)
    assert "m=47104,t=2,p=1" in better
    assert site.browser().log_in(ADA).status_code == 303
    assert stored_hash(site) == better


def test_guessing_from_many_addresses_is_throttled_but_the_owner_can_log_in(
    site: Site, browser: Browser
) -> None:
    """The browser that signed in before has attempts of its own, and a mailed link opens in any case."""
    browser.join(ADA)
    browser.get("/settings")
    browser.post("/logout")
    answers = [site.browser(f"10.0.0.{number}").log_in(ADA, WRONG).status_code for number in range(13)]
    assert answers == [401] * 10 + [429] * 3
    refused = site.browser("10.0.1.1").log_in(ADA)
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1
    assert browser.log_in(ADA).status_code == 303
    reset = site.browser("10.0.1.2")
    reset.get("/reset")
    reset.post("/reset", email=ADA)
    assert "token=" in reset.link("reset/new")


def test_throttling_looks_the_same_for_an_account_that_does_not_exist(site: Site) -> None:
    answers = [site.browser(f"10.0.0.{n}").log_in("nobody@example.com", WRONG).status_code for n in range(13)]
    assert answers == [401] * 10 + [429] * 3


def test_trying_many_accounts_from_one_address_is_throttled(site: Site, browser: Browser) -> None:
    browser.join(ADA)
    answers = [site.browser("10.9.9.9").log_in(f"{n}@example.com", WRONG).status_code for n in range(33)]
    assert answers == [401] * 30 + [429] * 3
    assert site.browser("10.9.9.10").log_in(ADA).status_code == 303


def test_waiting_for_retry_after_suffices_and_successful_logins_do_not_count(
    site: Site, browser: Browser
) -> None:
    browser.join(ADA)
    for number in range(25):
        assert site.browser(f"10.0.2.{number}").log_in(ADA).status_code == 303
    for number in range(10):
        site.browser(f"10.0.3.{number}").log_in(ADA, WRONG)
    refused = site.browser("10.0.4.1").log_in(ADA)
    site.clock.move(seconds=int(refused.headers["retry-after"]))
    assert site.browser("10.0.4.1").log_in(ADA).status_code == 303


def test_the_limits_survive_a_restart(tmp_path: Path) -> None:
    with opened_site(tmp_path) as site:
        for number in range(10):
            site.browser(f"10.0.0.{number}").log_in(ADA, WRONG)
    with opened_site(tmp_path) as site:
        assert site.browser("10.0.0.99").log_in(ADA, WRONG).status_code == 429


def test_hashing_runs_off_the_event_loop_and_its_queue_is_bounded() -> None:
    """Of twenty with capacity for ten, ten are refused at once, and the event loop keeps running."""

    async def flood() -> tuple[list[str | BaseException], int, set[str]]:
        hashing, turns, threads = Hashing(threads=2, waiting_max=10), 0, set()
        real = Argon2Hasher.hash

        def noted(self: Argon2Hasher, password: bytes) -> str:
            threads.add(threading.current_thread().name)
            return real(self, password)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Argon2Hasher, "hash", noted)
            waiting = asyncio.gather(*(hashing.hash("p" * n) for n in range(20)), return_exceptions=True)
            while not waiting.done():
                turns += 1
                await asyncio.sleep(0.001)
        hashing.close()
        return await waiting, turns, threads

    answers, turns, threads = asyncio.run(flood())
    assert [type(answer).__name__ for answer in answers] == ["str"] * 10 + ["ServiceUnavailable"] * 10
    assert turns > 20
    assert len(threads) <= 2
    assert all(name.startswith("password") for name in threads)


@pytest.mark.parametrize(
    ("wanted", "led_to"),
    [
        ("/app/dashboard", "/app/dashboard"),
        ("/settings?a=1", "/settings?a=1"),
        ("https://evil.example", "/app/"),
        ("//evil.example", "/app/"),
        ("/\\evil.example", "/app/"),
        ("\\\\evil.example", "/app/"),
        ("/\t/evil.example", "/app/"),
        ("/%0d%0aSet-Cookie:a=b", "/%0d%0aSet-Cookie:a=b"),
        ("/\r\nSet-Cookie: a=b", "/app/"),
        ("javascript:alert(1)", "/app/"),
        ("", "/app/"),
        ("/" + "x" * 2_000, "/app/"),
    ],
)
def test_a_login_redirects_to_local_pages_only(
    site: Site, browser: Browser, wanted: str, led_to: str
) -> None:
    browser.join(ADA)
    other = site.browser()
    other.get("/login")
    answer = other.post("/login", email=ADA, password=GOOD_PASSWORD, next=wanted)
    assert answer.headers["location"] == led_to


def test_a_signed_in_visitor_is_redirected_from_the_login_page(browser: Browser) -> None:
    browser.join(ADA)
    assert browser.get("/login?next=/settings").headers["location"] == "/settings"
    assert browser.get("/signup?next=//evil.example").headers["location"] == "/app/"


def test_a_closed_account_is_treated_like_an_unknown_one(site: Site, browser: Browser) -> None:
    browser.join(ADA)
    with site.api.services.database.transaction() as session:
        accounts.close(session, account_of(site).id, now=site.clock())
    assert not browser.is_signed_in()
    assert site.browser().log_in(ADA).status_code == 401


def operators_link(site: Site) -> str:
    def make(session: Session) -> str:
        return registration.operators_token(session, now=site.clock())

    with site.api.services.database.transaction() as session:
        return f"/login/once?token={make(session)}"


def test_the_operator_link_signs_in_once(site: Site, browser: Browser) -> None:
    link = operators_link(site)
    assert browser.head(link).status_code == 410
    assert browser.get(link).headers["location"] == "/app/"
    assert "operator@localhost" in browser.get("/settings").text
    late = site.browser()
    assert late.get(link).status_code == 410
    assert not late.is_signed_in()


def test_a_link_is_valid_for_its_own_purpose_only(site: Site, browser: Browser) -> None:
    browser.join(ADA)
    with site.api.services.database.transaction() as session:
        account_id = accounts.find_by_email(session, ADA).id
        made = {purpose: tokens.create(session, account_id, purpose, now=site.clock()) for purpose in Purpose}
    stranger = site.browser()
    for purpose, path in (
        (Purpose.VERIFY, "/login/once"),
        (Purpose.RESET, "/verify"),
        (Purpose.LOGIN, "/reset/new"),
    ):
        assert stranger.get(f"{path}?token={made[purpose]}").status_code == 410
    assert not stranger.is_signed_in()


def test_guest_projects_are_transferred_in_the_transaction_of_the_login(site: Site, browser: Browser) -> None:
    browser.join(ADA)
    carried: list[tuple[str, str]] = []
    site.auth.guest_transfers.append(lambda _session, guest, account, _now: carried.append((guest, account)))
    guest = site.browser()
    guest_id = become_guest(site, guest)
    guest.log_in(ADA)
    assert carried == [(guest_id, account_of(site).id)]
    guest.get("/settings")
    guest.post("/login", email=ADA, password=GOOD_PASSWORD)
    assert len(carried) == 1


def become_guest(site: Site, browser: Browser) -> str:
    """Gives the browser a guest's session; its id."""
    from api.auth import sessions

    with site.api.services.database.transaction() as session:
        made = sessions.create(session, None, now=site.clock())
    browser.cookies.set("bgeraser_session", made.token, domain="test.local", path="/")
    return made.session_id


def test_throttle_keys_contain_no_address_and_no_account(site: Site) -> None:
    """The database reveals neither who tried nor which account."""
    names = {throttle.by_email("login", ADA), throttle.by_address("login", "10.0.0.1")}
    assert all(len(name) == 64 and ADA not in name for name in names)


def test_an_ipv6_network_counts_as_one_address() -> None:
    one, other = "2001:db8:1:2::1", "2001:db8:1:2:ffff::9"
    assert throttle.by_address("login", one) == throttle.by_address("login", other)
    assert throttle.by_address("login", one) != throttle.by_address("login", "2001:db8:1:3::1")
    assert throttle.by_address("login", "::ffff:10.0.0.1") != throttle.by_address("login", "::ffff:10.0.0.2")
