"""The panel is there for operators who signed in just now; each form acts once and is logged."""

import csv
import io
import re
from collections import Counter

import httpx
import pytest

from api.auth import invitations, members
from api.memberships.models import Role
from api.operators import audit_log
from api.operators.audit_log import LogFilter
from api.operators.models import Act
from billing.errors import AccountSuspended
from billing.ledger import accounts
from billing.ledger.models import Account
from tests.support.browsing import GOOD_PASSWORD, Browser
from tests.support.operator_rows import make_operator
from tests.web.admin.conftest import CUSTOMER_EMAIL, OPERATOR_EMAIL, Panel
from web.admin.act_forms import FORMS
from web.admin.routes import PAGES

READS = tuple(PAGES)
CHANGES = tuple(f"/app/admin/accounts/{{account_id}}/{act.value}" for act in FORMS)
FRESH_MINUTES = 15


def send(panel: Panel, browser: Browser, method: str, path: str, **headers: str) -> httpx.Response:
    """The request that the panel's own page would make."""
    place = path.format(account_id=panel.customer_id)
    if method == "GET":
        return browser.get(place)
    token = re.search(r'name="csrf_token" value="([^"]*)"', browser.text)
    fields = {"csrf_token": token[1] if token else "", "form_token": "f", "reason": "for a test"}
    return browser.post_raw(place, fields, **headers)


ROUTES = [*(("GET", path) for path in READS), *(("POST", path) for path in CHANGES)]


@pytest.mark.parametrize(("method", "path"), ROUTES, ids=str)
@pytest.mark.parametrize("who", ["an account", "nobody"])
def test_to_everybody_else_the_panel_does_not_exist(panel: Panel, who: str, method: str, path: str) -> None:
    browser = panel.customer if who == "an account" else panel.site.browser()
    browser.get("/settings" if who == "an account" else "/login")
    answer = send(panel, browser, method, path)
    unknown = browser.get("/nothing-is-here")
    assert answer.status_code == unknown.status_code == 404
    assert OPERATOR_EMAIL not in answer.text
    assert "Operator" not in answer.text
    assert panel.account().suspended_at is None
    assert acts_of(panel) == Counter()


@pytest.mark.parametrize(("method", "path"), ROUTES, ids=str)
def test_an_operator_who_signed_in_a_while_ago_is_asked_again(panel: Panel, method: str, path: str) -> None:
    panel.operator.get(panel.here)
    panel.site.clock.move(minutes=FRESH_MINUTES)
    answer = send(panel, panel.operator, method, path)
    assert answer.status_code == 303
    here = path.format(account_id=panel.customer_id) if method == "GET" else panel.here
    assert answer.headers["location"] == f"/login?again=yes&next={here.replace('/', '%2F')}"
    assert acts_of(panel) == Counter()


@pytest.mark.parametrize("path", CHANGES)
@pytest.mark.parametrize("forgery", ["no token", "another token", "another site", "another origin"])
def test_a_form_that_the_panel_did_not_make_is_refused(panel: Panel, forgery: str, path: str) -> None:
    panel.operator.get(panel.here)
    place = path.format(account_id=panel.customer_id)
    token = re.search(r'name="csrf_token" value="([^"]*)"', panel.operator.text)
    assert token is not None
    right = {"csrf_token": token[1], "form_token": "f", "reason": "for a test"}
    match forgery:
        case "no token":
            answer = panel.operator.post_raw(place, {**right, "csrf_token": ""})
        case "another token":
            panel.customer.get("/settings")
            other = re.search(r'name="csrf_token" value="([^"]*)"', panel.customer.text)
            assert other is not None
            answer = panel.operator.post_raw(place, {**right, "csrf_token": other[1]})
        case "another site":
            answer = panel.operator.post_raw(place, right, **{"Sec-Fetch-Site": "cross-site"})
        case _:
            headers = {"Sec-Fetch-Site": "same-site", "Origin": "http://evil.example"}
            answer = panel.operator.post_raw(place, right, **headers)
    assert answer.status_code == 403
    assert acts_of(panel) == Counter()


def acts_of(panel: Panel) -> Counter[Act]:
    lines = panel.run(lambda session: audit_log.page(session, LogFilter(account_id=panel.customer_id), 100))
    return Counter(line.act for line in lines)


