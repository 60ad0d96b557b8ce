"""Members on the settings page: invite, accept, choose, change, remove, leave."""

import re
from pathlib import Path

import pytest

from api.alerts import preferences
from api.alerts.models import AlertKind
from api.auth import invitations
from billing.ledger import accounts
from tests.support.alert_rows import kinds_of
from tests.support.browsing import Browser, Site, opened_site, path_of
from tests.support.mailbox import Mailbox

OWNER, ADA = "owner@example.com", "ada@example.com"


def member_of(site: Site) -> tuple[Browser, Browser]:
    """The owner's browser, and Ada's, who has accepted."""
    owner, ada = site.browser().join(OWNER), site.browser().join(ADA)
    accept(ada, invite(owner, ADA))
    return owner, ada


def invite(owner: Browser, email: str, role: str = "member") -> str:
    """The link that the page shows once."""
    owner.get("/settings")
    assert owner.post("/settings/members/invite", email=email, role=role).status_code == 200
    found = re.search(r"http://test(/invitation\?token=[\w-]+)", owner.text)
    assert found is not None, owner.text
    return found[1]


def accept(browser: Browser, link: str) -> int:
    browser.get(link)
    return browser.post("/invitation", token=link.partition("token=")[2]).status_code


def hidden(browser: Browser, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]+)"', browser.text)
    assert found is not None, browser.text
    return found[1]


def test_without_mail_the_owner_gets_the_link_once(site: Site) -> None:
    owner, ada = site.browser().join(OWNER), site.browser().join(ADA)
    link = invite(owner, ADA)
    owner.get("/settings")
    assert link not in owner.text
    assert "invited as a member" in owner.text
    assert accept(ada, link) == 303
    assert OWNER in ada.get("/settings").text
    owner.get("/settings")
    assert "invited as a member" not in owner.text
    assert ADA in owner.text
    assert accept(ada, link) == 410 or "does not work" in ada.text


def test_the_mail_brings_somebody_without_an_account_in(mailing_site: Site, mailbox: Mailbox) -> None:
    owner = mailing_site.browser()
    owner.sign_up(OWNER)
    owner.verify(mailbox.link("verify"))
    answers = []
    for email in (ADA, "bob@example.com"):
        owner.get("/settings")
        sent = owner.post("/settings/members/invite", email=email, role="member")
        answers.append((sent.status_code, sent.headers["location"]))
    assert answers == [(303, "/settings?saved=invited#members-title")] * 2
    link = path_of(mailbox.link("invitation"))
    ada = mailing_site.browser()
    ada.get(link)
    assert OWNER not in ada.text
    assert ADA not in ada.text
    found = re.search(r'href="(/signup\?next=[^"]+)"', ada.text)
    assert found is not None
    ada.get(found[1])
    ada.post("/signup", email=ADA, password="seven quiet otters", next=hidden(ada, "next"))
    mailbox.next()  # the other invitation
    confirmation = mailbox.link("verify")
    ada.get(path_of(confirmation))
    confirmed = ada.post("/verify", token=hidden(ada, "token"), next=hidden(ada, "next"))
    assert confirmed.headers["location"] == link
    assert accept(ada, link) == 303
    assert OWNER in ada.get("/settings").text


def test_the_answer_is_the_same_whether_or_not_the_address_has_an_account(site: Site) -> None:
    owner = site.browser().join(OWNER)
    site.browser().join(ADA)
    pages = []
    for email in (ADA, "eve@example.com"):
        link = invite(owner, email)
        pages.append(owner.text.replace(email, "X").replace(link, "L"))
        owner.get("/settings")
        owner.post("/settings/members/withdraw", invitation_id=hidden(owner, "invitation_id"))
    cleaned = [re.sub(r'value="[^"]*"|nonce-?[^ "]*|\d\d:\d\d', "", page) for page in pages]
    assert cleaned[0] == cleaned[1]


def test_another_address_learns_nothing_and_cannot_accept(site: Site) -> None:
    owner, bob = site.browser().join(OWNER), site.browser().join("bob@example.com")
    link = invite(owner, ADA)
    page = bob.get(link).text
    assert OWNER not in page
    assert ADA not in page
    assert 'action="/invitation"' not in page
    assert bob.post("/invitation", token=link.partition("token=")[2]).status_code == 403
    assert "places-title" not in bob.get("/settings").text


def test_looking_at_the_link_uses_nothing_up(site: Site) -> None:
    owner, ada = site.browser().join(OWNER), site.browser().join(ADA)
    link = invite(owner, ADA)
    for _ in range(3):
        ada.head(link)
        ada.get(link)
    assert accept(ada, link) == 303


@pytest.mark.parametrize("end", ["withdraw", "send-again", "wait"])
def test_a_link_that_has_ended_says_so(site: Site, end: str) -> None:
    owner, ada = site.browser().join(OWNER), site.browser().join(ADA)
    link = invite(owner, ADA)
    owner.get("/settings")
    if end == "wait":
        site.clock.move(days=7)
    else:
        owner.post(f"/settings/members/{end}", invitation_id=hidden(owner, "invitation_id"))
    assert ada.get(link).status_code == 410
    assert "send the invitation again" in ada.text
    ada.get("/settings")
    assert ada.post("/invitation", token=link.partition("token=")[2]).status_code == 410


