"""The section of mails and webhooks on the settings page, and what signing in tells the owner."""

import json
import re

from sqlmodel import select

from api.alerts import preferences
from api.alerts.models import Alert, AlertKind, AlertPreference, MailStatus
from api.webhooks import endpoints
from api.webhooks.models import WebhookEvent
from tests.support.alert_rows import alerts_of, make_alert
from tests.support.browsing import GOOD_PASSWORD, Browser, Site, path_of
from tests.support.mailbox import Mailbox
from tests.web.auth.test_signup import ADA, account_of

FIREFOX = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}


def ticked(page: str) -> set[str]:
    boxes = re.findall(r'<input type="checkbox" name="([\w.]+)"[^>]*?( checked)?>', page)
    assert {name for name, _ in boxes} == set(AlertKind)
    return {name for name, checked in boxes if checked}


def sign_in_alerts(site: Site) -> list[Alert]:
    """Those that were announced: an account's first sign-in has no facts."""
    with site.api.services.database.transaction() as session:
        found = alerts_of(session, account_of(site).id)
        return [each for each in found if each.kind == AlertKind.SIGN_IN and each.facts != "{}"]


def test_every_mail_is_on_until_it_is_switched_off(site: Site, browser: Browser) -> None:
    browser.join(ADA)
    assert ticked(browser.get("/settings").text) == set(AlertKind)
    answer = browser.post("/settings/alerts", **{"credits.low": "on", "key.ending": "on"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/settings?saved=alerts")
    page = browser.get("/settings?saved=alerts").text
    assert ticked(page) == {"credits.low", "key.ending"}
    assert "Your choice of mails was saved." in page
    browser.post("/settings/alerts", **dict.fromkeys(AlertKind, "on"))
    assert ticked(browser.get("/settings").text) == set(AlertKind)


def test_only_ones_own_mails_are_switched_off(site: Site, browser: Browser) -> None:
    browser.join(ADA)
    other = site.browser("192.0.2.9").join("bob@example.com")
    other.get("/settings")
    other.post("/settings/alerts")
    with site.api.services.database.transaction() as session:
        assert preferences.muted(session, account_of(site).id) == set()
        assert [row.muted for row in session.exec(select(AlertPreference))] == [",".join(AlertKind)]


def test_a_forged_form_and_a_visitor_change_nothing(site: Site, browser: Browser) -> None:
    browser.join(ADA)
    browser.get("/settings")
    assert browser.post("/settings/alerts", csrf_token="x").status_code == 403
    assert site.browser().post_raw("/settings/alerts", {}).status_code == 303  # to the login
    assert ticked(browser.get("/settings").text) == set(AlertKind)


def test_the_page_says_that_there_is_no_mail_server_and_counts_webhooks(site: Site, browser: Browser) -> None:
    browser.join(ADA)
    with site.api.services.database.transaction() as session:
        account_id, now = account_of(site).id, site.clock()
        for url in ("https://a.example/", "https://b.example/"):
            endpoints.create(session, account_id, url, [WebhookEvent.CREDITS_LOW], now)
        off = endpoints.create(session, account_id, "https://c.example/", WebhookEvent.selectable(), now)
        endpoints.change(off, now, enabled=False)
    page = browser.get("/settings").text
    assert "This server has no mail server" in page
    assert re.findall(r"(\d+ webhooks?|no webhook)</span>", page) == ["2 webhooks"] + ["no webhook"] * 4
    assert "you do not learn that somebody else has your password" in page


def test_a_new_browser_is_announced_once_and_a_known_one_is_not(mailing_site: Site, mailbox: Mailbox) -> None:
    site, browser = mailing_site, mailing_site.browser()
    browser.sign_up(ADA)
    assert browser.verify(mailbox.link("verify")).status_code == 303
    assert sign_in_alerts(site) == []
    browser.get("/settings")
    browser.post("/logout")
    assert browser.log_in(ADA).status_code == 303
    assert sign_in_alerts(site) == []
    stranger = site.browser("192.0.2.66")
    stranger.log_in(ADA)
    assert sign_in_alerts(site) == [
        alert for alert in sign_in_alerts(site) if alert.mail_status == MailStatus.PENDING
    ]
    (alert,) = sign_in_alerts(site)
    assert json.loads(alert.facts)["address"] == "192.0.2.66"
    again = site.browser("192.0.2.66")
    again.log_in(ADA)
    assert len(sign_in_alerts(site)) == 1
    assert site.browser("192.0.2.67").log_in(ADA, "wrong password").status_code == 401
    assert len(sign_in_alerts(site)) == 1


def test_a_changed_password_is_no_sign_in_of_a_new_browser(site: Site, browser: Browser) -> None:
    browser.join(ADA)
    for cookie in list(browser.cookies.jar):
        if cookie.name.endswith("bgeraser_known"):
            browser.cookies.jar.clear(cookie.domain, cookie.path, cookie.name)
    browser.get("/settings")
    answer = browser.post("/settings/password", current=GOOD_PASSWORD, password="nine patient herons")
    assert answer.status_code == 303
    assert sign_in_alerts(site) == []


def test_a_reset_password_is_mailed_once_and_told_to_webhooks(mailing_site: Site, mailbox: Mailbox) -> None:
    site, browser = mailing_site, mailing_site.browser()
    browser.sign_up(ADA)
    browser.verify(mailbox.link("verify"))
    other = site.browser("192.0.2.66")
    other.get("/reset")
    other.post("/reset", email=ADA)
    link = path_of(mailbox.link("reset/new"))
    other.get(link)
    sent = other.post("/reset/new", token=link.partition("token=")[2], password="nine patient herons")
    assert sent.status_code == 303
    assert mailbox.next()["Subject"] == "Your password was changed"
    (alert,) = sign_in_alerts(site)
    assert alert.mail_status == MailStatus.NONE


def test_deleting_the_account_deletes_its_alerts(site: Site, browser: Browser) -> None:
    browser.join(ADA)
    with site.api.services.database.transaction() as session:
        make_alert(session, account_of(site).id, site.clock())
    browser.get("/settings/delete")
    assert browser.post("/settings/delete", sure="yes", current=GOOD_PASSWORD).status_code == 200
    with site.api.services.database.transaction() as session:
        assert session.exec(select(Alert)).all() == []
        assert session.exec(select(AlertPreference)).all() == []
