"""Login with a password or a one-time link, and logout.

An unknown address and a wrong password get the same message after the same work.
"""

from datetime import datetime
from urllib.parse import quote

from fastapi import Request
from sqlmodel import Session
from starlette.responses import RedirectResponse, Response

from api.auth import registration, sessions, throttle, tokens
from api.auth.models import Purpose
from api.auth.sessions import CreatedSession
from api.errors import RateLimited
from api.http import dependencies
from billing.ledger import accounts
from billing.ledger.models import Account
from web.auth import browser_session, forms, visitor
from web.auth.services import auth_services_of
from web.auth.visitor import SignedInVisitor

#: The parameter by which the form is shown to somebody who is signed in.
AGAIN = "again"
_WRONG_CREDENTIALS = "The email address or the password is wrong."


async def login_page(request: Request) -> Response:
    next_path = forms.local_path(request.query_params.get("next", ""))
    current = await visitor.visitor_of(request)
    if not isinstance(current, SignedInVisitor):
        return await _form(request, next_path=next_path)
    if AGAIN not in request.query_params:
        return RedirectResponse(next_path, 303)
    return await _form(request, next_path=next_path, email=current.email, is_again=True)


def sign_in_again(next_path: str) -> Response:
    """Ask a signed-in visitor to sign in once more, and come back to `next_path`."""
    return RedirectResponse(f"/login?{AGAIN}=yes&next={quote(next_path, safe='')}", 303)


async def login(request: Request) -> Response:
    _, fields = await forms.read(request)
    email = accounts.normalise_email(fields.get("email", ""))
    next_path = forms.local_path(fields.get("next", ""))
    is_again = fields.get(AGAIN) == "yes"
    try:
        await _take_attempt(request, email)
    except RateLimited as error:
        refused = await _form(
            request, 429, email=email, next_path=next_path, problem=error.message, is_again=is_again
        )
        refused.headers["Retry-After"] = str(error.retry_after_seconds)
        return refused
    created = await _verify_and_begin_session(request, email, fields.get("password", ""))
    if created is None:
        return await _form(
            request, 401, email=email, next_path=next_path, problem=_WRONG_CREDENTIALS, is_again=is_again
        )
    browser_session.set_cookies(request, created, email)
    return RedirectResponse(next_path, 303)


async def logout(request: Request) -> Response:
    sender, _ = await forms.read(request)
    if sender is not None:
        await visitor.services_of(request).database.run(lambda s: sessions.end(s, sender.session_id))
    visitor.clear_session_cookie(request)
    return RedirectResponse("/", 303)


async def login_once(request: Request) -> Response:
    """The operator's login link. Only GET consumes it, because link scanners send HEAD first."""
    await visitor.visitor_of(request)
    services = visitor.services_of(request)
    token, now = request.query_params.get("token", ""), services.clock()

    def consume(session: Session) -> tuple[CreatedSession, str] | None:
        used = tokens.use(session, token, Purpose.LOGIN, now) if request.method == "GET" else None
        if used is None:
            return None
        account = accounts.lock(session, used.account_id)
        return browser_session.begin_session(session, request, account.id, now), account.email

    signed_in = await services.database.run(consume)
    if signed_in is None:
        return await forms.show(request, "bad_link.html", 410, again=None)
    browser_session.set_cookies(request, *signed_in)
    return RedirectResponse(forms.local_path(request.query_params.get("next", "")), 303)


async def _form(
    request: Request,
    status_code: int = 200,
    *,
    next_path: str,
    email: str = "",
    problem: str = "",
    is_again: bool = False,
) -> Response:
    """`is_again`: the visitor is signed in, and is asked to prove once more who it is."""
    auth = auth_services_of(request)
    return await forms.show(
        request,
        "login.html",
        status_code,
        email=email,
        problem=problem,
        next_path=next_path,
        is_again=is_again,
        providers=list(auth.providers.values()),
        allows_sign_up=auth.allows_sign_up,
    )


async def _take_attempt(request: Request, email: str) -> None:
    """Count a login attempt. It is given back after a successful login. Raises RateLimited."""
    services = visitor.services_of(request)
    now = services.clock()

    def take(session: Session) -> RateLimited | None:
        for bucket, limit in _buckets(request, email):
            wait = throttle.take(session, bucket, limit, now)
            if wait is not None:
                return throttle.refusal(wait)  # Raising would roll back the attempt.
        return None

    refusal = await services.database.run(take)
    if refusal is not None:
        raise refusal


def _buckets(request: Request, email: str) -> list[tuple[str, throttle.Limit]]:
    address = throttle.by_address("login", dependencies.address_of(request))
    device = browser_session.device_of(request, email)
    account = throttle.by_email("login", email) if device is None else throttle.by_device(email, device)
    return [(address, throttle.LOGIN_BY_ADDRESS), (account, throttle.LOGIN_BY_ACCOUNT)]


async def _verify_and_begin_session(request: Request, email: str, password: str) -> CreatedSession | None:
    """A new session, None if the password is wrong."""
    services = visitor.services_of(request)
    now = services.clock()
    stored = await services.database.read(lambda session: _password_hash(session, email))
    is_right, better_hash = await auth_services_of(request).hashing.verify(password, stored)
    if not is_right:
        return None

    def begin(session: Session) -> CreatedSession | None:
        # Checked again: the password may have been changed, or the account closed, during the hashing.
        account = registration.open_account(session, email)
        if account is None or registration.password_of(session, account.id) != stored:
            return None
        return _begin_session(session, request, account, better_hash, now)

    return await services.database.run(begin)


def _begin_session(
    session: Session, request: Request, account: Account, better_hash: str | None, now: datetime
) -> CreatedSession:
    if better_hash is not None:
        registration.set_password(session, account.id, better_hash, now=now)
    for bucket, limit in _buckets(request, account.email):
        throttle.give_back(session, bucket, limit, now)
    return browser_session.begin_session(session, request, account.id, now)


def _password_hash(session: Session, email: str) -> str | None:
    account = registration.open_account(session, email)
    return None if account is None else registration.password_of(session, account.id)
