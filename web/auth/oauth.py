"""Sign-in with an external provider (OAuth 2, OpenID Connect).

The state of an exchange is kept in a signed cookie, so that an exchange can only be finished in the browser
that started it. The cookie is deleted by the first response of the provider.
"""

import hashlib
import hmac
from dataclasses import asdict, dataclass

from fastapi import Request
from itsdangerous import BadData, URLSafeTimedSerializer
from sqlmodel import Session
from starlette.responses import RedirectResponse, Response

from api.auth import external_identities
from api.auth.external_identities import Claim
from api.auth.sessions import CreatedSession
from api.errors import Forbidden, NotFound
from api.http import dependencies
from billing.ledger.models import Account
from web.auth import browser_session, forms, visitor
from web.auth.providers import Authorization, Provider
from web.auth.services import auth_services_of

_COOKIE = "bgeraser_exchange"
COOKIE_SALT = "bgeraser oauth exchange"
_LIFETIME_SECONDS = 600
_UNKNOWN = "This sign-in was started in another browser or has expired. Please start again."
_VALUE_LENGTH_MAX = 2_000


@dataclass(frozen=True)
class _Exchange:
    """The state of an exchange while the browser is at the provider."""

    provider: str
    state: str
    nonce: str
    code_verifier: str
    next_path: str
    linked_account_id: str  # the account to link the identity to, "" for a login


async def begin(request: Request) -> Response:
    """Redirect to the provider.

    It is a GET, because `form-action` would block a form's redirect to another site.
    """
    visitor.check_same_site(request)
    current = await visitor.visitor_of(request)
    provider = _provider_of(request)
    linked_account_id = current.account_id if current is not None and "link" in request.query_params else None
    next_path = "/settings" if linked_account_id else forms.local_path(request.query_params.get("next", ""))
    authorization = await provider.begin(_callback_url(request, provider))
    exchange = _Exchange(
        provider=provider.name,
        state=authorization.state,
        nonce=authorization.nonce,
        code_verifier=authorization.code_verifier,
        next_path=next_path,
        linked_account_id=linked_account_id or "",
    )
    cookie = visitor.cookie_name(request, _COOKIE)
    visitor.set_cookie(request, cookie, _serializer(request).dumps(asdict(exchange)), _LIFETIME_SECONDS)
    return RedirectResponse(authorization.url, 303)


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
    authorization = Authorization("", exchange.state, exchange.nonce, exchange.code_verifier)
    try:
        claim = await provider.finish(authorization, _callback_url(request, provider), code)
        if exchange.linked_account_id:
            return await _link(request, exchange.linked_account_id, claim)
        created, email = await _sign_in(request, claim)
    except Forbidden as error:
        return await _refusal(request, error.message)
    browser_session.set_cookies(request, created, email)
    return RedirectResponse(exchange.next_path, 303)


async def _sign_in(request: Request, claim: Claim) -> tuple[CreatedSession, str]:
    services = visitor.services_of(request)
    now = services.clock()

    def begin_session(session: Session) -> tuple[CreatedSession, str]:
        account_id = external_identities.account_for(session, services.former, claim, now=now)
        email = session.get_one(Account, account_id).email
        return browser_session.begin_session(session, request, account_id, now), email

    return await services.database.run(begin_session)


async def _link(request: Request, account_id: str, claim: Claim) -> Response:
    current = await visitor.visitor_of(request)
    if current is None or current.account_id != account_id:
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
        raise NotFound("This sign-in provider is not configured.")
    return provider


def _callback_url(request: Request, provider: Provider) -> str:
    return f"{dependencies.public_base_url(request)}/oauth/{provider.name}/callback"


def _exchange_of(request: Request, provider: Provider) -> _Exchange | None:
    """The exchange that this browser started with `provider`, if it is recent and the state matches."""
    cookie = request.cookies.get(visitor.cookie_name(request, _COOKIE), "")
    try:
        exchange = _Exchange(**_serializer(request).loads(cookie, max_age=_LIFETIME_SECONDS))
    except BadData:
        return None
    state = request.query_params.get("state", "")
    is_same_state = hmac.compare_digest(exchange.state.encode(), state.encode())
    return exchange if is_same_state and exchange.provider == provider.name else None


def _serializer(request: Request) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(
        auth_services_of(request).secret, salt=COOKIE_SALT, signer_kwargs={"digest_method": hashlib.sha256}
    )
