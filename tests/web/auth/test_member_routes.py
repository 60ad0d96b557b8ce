"""Every route of the application has a decision for each role, which is tried. A new one fails without it."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from api.memberships import roles
from tests.api.http import test_isolation as isolation
from tests.support.team import FORMER, MEMBER, OWNER, OWNER_EMAIL, STRANGER, VIEWER, Team, opened_team


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    with opened_team(Path(tmp_path_factory.mktemp("team")) / "data") as opened:
        yield opened


#: What a route is for, and with it what each role gets. `anyone`: knows no account. `key`: an API key.
#: `owners key`: not that of a member. `person`: a person's own login, wherever it works. `billing`: the
#: owner's own. `look`: reads the account's pictures. `write`: makes or changes them. `operator`: the panel.
ANYONE, KEY, OWNERS_KEY, PERSON, BILLING, LOOK, WRITE, OPERATOR = (
    "anyone",
    "key",
    "owners key",
    "person",
    "billing",
    "look",
    "write",
    "operator",
)
_OWNERS_READS = ("/settings/delete", "/settings/statement.csv")
_OWNERS_CHANGES = (
    "/settings/delete",
    "/settings/members/invite",
    "/settings/members/send-again",
    "/settings/members/withdraw",
    "/settings/members/role",
    "/settings/members/remove",
)
_PUBLIC_READS = (
    *isolation.PUBLIC_PAGES,
    "/api/tools",
    "/api/images/{image_id}",
    "/healthz",
    "/readyz",
    "/metrics",
    "/openapi.json",
    "/editor/scenes/{file_name}",
)


def _reads(paths: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    return itertools.product(("GET", "HEAD"), paths)


def _posts(paths: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    return itertools.product(("POST",), paths)


_KEYED = {
    (method, path): OWNERS_KEY if path.startswith("/api/webhooks") else KEY
    for method, path in isolation.TRIALS
    if path.startswith(("/api/", "/v1.0/", "/mcp")) and path not in _PUBLIC_READS
}
DECISIONS: dict[tuple[str, str], str] = {
    **_KEYED,
    ("DELETE", "/api/images/{image_id}"): KEY,
    ("POST", "/stripe/webhook"): ANYONE,
    **dict.fromkeys(_reads(_PUBLIC_READS), ANYONE),
    **dict.fromkeys(
        _reads(tuple(path for path in isolation.EDITOR_READS if path != "/editor/scenes/{file_name}")), LOOK
    ),
    **dict.fromkeys(isolation.EDITOR_CHANGES, WRITE),
    **dict.fromkeys(
        _reads(tuple(path for path in isolation.PEOPLE_READS if path not in _OWNERS_READS)), PERSON
    ),
    **dict.fromkeys(
        _posts(tuple(path for path in isolation.PEOPLE_CHANGES if path not in _OWNERS_CHANGES)), PERSON
    ),
    # A signed link of a mail, whoever opens it.
    **dict.fromkeys((*_reads(("/unsubscribe",)), *_posts(("/unsubscribe",))), ANYONE),
    **dict.fromkeys(_reads((*_OWNERS_READS, *isolation.PLAN_READS)), BILLING),
    **dict.fromkeys(_posts((*_OWNERS_CHANGES, *isolation.PLAN_CHANGES)), BILLING),
    **dict.fromkeys(_reads(isolation.PANEL_READS), OPERATOR),
    **dict.fromkeys(_posts(isolation.PANEL_CHANGES), OPERATOR),
}


def test_every_route_has_a_decision_for_each_role() -> None:
    """The other list is compared with the application's own routes."""
    assert set(DECISIONS) == set(isolation.TRIALS)


def of(*decisions: str) -> list[tuple[str, str]]:
    return [route for route, decision in DECISIONS.items() if decision in decisions]


def code_of(answer: httpx.Response) -> str:
    return str(answer.json()["error"]["code"])


@pytest.mark.parametrize(("method", "path"), of(KEY), ids=str)
def test_keys_of_members_act_for_the_account_and_those_of_others_are_refused(
    team: Team, method: str, path: str
) -> None:
    assert team.call(OWNER, method, path).status_code not in (401, 403)
    assert team.call(MEMBER, method, path).status_code not in (401, 403)
    refusal = 403 if path.startswith("/v1.0/") else 401  # remove.bg's clients know 403
    for who in (VIEWER, FORMER):
        assert team.call(who, method, path).status_code == refusal


@pytest.mark.parametrize(("method", "path"), of(OWNERS_KEY), ids=str)
def test_webhooks_which_would_outlast_a_membership_need_a_key_of_the_owner(
    team: Team, method: str, path: str
) -> None:
    assert team.call(OWNER, method, path).status_code not in (401, 403)
    assert team.call(MEMBER, method, path).status_code == 403
    for who in (VIEWER, FORMER):
        assert team.call(who, method, path).status_code == 401


@pytest.mark.parametrize(("method", "path"), of(KEY, OWNERS_KEY), ids=str)
@pytest.mark.parametrize("who", [OWNER, MEMBER, VIEWER, FORMER, STRANGER])
def test_a_session_is_no_key(team: Team, who: str, method: str, path: str) -> None:
    refusal = 403 if path.startswith("/v1.0/") else 401
    assert team.send(who, method, path).status_code == refusal