def test_what_was_wrong_is_said(site: Site) -> None:
    owner = site.browser().join(OWNER)
    for email, problem in (("nonsense", "not a valid email"), (OWNER, "your own address")):
        owner.get("/settings")
        assert owner.post("/settings/members/invite", email=email, role="member").status_code == 422
        assert problem in owner.text
    owner.get("/settings")
    assert owner.post("/settings/members/invite", email=ADA, role="owner").status_code == 404


def test_invitations_are_throttled(site: Site) -> None:
    owner = site.browser().join(OWNER)
    for _ in range(invitations.BY_ADDRESS.attempts):
        invite(owner, ADA)
    owner.get("/settings")
    assert owner.post("/settings/members/invite", email=ADA, role="member").status_code == 429
    assert "Try again in" in owner.text


def test_a_person_chooses_where_to_work_and_leaves(site: Site) -> None:
    owner, ada = member_of(site)
    ada.get("/settings")
    assert "are settings of your own account" in ada.text
    assert "leave-title" not in ada.text
    assert "members-title" not in ada.text
    assert 'href="/#plans"' not in ada.text
    assert ada.get("/settings/statement.csv").status_code == 403
    ada.get("/settings")
    own = re.search(r'name="account_id" value="(acc_\w+)"><span class="address">ada', ada.text)
    assert own is not None
    assert ada.post("/accounts/choose", account_id=own[1], next="/settings").status_code == 303
    assert "members-title" in ada.get("/settings").text
    assert ada.get("/settings/statement.csv").status_code == 200
    ada.get("/settings")
    place = re.search(r'action="/accounts/leave">.*?value="(acc_\w+)"', ada.text, re.DOTALL)
    assert place is not None
    assert ada.post("/accounts/choose", account_id="acc_none").status_code == 404
    ada.get("/settings")
    assert ada.post("/accounts/leave", account_id=place[1]).status_code == 303
    assert OWNER not in ada.get("/settings").text
    assert ADA not in owner.get("/settings").text


def test_the_owner_changes_roles_and_removes(site: Site) -> None:
    owner, ada = member_of(site)
    owner.get("/settings")
    person_id = hidden(owner, "person_id")
    assert owner.post("/settings/members/role", person_id=person_id, role="viewer").status_code == 303
    assert "as a viewer" in ada.get("/settings").text
    owner.get("/settings")
    assert owner.post("/settings/members/remove", person_id=person_id).status_code == 303
    assert OWNER not in ada.get("/settings").text
    owner.get("/settings")
    assert owner.post("/settings/members/remove", person_id=person_id).status_code == 404


def test_a_page_from_before_the_removal_changes_nothing(site: Site) -> None:
    owner, ada = member_of(site)
    ada.get("/settings")
    stale = hidden(ada, "csrf_token")
    owner.get("/settings")
    owner.post("/settings/members/remove", person_id=hidden(owner, "person_id"))
    refused = ada.post_raw("/settings/sessions/end-others", {"csrf_token": stale})
    assert refused.status_code == 403
    assert ada.get("/settings").status_code == 200


def test_suspending_the_account_or_the_person(tmp_path: Path) -> None:
    from api.memberships import roles
    from billing.ledger import accounts

    with opened_site(tmp_path / "data") as site:
        _, ada = member_of(site)

        def of(email: str, act: str) -> None:
            with site.api.services.database.transaction() as session:
                account = accounts.find_by_email(session, email)
                if act == "suspend":
                    accounts.suspend(session, account, now=site.clock())
                else:
                    accounts.restore(session, account)

        assert ada.get("/settings/statement.csv").status_code == 403  # in the owner's account
        assert roles.OWNERS_ONLY in ada.text
        of(OWNER, "suspend")
        assert OWNER not in ada.get("/settings").text  # back in her own
        of(OWNER, "restore")
        assert OWNER in ada.get("/settings").text
        of(ADA, "suspend")
        assert ada.get("/settings").status_code == 403
        assert OWNER not in ada.text


def test_alerts_about_a_sign_in_go_to_the_person_who_signed_in(site: Site) -> None:
    member_of(site)
    submit = site.api.services.database.submit
    assert site.browser("192.0.2.9").log_in(ADA).status_code == 303
    alerts = {
        email: submit(lambda s, e=email: kinds_of(s, accounts.find_by_email(s, e).id)).result()  # type: ignore[misc]
        for email in (OWNER, ADA)
    }
    first = "account.sign_in"  # the first one is recorded and not announced
    assert alerts == {OWNER: [first], ADA: [first, first]}


def test_a_member_chooses_the_own_mails_wherever_the_session_works(site: Site) -> None:
    _, ada = member_of(site)
    text = ada.get("/settings").text
    assert "about your own account, and about keys that you make in others" in text
    assert "Choose webhooks on the dashboard" not in text  # that of the chosen account shows other ones
    assert ada.post("/settings/alerts", **{"account.sign_in": "on"}).status_code == 303

    def muted(email: str) -> set[AlertKind]:
        return site.api.services.database.submit(
            lambda session: preferences.muted(session, accounts.find_by_email(session, email).id)
        ).result()

    assert muted(OWNER) == set()
    assert muted(ADA) == set(AlertKind) - {AlertKind.SIGN_IN}