def test_signing_in_again_leads_back(panel: Panel) -> None:
    panel.site.clock.move(minutes=FRESH_MINUTES - 1)
    assert panel.operator.get(panel.here).status_code == 200
    panel.site.clock.move(minutes=1)
    asked = panel.operator.get(panel.here)
    assert panel.operator.get(asked.headers["location"]).status_code == 200
    assert "Log in again" in panel.operator.text
    wrong = panel.operator.post(
        "/login", email=OPERATOR_EMAIL, password="wrong", next=panel.here, again="yes"
    )
    assert wrong.status_code == 401
    assert "Log in again" in panel.operator.text
    back = panel.operator.post(
        "/login", email=OPERATOR_EMAIL, password=GOOD_PASSWORD, next=panel.here, again="yes"
    )
    assert back.headers["location"] == panel.here
    assert panel.operator.get(panel.here).status_code == 200


def test_a_login_link_leads_back_too(panel: Panel) -> None:
    from api.auth import tokens
    from api.auth.models import Purpose

    panel.site.clock.move(minutes=FRESH_MINUTES)
    token = panel.run(
        lambda session: tokens.create(session, panel.operator_id, Purpose.LOGIN, now=panel.site.clock())
    )
    answer = panel.operator.get(f"/login/once?token={token}&next=/app/admin")
    assert answer.headers["location"] == "/app/admin"
    assert panel.operator.get("/app/admin").status_code == 200
    token = panel.run(
        lambda session: tokens.create(session, panel.operator_id, Purpose.LOGIN, now=panel.site.clock())
    )
    answer = panel.operator.get(f"/login/once?token={token}&next=//evil.example")
    assert answer.headers["location"] == "/app/"


def test_an_operator_without_the_mark_loses_the_panel_at_once(panel: Panel) -> None:
    assert panel.operator.get("/app/admin").status_code == 200
    panel.run(lambda session: accounts.unmark_operator(session, session.get_one(Account, panel.operator_id)))
    assert panel.operator.get("/app/admin").status_code == 404


def test_every_page_is_shown(panel: Panel) -> None:
    for path in READS:
        answer = panel.operator.get(path.format(account_id=panel.customer_id))
        assert answer.status_code == 200, path
        assert panel.operator.head(path.format(account_id=panel.customer_id)).status_code == 200
    assert panel.operator.get("/app/admin/accounts/acc_unknown").status_code == 404
    assert panel.operator.get("/app/admin/accounts?q=customer").text.count(panel.customer_id) == 1
    assert panel.operator.get("/app/admin/accounts?after=acc_unknown").status_code == 404
    assert panel.operator.get("/app/admin/log?act=nonsense").status_code == 422


def test_acts_change_the_account_and_are_shown(panel: Panel) -> None:
    panel.charge("req_charged")
    assert panel.act("grant-credits", amount="100", expires="30") == 303
    assert panel.act("take-back-credits", amount="40") == 303
    assert panel.act("refund-call", call="req_charged") == 303
    assert panel.act("change-plan", plan="business") == 303
    assert panel.act("suspend") == 303
    assert panel.act("restore") == 303
    assert panel.act("end-sessions") == 303
    assert panel.account().available == 15 + 100 - 40
    assert panel.account().plan == "business"
    assert not panel.customer.is_signed_in()
    expected = [
        Act.GRANT_CREDITS,
        Act.TAKE_BACK_CREDITS,
        Act.REFUND_CALL,
        Act.CHANGE_PLAN,
        Act.SUSPEND,
        Act.RESTORE,
        Act.END_SESSIONS,
    ]
    assert acts_of(panel) == Counter(expected)
    page = panel.operator.get(f"/app/admin/log?account={panel.customer_id}").text
    assert "granted 100" in page
    assert OPERATOR_EMAIL in page
    rows = list(csv.DictReader(io.StringIO(panel.operator.get("/app/admin/log.csv?act=suspend").text)))
    assert [(row["act"], row["account"], row["reason"]) for row in rows] == [
        ("suspend", panel.customer_id, "for a test")
    ]
    assert rows[0]["request"].startswith("req_")
    assert rows[0]["address"] == "127.0.0.1"


def test_a_form_that_is_sent_twice_acts_once_and_says_so(panel: Panel) -> None:
    panel.operator.get(panel.here)
    fields = {"form_token": "same", "reason": "for a test", "amount": "5"}
    text = panel.operator.text
    first = panel.operator.post(f"{panel.here}/grant-credits", **fields)
    panel.operator.text = text
    second = panel.operator.post(f"{panel.here}/grant-credits", **fields)
    assert first.headers["location"].endswith("?done=grant-credits")
    assert second.headers["location"].endswith("?done=repeated")
    assert "Nothing was done twice" in panel.operator.get(second.headers["location"]).text
    assert panel.account().available == 20


