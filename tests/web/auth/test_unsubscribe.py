"""The link in a mail: a page for people, one POST for mail programs, and nothing for others."""

import httpx
import pytest

from api.alerts import preferences
from api.alerts.models import AlertKind
from tests.support.browsing import Browser, Site
from tests.web.auth.test_signup import ADA, account_of

LOW = AlertKind.CREDITS_LOW


@pytest.fixture
def place(site: Site, browser: Browser) -> str:
    """Where the mails about low credits of a new account are switched off."""
    browser.join(ADA)
    return f"/unsubscribe?token={site.api.services.unsubscribe.token(account_of(site).id, LOW)}"


def muted(site: Site) -> set[AlertKind]:
    with site.api.services.database.transaction() as session:
        return preferences.muted(session, account_of(site).id)


def one_click(site: Site, place: str, **options: object) -> httpx.Response:
    """As a mail program sends it: without a cookie, a token of a form or a page before it."""
    return site.api.request("POST", place, **(options or {"data": {"List-Unsubscribe": "One-Click"}}))


def test_one_click_switches_off_its_kind_only(site: Site, place: str) -> None:
    for _ in range(2):
        answer = one_click(site, place)
        assert answer.status_code == 200
        assert "set-cookie" not in {
            name for name, value in answer.headers.items() if "bgeraser_session" in value
        }
        assert muted(site) == {LOW}


def test_mail_programs_may_send_the_other_form_or_nothing(site: Site, place: str) -> None:
    assert one_click(site, place, files={"List-Unsubscribe": (None, "One-Click")}).status_code == 200
    assert muted(site) == {LOW}
    assert one_click(site, place, content=b"").status_code == 200


def test_opening_the_link_changes_nothing_until_the_button(site: Site, place: str) -> None:
    stranger = site.browser()
    assert stranger.head(place).status_code == 200
    assert stranger.get(place).status_code == 200
    assert "Credits are running low" in stranger.text
    assert ADA not in stranger.text
    assert muted(site) == set()
    assert stranger.post_raw(place, {}).status_code == 200
    assert "Switched off" in stranger.text
    assert muted(site) == {LOW}


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_link_that_was_not_signed_here_is_refused(site: Site, place: str, method: str) -> None:
    security = site.api.services.unsubscribe.token(account_of(site).id, AlertKind.SIGN_IN)
    for wrong in (place[:-1], place.replace("credits.low", "key.ending"), f"/unsubscribe?token={security}"):
        assert site.api.request(method, wrong).status_code == 410
    assert site.api.request(method, "/unsubscribe").status_code == 410
    assert muted(site) == set()


def test_the_link_of_a_deleted_account_is_answered_as_any(site: Site, place: str) -> None:
    with site.api.services.database.transaction() as session:
        account_of(site)
        account = session.merge(account_of(site))
        account.closed_at = site.clock()
    assert one_click(site, place).status_code == 200
    unknown = site.api.services.unsubscribe.token("acc_unknown", LOW)
    assert one_click(site, f"/unsubscribe?token={unknown}").status_code == 200
