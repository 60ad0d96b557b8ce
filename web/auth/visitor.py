"""Who looks at our pages: the session behind the cookie, and the proof that a form came from our own pages.

The cookie is HttpOnly and SameSite=Lax; under https it is `Secure` and has the prefix `__Host-`, so that no
other host and no plain-text answer can set it. REST routes never look at it: they take keys only.
"""

import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import quote, urlsplit

import structlog
from fastapi import Depends, FastAPI, Request
from sqlmodel import Session
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.auth import sessions
from api.errors import Forbidden, NotSignedIn, ServiceUnavailable
from api.http import responses
from api.networks import network_of
from api.services import Services

_COOKIE = "bgeraser_session"
_SAFE_METHODS = frozenset({"GET", "HEAD"})
#: Sent by every present browser. "none": the person's own doing, such as loading a sent form again.
_OWN_SITES = frozenset({"same-origin", "none"})
_TOKEN_LENGTH_MAX = 100

log = structlog.get_logger()


@dataclass(frozen=True)
class Visitor:
    """A browser with a session: signed in if it has an account, else a guest."""

    session_id: str
    account_id: str | None
    email: str | None
    csrf_token: str  # what its forms and scripts send back
    is_verified: bool  # the account's address was confirmed
    signed_in_at: datetime  # when the session began


def install(app: FastAPI, services: Services) -> None:
    """Make visitors known on every route, those of mounted applications too."""
    app.add_exception_handler(NotSignedIn, _ask_to_sign_in)
    app.add_middleware(_Cookies, services=services)


async def visitor_of(request: Request) -> Visitor | None:
    """The visitor behind the request's cookie; None without a session. Raises ServiceUnavailable."""
    if not hasattr(request.state, "visitor"):
        request.state.visitor = await _look_up(request)
    found: Visitor | None = request.state.visitor
    return found


async def signed_in(request: Request) -> Visitor:
    """Raises NotSignedIn: a page sends the browser to the login and back, other routes answer 401."""
    visitor = await visitor_of(request)
    if visitor is None or visitor.account_id is None:
        raise NotSignedIn("Sign in first.")
    return visitor


async def guest(request: Request) -> Visitor:
    """The visitor; one without a session gets a guest's, which writes a row.

    Only for what a guest keeps something for, and after its limits: whoever may ask for a session without
    limit fills the database. The session begins under the token of `strangers_token`, so the pages that the
    browser shows already go on working.
    """
    visitor = await visitor_of(request)
    if visitor is not None:
        return visitor
    services = services_of(request)
    now = services.clock()
    agent, network, token = user_agent_of(request), network_of(address_of(request)), browser_token(request)
    made = await services.database.run(
        lambda session: sessions.begin_guest(session, token, user_agent=agent, address=network, now=now)
    )
    remember(request, made)
    visitor = Visitor(made.session_id, None, None, sessions.csrf_token(made.token), False, now)
    request.state.visitor = visitor
    return visitor


def has_session_cookie(request: Request) -> bool:
    """Whether the browser believes to have a session, which may have ended."""
    return bool(request.cookies.get(cookie_name(request, _COOKIE)))


SignedIn = Annotated[Visitor, Depends(signed_in)]


def check_csrf(request: Request, visitor: Visitor | None, form_token: str | None = None) -> None:
    """Raises Forbidden unless one of our own pages sent this: every route that changes something by cookie.

    The token comes as header `X-CSRF-Token` or as `form_token`, the form's field `csrf_token`. Of a visitor
    without a session it is `strangers_token`.
    """
    check_same_site(request)
    expected = visitor.csrf_token if visitor is not None else _strangers_csrf(request)
    sent = form_token if form_token is not None else request.headers.get("x-csrf-token", "")
    if not expected or not hmac.compare_digest(expected.encode(), sent.encode()):
        raise Forbidden("This form is out of date. Load the page again and send it once more.")


def check_same_site(request: Request) -> None:
    """Raises Forbidden if the browser says that another site made it send this request."""
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    if site is not None:
        is_own = site in _OWN_SITES
    elif origin is not None:
        is_own = _host_of(origin) in {request.headers.get("host", ""), _public_host(request)} - {""}
    else:
        is_own = True  # No browser, so nobody's cookie is used behind their back.
    if not is_own:
        raise Forbidden("Another site sent this request; it was refused.")


def form_token(request: Request, visitor: Visitor | None) -> str:
    """What the forms of a page shown to `visitor` carry in their field `csrf_token`."""
    return visitor.csrf_token if visitor is not None else strangers_token(request)


