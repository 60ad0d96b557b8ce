"""The visitor of a page: session cookies, guest sessions and CSRF protection.

The session cookie is HttpOnly and SameSite=Lax. Under https it is also `Secure` and has the prefix `__Host-`,
so that neither another host nor a plain-text response can set it. REST routes ignore it: they accept API keys
only.
"""

import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlsplit

import structlog
from fastapi import FastAPI, Request
from sqlmodel import Session
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.auth import sessions
from api.auth.models import BrowserSession
from api.errors import Forbidden, NotSignedIn, ServiceUnavailable
from api.http import dependencies, responses
from api.memberships import roles
from api.memberships.models import Role
from api.memberships.roles import Place
from api.networks import network_of
from api.services import Services
from billing.errors import AccountSuspended
from billing.ledger.models import Account

_COOKIE = "bgeraser_session"
LOGOUT_PATH = "/logout"
#: The names that the session's cookie may have, over http and https.
SESSION_COOKIES = (_COOKIE, f"__Host-{_COOKIE}")
_SAFE_METHODS = frozenset({"GET", "HEAD"})
#: Values of `Sec-Fetch-Site`. "none": the person started the request, for example by reloading a sent form.
_OWN_SITES = frozenset({"same-origin", "none"})
_TOKEN_LENGTH_MAX = 100

log = structlog.get_logger()


@dataclass(frozen=True)
class Visitor:
    """A browser with a session: a guest, unless it is a `SignedInVisitor`."""

    session_id: str
    csrf_token: str  # sent back by the visitor's forms and scripts
    started_at: datetime  # when the session began
    account_id: str | None = None
    email: str | None = None
    is_verified: bool = False  # the account's address was confirmed
    is_operator: bool = False  # the account may use the operator's panel
    is_suspended: bool = False  # nothing is shown and done but signing out
    places: tuple[Place, ...] = ()  # the accounts of others in which the person may work
    elsewhere: Place | None = None  # the one that the session works in; None: in its own account


@dataclass(frozen=True, kw_only=True)
class SignedInVisitor(Visitor):
    """A browser whose session belongs to an account: `account_id` is the person, wherever it works."""

    account_id: str
    email: str

    @property
    def place(self) -> Place:
        """The account whose pictures, credits and keys the session works with, and as what."""
        return self.elsewhere or self.own_place

    @property
    def own_place(self) -> Place:
        """The person's own account."""
        return Place(self.account_id, self.email, Role.OWNER)

    @property
    def member_id(self) -> str | None:
        """The person as a member of the account it works in; None in its own."""
        return None if self.elsewhere is None else self.account_id


def install(app: FastAPI, services: Services) -> None:
    """Enable sessions on every route, including those of mounted applications."""
    app.add_exception_handler(NotSignedIn, _redirect_to_login)
    app.add_middleware(_CookieMiddleware, services=services)


async def visitor_of(request: Request) -> Visitor | None:
    """The visitor identified by the session cookie, None without a session.

    Raises ServiceUnavailable, and AccountSuspended for the session of a suspended account, which can only be
    ended.
    """
    if not hasattr(request.state, "visitor"):
        request.state.visitor = await _load_visitor(request)
    visitor: Visitor | None = request.state.visitor
    if visitor is not None and visitor.is_suspended and request.url.path != LOGOUT_PATH:
        raise AccountSuspended("this account is suspended")
    return visitor


async def require_signed_in(request: Request) -> SignedInVisitor:
    """Raises NotSignedIn: pages redirect to the login form and back, other routes answer 401."""
    visitor = await visitor_of(request)
    if not isinstance(visitor, SignedInVisitor):
        raise NotSignedIn("Sign in first.")
    return visitor


async def require_owner(request: Request) -> SignedInVisitor:
    """As `require_signed_in`, for what belongs to the account's owner, such as billing.

    Raises Forbidden for a session that works in another person's account: it must not change its own one by
    mistake.
    """
    visitor = await require_signed_in(request)
    if visitor.elsewhere is not None:
        raise Forbidden(roles.OWNERS_ONLY)
    return visitor


async def ensure_session(request: Request) -> Visitor:
    """The visitor. Creates a guest session, which writes a row, if there is no session.

    Call it only when something is stored for the guest, and after the guest's limits were checked: unlimited
    sessions would fill the database. The session uses the token of `anonymous_csrf_token`, so that pages
    which are already open keep working.
    """
    visitor = await visitor_of(request)
    if visitor is not None:
        return visitor
    services = services_of(request)
    now = services.clock()
    token, agent = browser_token(request), user_agent_of(request)
    network = network_of(dependencies.address_of(request))
    created = await services.database.run(
        lambda session: sessions.begin_guest(session, token, user_agent=agent, address=network, now=now)
    )
    set_session_cookie(request, created)
    visitor = Visitor(created.session_id, sessions.csrf_token(created.token), now)
    request.state.visitor = visitor
    return visitor


def has_session_cookie(request: Request) -> bool:
    """Whether the browser sent a session cookie; the session may have ended."""
    return bool(request.cookies.get(cookie_name(request, _COOKIE)))


