"""Every authentication form, forged, huge or malformed; every page, with a forged cookie."""

import itertools
from collections.abc import Iterator

import httpx
import pytest

from tests.support.browsing import HTML, Browser, Site, opened_site
from web.auth import routes

#: The list comes from the routes, so a new form is tried without anybody thinking of it.
FORMS = sorted(routes.FORMS)
PAGES = sorted(path.replace("{provider}", "google") for path in routes.PAGES)
CROSS_SITE = [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}]


_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One site for the module: opening it takes longer than most tests here."""
    with opened_site(tmp_path_factory.mktemp("site")) as opened:
        yield opened


@pytest.fixture
def browser(site: Site) -> Browser:
    """A browser with an address of its own, so that no test uses up another one's attempts."""
    return site.browser(f"10.0.{next(_numbers)}.1")


def new_email() -> str:
    return f"ada{next(_numbers)}@example.com"


def token_of(browser: Browser) -> str:
    browser.get("/settings")
    return browser.text.partition('name="csrf_token" value="')[2].partition('"')[0]


@pytest.mark.parametrize("path", FORMS)
def test_a_form_from_another_site_is_refused(site: Site, browser: Browser, path: str) -> None:
    browser.join(new_email())
    fields = {"csrf_token": token_of(browser), "sure": "yes"}
    for headers in CROSS_SITE:
        assert browser.post_raw(path, fields, **headers).status_code == 403
    assert browser.is_signed_in()


@pytest.mark.parametrize("path", FORMS)
def test_a_form_without_its_csrf_token_is_refused(site: Site, browser: Browser, path: str) -> None:
    browser.join(new_email())
    stranger = site.browser()
    stranger.get("/login")
    theirs = stranger.text.partition('name="csrf_token" value="')[2].partition('"')[0]
    for sent in ("", "x", "é", theirs):
        answer = browser.post_raw(path, {"csrf_token": sent, "sure": "yes"})
        assert answer.status_code == 403
        assert "has expired" in answer.text
    assert browser.is_signed_in()


@pytest.mark.parametrize("path", ["/login", "/signup", "/reset", "/verify", "/reset/new"])
def test_forms_of_guests_need_their_csrf_token_too(site: Site, path: str) -> None:
    stranger = site.browser()
    assert stranger.post_raw(path, {"email": "ada@example.com", "password": "x"}).status_code == 403
    stranger.get("/login")
    other = site.browser()
    other.get("/login")
    theirs = other.text.partition('name="csrf_token" value="')[2].partition('"')[0]
    assert stranger.post_raw(path, {"csrf_token": theirs, "email": "ada@example.com"}).status_code == 403


@pytest.mark.parametrize("path", FORMS)
@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (b"", "application/x-www-form-urlencoded"),
        (b"\xff\xfe\0%zz&&==", "application/x-www-form-urlencoded"),
        (b"a=1&a=2", "application/x-www-form-urlencoded"),
        (b"csrf_token=%ff&email=%00", "application/x-www-form-urlencoded"),
        (b"&".join(b"f%d=1" % n for n in range(500)), "application/x-www-form-urlencoded"),
        (b"{}", "application/json"),
        (b"--x\r\n\r\n", "multipart/form-data; boundary=x"),
        (b"x=" + b"y" * 200_000, "application/x-www-form-urlencoded"),
        (b"x=" + b"y" * 2_000_000, "application/x-www-form-urlencoded"),
    ],
    ids=["empty", "bytes", "twice", "not text", "many", "json", "multipart", "large", "huge"],
)
def test_a_malformed_form_is_answered_with_an_error_page(
    browser: Browser, path: str, content: bytes, media_type: str
) -> None:
    answer = send(browser, path, content, media_type)
    assert 400 <= answer.status_code < 500 or answer.status_code == 303
    assert answer.status_code == 303 or "text/html" in answer.headers["content-type"]


def send(browser: Browser, path: str, content: bytes, media_type: str) -> httpx.Response:
    return browser._send("POST", path, content=content, headers={**HTML, "Content-Type": media_type})


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("cookie", ["x", "%00%ff", '"', "x" * 4_000, "a.b.c"])
def test_forged_cookies_are_ignored(browser: Browser, path: str, cookie: str) -> None:
    names = ("bgeraser_session", "bgeraser_visit", "bgeraser_known", "bgeraser_exchange")
    answer = browser.get(path, Cookie="; ".join(f"{name}={cookie}" for name in names))
    assert answer.status_code < 500
    assert answer.status_code in (200, 303, 403, 404, 410)


@pytest.mark.parametrize("path", PAGES)
def test_pages_load_nothing_from_other_hosts(browser: Browser, path: str) -> None:
    answer = browser.get(path)
    policy = answer.headers.get("content-security-policy", "")
    if answer.status_code != 303:
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert 'src="http' not in answer.text
        assert '<link rel="stylesheet" href="http' not in answer.text