@pytest.mark.parametrize(
    ("act", "fields", "message"),
    [
        ("grant-credits", {"amount": "0"}, "1 to 1,000,000"),
        ("grant-credits", {"amount": "many"}, "in digits"),
        ("grant-credits", {"amount": "5", "reason": " "}, "Say why"),
        ("grant-credits", {"amount": "5", "form_token": ""}, "form is invalid"),
        ("take-back-credits", {"amount": "-5"}, "in digits"),
        ("refund-call", {"call": "req_unknown"}, "no charged call"),
        ("change-plan", {"plan": "gold"}, "Choose a plan"),
        ("revoke-keys", {"key": "key_unknown"}, "does not exist, or has ended"),
        ("restore", {}, "not suspended"),
        ("revoke-operator", {}, "not an operator"),
    ],
)
def test_a_wrong_form_is_shown_again_with_the_problem(
    panel: Panel, act: str, fields: dict[str, str], message: str
) -> None:
    assert panel.act(act, None, **fields) == 422
    assert message in panel.operator.text
    assert panel.account().available == 15
    assert acts_of(panel) == Counter()


def test_operators_cannot_disarm_themselves_but_others(panel: Panel) -> None:
    own = f"/app/admin/accounts/{panel.operator_id}"
    for act in ("suspend", "revoke-operator"):
        panel.operator.get(own)
        answer = panel.operator.post(f"{own}/{act}", form_token=act, reason="for a test")
        assert answer.status_code == 422
        assert "your own" in answer.text
    panel.run(
        lambda session: make_operator(
            session, session.get_one(Account, panel.customer_id), panel.site.clock()
        )
    )
    assert panel.act("revoke-operator") == 303
    assert panel.account().operator_since is None


def test_ending_ones_own_sessions_keeps_the_one_in_use(panel: Panel) -> None:
    own = f"/app/admin/accounts/{panel.operator_id}"
    other = panel.site.browser()
    other.log_in(OPERATOR_EMAIL)
    panel.operator.get(own)
    answer = panel.operator.post(f"{own}/end-sessions", form_token="f", reason="for a test")
    assert answer.status_code == 303
    assert panel.operator.is_signed_in()
    assert not other.is_signed_in()


def test_a_suspended_session_shows_that_and_can_only_sign_out(panel: Panel) -> None:
    assert panel.act("suspend") == 303
    for path in ("/settings", "/", "/settings/statement.csv", "/settings/delete", "/login", "/app/admin"):
        answer = panel.customer.get(path)
        assert answer.status_code == 403
        assert "This account is suspended" in answer.text
        assert 'href="/settings"' not in answer.text
    assert panel.customer.post("/settings/sessions/end-others").status_code == 403
    with pytest.raises(AccountSuspended):
        panel.run(lambda session: accounts.lock(session, panel.customer_id))
    panel.customer.get("/settings")
    assert panel.customer.post("/logout").status_code == 303
    assert panel.customer.get("/").status_code == 200


def test_who_signs_in_while_suspended_sees_it_and_is_back_after_restoring(panel: Panel) -> None:
    panel.customer.get("/settings")
    panel.customer.post("/logout")
    panel.act("suspend")
    panel.customer.log_in("customer@example.com")
    assert panel.customer.get("/settings").status_code == 403
    panel.act("restore")
    assert panel.customer.is_signed_in()


def test_the_account_of_all_guests_cannot_be_changed(panel: Panel) -> None:
    from api.editor.owners import GUESTS_EMAIL

    guests_id = panel.run(
        lambda session: accounts.create(session, email=GUESTS_EMAIL, now=panel.site.clock()).id
    )
    here = f"/app/admin/accounts/{guests_id}"
    panel.operator.get(here)
    answer = panel.operator.post(f"{here}/suspend", form_token="f", reason="for a test")
    assert answer.status_code == 422
    assert "All guests share" in answer.text


def test_what_customers_wrote_is_escaped(panel: Panel) -> None:
    from api.auth import api_keys

    nasty = "<script>alert(1)</script>"
    panel.run(lambda session: api_keys.create(session, panel.customer_id, nasty, panel.site.clock()) and None)
    page = panel.operator.get(panel.here).text
    assert nasty not in page
    assert "&lt;script&gt;" in page


def test_an_account_shows_its_members_and_where_it_is_one(panel: Panel) -> None:
    now = panel.site.clock()
    panel.run(lambda session: members.add(session, panel.operator_id, panel.customer_id, Role.VIEWER, now))
    invited = "invited@example.com"
    panel.run(lambda session: invitations.invite(session, panel.operator_id, invited, Role.MEMBER, now))
    panel.operator.get(f"/app/admin/accounts/{panel.operator_id}")
    assert CUSTOMER_EMAIL in panel.operator.text
    assert invited in panel.operator.text
    panel.operator.get(panel.here)
    assert "May work in" in panel.operator.text
    assert f"/app/admin/accounts/{panel.operator_id}" in panel.operator.text