def check_csrf(request: Request, visitor: Visitor | None, form_token: str | None = None) -> None:
    """Raises Forbidden unless the request was sent by one of our own pages.

    Every route that authenticates by cookie and changes something calls this. The token is the header
    `X-CSRF-Token` or `form_token`, the form's field `csrf_token`. Visitors without a session have the one of
    `anonymous_csrf_token`.
    """
    check_same_site(request)
    expected = visitor.csrf_token if visitor is not None else _existing_anonymous_csrf_token(request)
    sent = form_token if form_token is not None else request.headers.get("x-csrf-token", "")
    if not expected or not hmac.compare_digest(expected.encode(), sent.encode()):
        if form_token is None:
            raise Forbidden(
                "You have signed in or out, or changed the account, in another tab. Reload the page to go on."
            )
        raise Forbidden("This form has expired. Reload the page and submit it again.")


def check_same_site(request: Request) -> None:
    """Raises Forbidden if the request's headers say that another site caused it."""
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    if site is not None:
        is_own = site in _OWN_SITES
    elif origin is not None:
        is_own = _host_of(origin) in {request.headers.get("host", ""), _public_host(request)} - {""}
    else:
        is_own = True  # Not a browser, so the request cannot be a forgery with a person's cookie.
    if not is_own:
        raise Forbidden("Requests from other sites are not accepted.")


def csrf_token_for(request: Request, visitor: Visitor | None) -> str:
    """The value of the field `csrf_token` in forms that are shown to `visitor`."""
    return visitor.csrf_token if visitor is not None else anonymous_csrf_token(request)


def anonymous_csrf_token(request: Request) -> str:
    """The CSRF token of a visitor without a session.

    It is bound to a cookie, which the response sets if it is missing. It needs no database row, so requests
    for the login page cannot fill the database.
    """
    existing = _existing_anonymous_csrf_token(request)
    if existing:
        return existing
    token = secrets.token_urlsafe(32)
    request.state.new_browser_token = token
    set_cookie(request, cookie_name(request, "bgeraser_visit"), token, None)
    return sessions.csrf_token(token)


def browser_token(request: Request) -> str:
    """The cookie of a visitor without a session, "" if there is none.

    It identifies the browser between a form and a mailed link.
    """
    new: str | None = getattr(request.state, "new_browser_token", None)
    return new or request.cookies.get(cookie_name(request, "bgeraser_visit"), "")[:_TOKEN_LENGTH_MAX]


def set_session_cookie(request: Request, created: sessions.CreatedSession) -> None:
    """Set the session cookie in the response to `request`."""
    age_seconds = int(sessions.LONGEST.total_seconds())
    set_cookie(request, cookie_name(request, _COOKIE), created.token, age_seconds)


def clear_session_cookie(request: Request) -> None:
    """Delete the session cookie in the response to `request`."""
    set_cookie(request, cookie_name(request, _COOKIE), "", 0)


def set_cookie(request: Request, name: str, value: str, age_seconds: int | None) -> None:
    """Set a cookie for the whole site, whichever code produces the response.

    Without `age_seconds` it is deleted when the browser closes.
    """
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
    """The services, also in a mounted application, whose `request.app` is another one."""
    services: Services = request.scope["state"]["services"]
    return services


def user_agent_of(request: Request) -> str:
    return request.headers.get("user-agent", "")


async def _load_visitor(request: Request) -> Visitor | None:
    token = request.cookies.get(cookie_name(request, _COOKIE), "")
    if not token or len(token) > _TOKEN_LENGTH_MAX:
        return None
    services = services_of(request)
    now = services.clock()

    def find(
        session: Session,
    ) -> tuple[BrowserSession, Account | None, tuple[Place, ...]] | None:
        stored = sessions.find(session, token, now)
        if stored is None:
            return None
        row, account = stored
        return row, account, () if account is None else roles.places_of(session, account.id)

    stored = await services.database.read(find)
    if stored is None:
        return None
    row, account, places = stored
    if sessions.touch_is_due(row, now):
        await _touch(services, row.id, now)
    csrf_token = sessions.csrf_token(token)
    if account is None:
        return Visitor(row.id, csrf_token, row.created_at)
    # Without the membership the session works in its own account: nothing else has to end with it.
    elsewhere = next((place for place in places if place.account_id == row.acting_account_id), None)
    if elsewhere is not None:
        csrf_token = sessions.csrf_token(token, elsewhere.account_id)
    return SignedInVisitor(
        row.id,
        csrf_token,
        row.created_at,
        account_id=account.id,
        email=account.email,
        is_verified=account.verified_at is not None,
        is_operator=account.operator_since is not None,
        is_suspended=account.suspended_at is not None,
        places=places,
        elsewhere=elsewhere,
    )


async def _touch(services: Services, session_id: str, now: datetime) -> None:
    def touch(session: Session) -> None:
        sessions.touch(session, session_id, now)

    try:
        await services.database.run(touch)
    except ServiceUnavailable:
        log.warning("the last use of a session was not recorded", session_id=session_id)


def cookie_name(request: Request, name: str) -> str:
    return f"__Host-{name}" if is_https(request) else name


def _existing_anonymous_csrf_token(request: Request) -> str:
    token = browser_token(request)
    return sessions.csrf_token(token) if token else ""


def _host_of(origin: str) -> str:
    """Host and port of an `Origin`, "" for `null` and for invalid addresses."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def _public_host(request: Request) -> str | None:
    public_url = services_of(request).public_url
    return urlsplit(public_url).netloc if public_url else None


async def _redirect_to_login(request: Request, error: Exception) -> Response:
    if "text/html" in request.headers.get("accept", ""):
        if request.method not in _SAFE_METHODS:
            return RedirectResponse("/login", 303)
        here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/login?next={quote(here, safe='')}", 303)
    return responses.error(request, error)


class _CookieMiddleware:
    """ASGI middleware: makes the services available and adds the cookies set by `set_cookie`."""

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
