"""Sessions over HTTP: cookies, guests and CSRF protection."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import httpx
import pytest
from fastapi import Depends, FastAPI, Request

from api.auth import sessions
from billing.ledger import accounts
from tests.support.apps import LocalApi, local_api
from web.auth import visitor
from web.auth.visitor import SignedInVisitor, Visitor

COOKIE = "bgeraser_session"
HTML = {"Accept": "text/html,*/*;q=0.8"}


def with_routes(api: LocalApi) -> LocalApi:
    visitor.install(api.app, api.services)

    @api.app.get("/me")
    async def me(
        user: Annotated[SignedInVisitor, Depends(visitor.require_signed_in)],
    ) -> dict[str, str]:
        return {"email": user.email}

    @api.app.get("/guest")
    async def guest(who: Annotated[Visitor, Depends(visitor.ensure_session)]) -> dict[str, str | None]:
        return {"session": who.session_id, "csrf": who.csrf_token}

    @api.app.post("/change")
    async def change(request: Request) -> str:
        visitor.check_csrf(request, await visitor.visitor_of(request))
        return "changed"

    inner = FastAPI()

    @inner.get("/who")
    async def who(request: Request) -> str | None:
        current = await visitor.visitor_of(request)
        return current.email if current else None

    api.app.mount("/inner", inner)
    return api


@pytest.fixture
def api(tmp_path: Path) -> Iterator[LocalApi]:
    with local_api(tmp_path) as opened:
        yield with_routes(opened)


def session_of(api: LocalApi, email: str = "a@example.com") -> sessions.CreatedSession:
    with api.services.database.transaction() as session:
        account = accounts.create(session, email=email, now=api.clock())
        return sessions.create(session, account.id, now=api.clock())


def cookies(token: str, name: str = COOKIE) -> dict[str, str]:
    return {"Cookie": f"{name}={token}"}


def test_a_page_without_a_session_redirects_to_the_login_and_back(api: LocalApi) -> None:
    answer = api.request("GET", "/me?a=1&b=2", headers=HTML)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/login?next=%2Fme%3Fa%3D1%26b%3D2"


def test_a_script_request_without_a_session_is_401_in_the_error_shape(api: LocalApi) -> None:
    answer = api.request("GET", "/me", headers={"Accept": "application/json"})
    assert answer.status_code == 401
    assert answer.json()["success"] is False


@pytest.mark.parametrize("token", ["x", "%00", "x" * 5_000, "é"])
def test_a_forged_cookie_is_ignored(api: LocalApi, token: str) -> None:
    session_of(api)
    assert api.request("GET", "/me", headers={"Cookie": f"{COOKIE}={token}".encode()}).status_code == 401


def test_a_session_identifies_its_account_in_mounted_applications_too(api: LocalApi) -> None:
    made = session_of(api)
    assert api.request("GET", "/me", headers=cookies(made.token)).json() == {"email": "a@example.com"}
    assert api.request("GET", "/inner/who", headers=cookies(made.token)).json() == "a@example.com"
    assert api.request("GET", "/inner/who").json() is None


def test_the_cookie_does_not_authenticate_rest_routes(api: LocalApi) -> None:
    made = session_of(api)
    assert api.request("GET", "/api/account", headers=cookies(made.token)).status_code == 401


def test_a_guest_gets_one_session_and_keeps_it(api: LocalApi) -> None:
    first = api.request("GET", "/guest")
    set_cookie = first.headers["set-cookie"]
    assert "HttpOnly" in set_cookie
    assert "SameSite=lax" in set_cookie
    assert "Path=/" in set_cookie
    again = api.request("GET", "/guest", headers={"Cookie": set_cookie.partition(";")[0]})
    assert again.json() == first.json()
    assert "set-cookie" not in again.headers
    assert api.request("GET", "/guest").json()["session"] != first.json()["session"]


def test_a_guest_is_not_signed_in(api: LocalApi) -> None:
    set_cookie = api.request("GET", "/guest").headers["set-cookie"]
    assert api.request("GET", "/me", headers={"Cookie": set_cookie.partition(";")[0]}).status_code == 401


def test_under_https_the_cookie_is_secure_and_bound_to_this_host(tmp_path: Path) -> None:
    with local_api(tmp_path, public_url="https://pictures.example.com") as opened:
        api = with_routes(opened)
        set_cookie = api.request("GET", "/guest").headers["set-cookie"]
        assert set_cookie.startswith("__Host-bgeraser_session=")
        assert "Secure" in set_cookie
        assert "Domain" not in set_cookie
        made = session_of(api)
        assert api.request("GET", "/me", headers=cookies(made.token)).status_code == 401
        good = api.request("GET", "/me", headers=cookies(made.token, f"__Host-{COOKIE}"))
        assert good.status_code == 200


def change(api: LocalApi, token: str | None, **headers: str) -> httpx.Response:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return api.request("POST", "/change", headers=(cookies(token) if token else {}) | sent)


def test_a_form_of_this_site_is_accepted(api: LocalApi) -> None:
    made = session_of(api)
    good = {"X_CSRF_Token": sessions.csrf_token(made.token)}
    assert change(api, made.token, **good).status_code == 200
    assert change(api, made.token, Sec_Fetch_Site="same-origin", **good).status_code == 200
    assert change(api, made.token, Origin="http://test", **good).status_code == 200


@pytest.mark.parametrize("csrf", ["", "x", "é", "own token", "another session's"])
def test_a_form_without_the_csrf_token_is_refused(api: LocalApi, csrf: str) -> None:
    made, other = session_of(api), session_of(api, "b@example.com")
    sent = {"own token": made.token, "another session's": sessions.csrf_token(other.token)}.get(csrf, csrf)
    answer = api.request("POST", "/change", headers=cookies(made.token) | {"X-CSRF-Token": sent.encode()})
    assert answer.status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://test.evil.example"},
        {"Origin": "http://test", "Sec-Fetch-Site": "cross-site"},
    ],
)
def test_a_cross_site_form_is_refused_even_with_the_token(api: LocalApi, headers: dict[str, str]) -> None:
    made = session_of(api)
    token = {"X-CSRF-Token": sessions.csrf_token(made.token)}
    answer = api.request("POST", "/change", headers=cookies(made.token) | token | headers)
    assert answer.status_code == 403


def test_an_ended_session_is_refused_at_once(api: LocalApi) -> None:
    made = session_of(api)
    assert api.request("GET", "/me", headers=cookies(made.token)).status_code == 200
    with api.services.database.transaction() as session:
        sessions.end(session, made.session_id)
    assert api.request("GET", "/me", headers=cookies(made.token)).status_code == 401


def test_use_keeps_a_session_alive(api: LocalApi) -> None:
    made = session_of(api)
    for _ in range(3):
        api.clock.move(days=10)
        assert api.request("GET", "/me", headers=cookies(made.token)).status_code == 200
    api.clock.move(days=14)
    assert api.request("GET", "/me", headers=cookies(made.token)).status_code == 401
