"""Logging in with a password or a one-time link, and out.

An unknown address and a wrong password get the same words after the same work.
"""

from datetime import datetime

from fastapi import Request
from sqlmodel import Session
from starlette.responses import RedirectResponse, Response

from api.auth import registration, sessions, throttle, tokens
from api.auth.models import Purpose
from api.auth.sessions import CreatedSession
from api.errors import RateLimited
from billing.ledger import accounts
from billing.ledger.models import Account
from web.auth import browser_session, forms, visitor
from web.auth.services import auth_services_of

_WRONG = "The address or the password is not right."


async def login_page(request: Request) -> Response:
    who = await visitor.visitor_of(request)
    next_path = forms.own_path(request.query_params.get("next", ""))
    if who is not None and who.account_id is not None:
        return RedirectResponse(next_path, 303)
    return await _form(request, next_path=next_path)


async def login(request: Request) -> Response:
    _, fields = await forms.read(request)
    email = accounts.normalise_email(fields.get("email", ""))
    next_path = forms.own_path(fields.get("next", ""))
    try:
        await _take_attempt(request, email)
    except RateLimited as error:
        refused = await _form(request, 429, email=email, next_path=next_path, problem=error.message)
        refused.headers["Retry-After"] = str(error.retry_after_seconds)
        return refused
    made = await _session_for(request, email, fields.get("password", ""))
    if made is None:
        return await _form(request, 401, email=email, next_path=next_path, problem=_WRONG)
    browser_session.keep(request, made, email)
    return RedirectResponse(next_path, 303)


async def logout(request: Request) -> Response:
    who, _ = await forms.read(request)
    if who is not None:
        await visitor.services_of(request).database.run(lambda s: sessions.end(s, who.session_id))
    visitor.forget(request)
    return RedirectResponse("/", 303)


async def login_once(request: Request) -> Response:
    """The operator's link. Only GET uses it up: programs that look at links first ask with HEAD."""
    await visitor.visitor_of(request)
    services = visitor.services_of(request)
    token, now = request.query_params.get("token", ""), services.clock()

    def use(session: Session) -> tuple[CreatedSession, str] | None:
        used = tokens.use(session, token, Purpose.LOGIN, now) if request.method == "GET" else None
        if used is None:
            return None
        account = accounts.lock(session, used.account_id)
        return browser_session.begin_session(session, request, account.id, now), account.email

    signed_in = await services.database.run(use)
    if signed_in is None:
        return await forms.show(request, "bad_link.html", 410, again=None)
    browser_session.keep(request, *signed_in)
    return RedirectResponse(forms.HOME, 303)


async def _form(
    request: Request, status_code: int = 200, *, next_path: str, email: str = "", problem: str = ""
) -> Response:
    people = auth_services_of(request)
    return await forms.show(
        request,
        "login.html",
        status_code,
        email=email,
        problem=problem,
        next_path=next_path,
        providers=list(people.providers.values()),
        takes_sign_ups=people.takes_sign_ups,
    )


async def _take_attempt(request: Request, email: str) -> None:
    """Raises RateLimited. The attempt is given back if it was a good one."""
    services = visitor.services_of(request)
    now = services.clock()

    def take(session: Session) -> RateLimited | None:
        for bucket, limit in _buckets(request, email):
            wait = throttle.take(session, bucket, limit, now)
            if wait is not None:
                return throttle.refusal(wait)  # Returned, so that what was taken stays taken.
        return None

    refusal = await services.database.run(take)
    if refusal is not None:
        raise refusal


def _buckets(request: Request, email: str) -> list[tuple[str, throttle.Limit]]:
    address = throttle.by_address("login", visitor.address_of(request))
    device = browser_session.device_of(request, email)
    account = throttle.by_email("login", email) if device is None else throttle.by_device(email, device)
    return [(address, throttle.LOGIN_BY_ADDRESS), (account, throttle.LOGIN_BY_ACCOUNT)]


async def _session_for(request: Request, email: str, password: str) -> CreatedSession | None:
    services = visitor.services_of(request)
    now = services.clock()
    stored = await services.database.read(lambda session: _stored(session, email))
    is_right, better_hash = await auth_services_of(request).hashing.verify(password, stored)
    if not is_right:
        return None

    def begin(session: Session) -> CreatedSession | None:
        # Looked at anew: the password may have been changed, or the account closed, during the hashing.
        account = registration.open_account(session, email)
        if account is None or registration.password_of(session, account.id) != stored:
            return None
        return _begin(session, request, account, better_hash, now)

    return await services.database.run(begin)


def _begin(
    session: Session, request: Request, account: Account, better_hash: str | None, now: datetime
) -> CreatedSession:
    if better_hash is not None:
        registration.set_password(session, account.id, better_hash, now=now)
    for bucket, limit in _buckets(request, account.email):
        throttle.give_back(session, bucket, limit, now)
    return browser_session.begin_session(session, request, account.id, now)


def _stored(session: Session, email: str) -> str | None:
    account = registration.open_account(session, email)
    return None if account is None else registration.password_of(session, account.id)