@pytest.mark.parametrize(("method", "path"), of(BILLING), ids=str)
def test_billing_is_the_owners_alone(team: Team, method: str, path: str) -> None:
    for who in (MEMBER, VIEWER):
        answer = team.send(who, method, path)
        assert answer.status_code == 403
        if method != "HEAD":
            assert roles.OWNERS_ONLY in answer.text
    for who in (FORMER, STRANGER):  # in their own accounts
        answer = team.send(who, method, path)
        assert answer.status_code != 403
        assert OWNER_EMAIL not in answer.text
    if path != "/settings/delete":
        assert team.send(OWNER, method, path).status_code != 403


@pytest.mark.parametrize(("method", "path"), of(LOOK), ids=str)
def test_members_and_viewers_look_and_nobody_else(team: Team, method: str, path: str) -> None:
    owners = team.send(OWNER, method, path)
    for who in (MEMBER, VIEWER):
        answer = team.send(who, method, path)
        assert answer.status_code == owners.status_code
        assert roles.VIEWERS_REFUSAL not in answer.text
        shown = {
            "/editor/projects/{project_id}": "project_id",
            "/editor/batches": "batch_id",
            "/editor/batches/{batch_id}": "batch_id",
        }.get(path)
        if method == "GET" and shown:
            assert team.names[shown] in answer.text
    for who in (FORMER, STRANGER):
        answer = team.send(who, method, path)
        if "{" in path:
            assert answer.status_code in (403, 404)
        for name in ("project_id", "batch_id"):
            assert team.names[name] not in answer.text


@pytest.mark.parametrize(("method", "path"), of(WRITE), ids=str)
def test_viewers_change_nothing_and_others_find_nothing(team: Team, method: str, path: str) -> None:
    viewers = team.send(VIEWER, method, path)
    assert (viewers.status_code, code_of(viewers)) == (403, "FORBIDDEN")
    assert roles.VIEWERS_REFUSAL in viewers.text
    for who in (FORMER, STRANGER):
        answer = team.send(who, method, path)
        assert answer.status_code in ((400, 404, 422) if "{" in path else (200, 400, 415, 422))
        assert team.names["project_id"] not in answer.text
    project = f"/editor/projects/{team.names['project_id']}"
    assert team.send(OWNER, "GET", project).status_code == 200
    if method == "DELETE" and path.count("/") == 3:
        return  # it would succeed, which other tests try
    assert team.send(MEMBER, method, path).status_code != 403


@pytest.mark.parametrize(("method", "path"), of(WRITE), ids=str)
@pytest.mark.parametrize("forgery", ["no token", "of another account", "of another person"])
def test_a_page_of_another_account_changes_nothing(team: Team, forgery: str, method: str, path: str) -> None:
    """The token of a page that was opened before the account was changed does not work any more."""
    other = team.token(VIEWER)
    if forgery == "of another account":
        assert team.send(MEMBER, "POST", "/accounts/choose", account_id=team.ids[MEMBER]).status_code == 303
        other = team.token(MEMBER)
        back = team.send(MEMBER, "POST", "/accounts/choose", account_id=team.ids[OWNER])
        assert back.status_code == 303
    answer = team.send(MEMBER, method, path, token="" if forgery == "no token" else other)
    assert (answer.status_code, code_of(answer)) == (403, "FORBIDDEN")
    assert "Reload the page" in answer.text


@pytest.mark.parametrize(("method", "path"), of(PERSON), ids=str)
@pytest.mark.parametrize("who", [VIEWER, FORMER, STRANGER])
def test_pages_of_a_person_show_and_change_only_the_person(
    tmp_path: Path, team: Team, who: str, method: str, path: str
) -> None:
    """`/logout` and the like would end the session for the other tests, so only looking is tried for all."""
    if method == "POST" and path not in ("/settings/password", "/settings/sessions/end", "/accounts/leave"):
        assert team.send(who, method, path, token="wrong").status_code in (403, 400)
        return
    answer = team.send(who, method, path, account_id=team.ids[STRANGER])
    assert answer.status_code != 500
    if who != VIEWER:
        assert OWNER_EMAIL not in answer.text
    assert team.send(OWNER, "GET", "/settings").status_code == 200


@pytest.mark.parametrize(("method", "path"), of(OPERATOR), ids=str)
@pytest.mark.parametrize("who", [OWNER, MEMBER, VIEWER, FORMER, STRANGER])
def test_nobody_of_a_team_is_an_operator(team: Team, who: str, method: str, path: str) -> None:
    assert team.send(who, method, path).status_code == 404


@pytest.mark.parametrize(("method", "path"), of(ANYONE), ids=str)
@pytest.mark.parametrize("who", [MEMBER, VIEWER, FORMER, STRANGER])
def test_what_knows_no_account_is_the_same_for_everybody(
    team: Team, who: str, method: str, path: str
) -> None:
    assert team.send(who, method, path).status_code == team.send(OWNER, method, path).status_code
