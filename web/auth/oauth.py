"""Signing in elsewhere: to the provider and back.

What was begun travels in a signed cookie of the browser that began it, so that nobody can finish in one
browser what began in another; it is taken away with the first answer.
"""

import base64
import hashlib
import hmac
import json
import time
from dataclasses import asdict, dataclass

from fastapi import Request
from sqlmodel import Session
from starlette.responses import RedirectResponse, Response

from api.auth import external_identities
from api.auth.external_identities import Claim
from api.auth.sessions import CreatedSession
from api.errors import Forbidden, NotFound
from billing.ledger.models import Account
from web.auth import browser_session, forms, visitor
from web.auth.providers import Begun, Provider
from web.auth.services import address_of_site, auth_services_of

_COOKIE = "bgeraser_exchange"
_SECONDS = 600
_UNKNOWN = "This sign-in was not begun in this browser, or too long ago. Please start again."
_VALUE_LENGTH_MAX = 2_000


@dataclass(frozen=True)
class _Exchange:
    """What the browser keeps between leaving and coming back."""

    provider: str
    state: str
    nonce: str
    code_verifier: str
    next_path: str
    links_account_id: str  # "" for a login; else the account that gets a further way of signing in
    until_unix_seconds: int


async def begin(request: Request) -> Response:
    """Sends the browser to the provider. A link, because a form's policy would stop it on the way there."""
    visitor.check_same_site(request)
    who = await visitor.visitor_of(request)
    provider = _provider_of(request)
    links = who.account_id if who is not None and "link" in request.query_params else None
    next_path = "/settings" if links else forms.own_path(request.query_params.get("next", ""))
    begun = await provider.begin(_callback_url(request, provider))
    exchange = _Exchange(
        provider=provider.name,
        state=begun.state,
        nonce=begun.nonce,
        code_verifier=begun.code_verifier,
        next_path=next_path,
        links_account_id=links or "",
        until_unix_seconds=int(time.time()) + _SECONDS,
    )
    cookie = visitor.cookie_name(request, _COOKIE)
    visitor.set_cookie(request, cookie, _sealed(auth_services_of(request).secret, exchange), _SECONDS)
    return RedirectResponse(begun.url, 303)


async def callback(request: Request) -> Response:
    provider = _provider_of(request)
    await visitor.visitor_of(request)
    exchange = _exchange_of(request, provider)
    visitor.set_cookie(request, visitor.cookie_name(request, _COOKIE), "", 0)
    if exchange is None:
        return await _refusal(request, _UNKNOWN)
    code = request.query_params.get("code", "")
    if request.query_params.get("error") or not code or len(code) > _VALUE_LENGTH_MAX:
        return await _refusal(request, f"{provider.title} did not confirm the sign-in. Please try again.")
    begun = Begun("", exchange.state, exchange.nonce, exchange.code_verifier)
    try:
        claim = await provider.finish(begun, _callback_url(request, provider), code)
        if exchange.links_account_id:
            return await _link(request, exchange.links_account_id, claim)
        made, email = await _sign_in(request, claim)
    except Forbidden as error:
        return await _refusal(request, error.message)
    browser_session.keep(request, made, email)
    return RedirectResponse(exchange.next_path, 303)


async def _sign_in(request: Request, claim: Claim) -> tuple[CreatedSession, str]:
    services = visitor.services_of(request)
    now = services.clock()

    def work(session: Session) -> tuple[CreatedSession, str]:
        account_id = external_identities.account_for(session, services.former, claim, now=now)
        email = session.get_one(Account, account_id).email
        return browser_session.begin_session(session, request, account_id, now), email

    return await services.database.run(work)


async def _link(request: Request, account_id: str, claim: Claim) -> Response:
    who = await visitor.visitor_of(request)
    if who is None or who.account_id != account_id:
        raise Forbidden(_UNKNOWN)
    services = visitor.services_of(request)
    now = services.clock()
    await services.database.run(lambda session: external_identities.link(session, account_id, claim, now=now))
    return RedirectResponse("/settings", 303)


async def _refusal(request: Request, message: str) -> Response:
    return await forms.show(request, "sign_in_refused.html", 403, message=message)


def _provider_of(request: Request) -> Provider:
    provider = auth_services_of(request).providers.get(request.path_params["provider"])
    if provider is None:
        raise NotFound("This way of signing in is not set up here.")
    return provider


def _callback_url(request: Request, provider: Provider) -> str:
    return f"{address_of_site(request)}/oauth/{provider.name}/callback"


def _exchange_of(request: Request, provider: Provider) -> _Exchange | None:
    """What this browser began with `provider`, if the answer's state is its own and in time."""
    sealed = request.cookies.get(visitor.cookie_name(request, _COOKIE), "")
    exchange = _opened(auth_services_of(request).secret, sealed)
    if exchange is None or exchange.provider != provider.name or exchange.until_unix_seconds < time.time():
        return None
    state = request.query_params.get("state", "")
    return exchange if hmac.compare_digest(exchange.state.encode(), state.encode()) else None


def _sealed(secret: str, exchange: _Exchange) -> str:
    content = base64.urlsafe_b64encode(json.dumps(asdict(exchange)).encode()).decode()
    return f"{content}.{_signature(secret, content)}"


def _opened(secret: str, sealed: str) -> _Exchange | None:
    content, _, signature = sealed.partition(".")
    if not hmac.compare_digest(_signature(secret, content).encode(), signature.encode()):
        return None
    return _Exchange(**json.loads(base64.urlsafe_b64decode(content)))


def _signature(secret: str, content: str) -> str:
    message = f"bgeraser exchange\n{content}".encode("utf-8", "surrogatepass")
    return hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()