def strangers_token(request: Request) -> str:
    """What forms carry for a visitor without a session: bound to a cookie that this answer sets if need be.

    No row is written for it, so that nobody fills the database by asking for the login page.
    """
    expected = _strangers_csrf(request)
    if expected:
        return expected
    token = secrets.token_urlsafe(32)
    request.state.new_strangers_token = token
    set_cookie(request, cookie_name(request, "bgeraser_visit"), token, None)
    return sessions.csrf_token(token)


def browser_token(request: Request) -> str:
    """The stranger's cookie itself, "" without one: names this browser between a form and a mailed link."""
    made: str | None = getattr(request.state, "new_strangers_token", None)
    return made or request.cookies.get(cookie_name(request, "bgeraser_visit"), "")[:_TOKEN_LENGTH_MAX]


def remember(request: Request, made: sessions.CreatedSession) -> None:
    """The answer to `request` gives the browser its new session."""
    age_seconds = int(sessions.LONGEST.total_seconds())
    set_cookie(request, cookie_name(request, _COOKIE), made.token, age_seconds)


def forget(request: Request) -> None:
    """The answer to `request` takes the cookie away."""
    set_cookie(request, cookie_name(request, _COOKIE), "", 0)


def set_cookie(request: Request, name: str, value: str, age_seconds: int | None) -> None:
    """A cookie for the whole site with the answer, whoever makes it; no age: it ends with the browser."""
    carrier = Response()
    carrier.set_cookie(
        name, value, max_age=age_seconds, path="/", secure=is_https(request), httponly=True, samesite="lax"
    )
    pending: list[tuple[bytes, bytes]] = request.scope["state"].setdefault("cookies", [])
    pending.extend(header for header in carrier.raw_headers if header[0] == b"set-cookie")


def is_https(request: Request) -> bool:
    public_url = services_of(request).public_url
    return (public_url or str(request.base_url)).startswith("https://")


def services_of(request: Request) -> Services:
    """The open parts of the process; also in a mounted application, where `request.app` is that one."""
    services: Services = request.scope["state"]["services"]
    return services


def user_agent_of(request: Request) -> str:
    return request.headers.get("user-agent", "")


def address_of(request: Request) -> str:
    return request.client.host if request.client else ""


async def _look_up(request: Request) -> Visitor | None:
    token = request.cookies.get(cookie_name(request, _COOKIE), "")
    if not token or len(token) > _TOKEN_LENGTH_MAX:
        return None
    services = services_of(request)
    now = services.clock()
    found = await services.database.read(lambda session: sessions.find(session, token, now))
    if found is None:
        return None
    row, account = found
    if sessions.touch_is_due(row, now):
        await _touch(services, row.id, now)
    return Visitor(
        session_id=row.id,
        account_id=row.account_id,
        email=account.email if account is not None else None,
        csrf_token=sessions.csrf_token(token),
        is_verified=account is not None and account.verified_at is not None,
        signed_in_at=row.created_at,
    )


async def _touch(services: Services, session_id: str, now: datetime) -> None:
    def note(session: Session) -> None:
        sessions.touch(session, session_id, now)

    try:
        await services.database.run(note)
    except ServiceUnavailable:
        log.warning("the last use of a session was not noted", session_id=session_id)


def cookie_name(request: Request, name: str) -> str:
    return f"__Host-{name}" if is_https(request) else name


def _strangers_csrf(request: Request) -> str:
    token = browser_token(request)
    return sessions.csrf_token(token) if token else ""


def _host_of(origin: str) -> str:
    """Host and port of an `Origin`; "" for `null` and for what is not an address at all."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def _public_host(request: Request) -> str | None:
    public_url = services_of(request).public_url
    return urlsplit(public_url).netloc if public_url else None


async def _ask_to_sign_in(request: Request, error: Exception) -> Response:
    if "text/html" in request.headers.get("accept", ""):
        if request.method not in _SAFE_METHODS:
            return RedirectResponse("/login", 303)
        here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/login?next={quote(here, safe='')}", 303)
    return responses.error(request, error)


class _Cookies:
    """ASGI middleware: hands the services in, and adds the cookies that were set on the way."""

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self._app = app
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state: dict[str, Any] = scope.setdefault("state", {})
        state["services"] = self._services

        async def send_with_cookies(message: Message) -> None:
            if message["type"] == "http.response.start" and state.get("cookies"):
                message = {**message, "headers": [*message.get("headers", []), *state["cookies"]]}
            await send(message)

        await self._app(scope, receive, send_with_cookies)
