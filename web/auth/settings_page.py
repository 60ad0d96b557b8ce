"""An account's settings: password, sessions, linked sign-ins. Each change ends what it must end."""

from dataclasses import dataclass
from datetime import datetime

from fastapi import Request
from sqlmodel import Session
from starlette.responses import RedirectResponse, Response

from api.auth import external_identities, passwords, registration, sessions, throttle
from api.auth.email import messages
from api.auth.models import BrowserSession, Identity
from api.auth.sessions import CreatedSession
from api.errors import Forbidden, NotFound, RateLimited
from web.auth import browser_names, browser_session, forms, visitor
from web.auth.services import address_of_site, auth_services_of
from web.auth.visitor import Visitor

_WRONG = "The present password is not right."
_SAVED = {
    "password": "The password is changed. Every other browser was signed out.",
    "session": "The session is ended.",
    "sessions": "Every other browser is signed out.",
    "identity": "The linked sign-in is removed.",
}


@dataclass(frozen=True)
class _State:
    stored_password: str | None
    sessions: list[BrowserSession]
    identities: list[Identity]


async def settings_page(request: Request) -> Response:
    who = await visitor.signed_in(request)
    saved = _SAVED.get(request.query_params.get("saved", ""), "")
    return await _page(request, who, saved=saved)


async def change_password(request: Request) -> Response:
    """A new password, or the first one after signing in elsewhere. Ends every other session."""
    who, fields = await forms.read_signed_in(request)
    assert who.account_id is not None
    assert who.email is not None
    account_id, email, people = who.account_id, who.email, auth_services_of(request)
    services, now = visitor.services_of(request), visitor.services_of(request).clock()
    try:
        stored = await check_password(request, who, fields.get("current", ""))
    except (Forbidden, RateLimited) as error:
        status = 429 if isinstance(error, RateLimited) else 422
        return await _page(request, who, status, problems={"current": error.message})
    password = fields.get("password", "")
    problem = passwords.problem_with(password, email)
    if problem is not None:
        return await _page(request, who, 422, problems={"password": problem})
    hashed = await people.hashing.hash(password)

    def work(session: Session) -> CreatedSession:
        if registration.password_of(session, account_id) != stored:
            raise Forbidden("The password was changed meanwhile. Load the page again.")
        registration.change_password(session, account_id, hashed, now=now)
        return browser_session.begin_session(session, request, account_id, now)

    made = await services.database.run(work)
    people.send(messages.password_changed(email, f"{address_of_site(request)}/reset"))
    browser_session.keep(request, made, email)
    return RedirectResponse("/settings?saved=password", 303)


async def end_session(request: Request) -> Response:
    who, fields = await forms.read_signed_in(request)
    assert who.account_id is not None
    account_id, wanted = who.account_id, fields.get("session_id", "")
    services = visitor.services_of(request)
    if not await services.database.run(lambda s: sessions.end_of_account(s, account_id, wanted)):
        raise NotFound("There is no such session; it may have ended already.")
    return RedirectResponse("/settings?saved=session", 303)


async def end_other_sessions(request: Request) -> Response:
    who, _ = await forms.read_signed_in(request)
    assert who.account_id is not None
    account_id = who.account_id
    services = visitor.services_of(request)
    await services.database.run(lambda s: sessions.end_all(s, account_id, but=who.session_id))
    return RedirectResponse("/settings?saved=sessions", 303)


async def unlink(request: Request) -> Response:
    who, fields = await forms.read_signed_in(request)
    assert who.account_id is not None
    account_id, wanted = who.account_id, fields.get("identity_id", "")
    await visitor.services_of(request).database.run(
        lambda s: external_identities.unlink(s, account_id, wanted)
    )
    return RedirectResponse("/settings?saved=identity", 303)


async def check_password(request: Request, who: Visitor, password: str) -> str | None:
    """Proof that the person at the keyboard is the account's: the password, else a login a short while ago.

    The stored hash, None if there is no password. Raises Forbidden, RateLimited.
    """
    assert who.account_id is not None
    account_id = who.account_id
    services = visitor.services_of(request)
    now = services.clock()
    bucket = throttle.by_email("confirm", account_id)
    stored = await services.database.read(lambda session: registration.password_of(session, account_id))
    if stored is None:
        if not is_fresh(who, now):
            raise Forbidden("Log out and in again first, to show that it is you.")
        return None
    await services.database.run(lambda s: throttle.require(s, bucket, throttle.LOGIN_BY_ACCOUNT, now))
    is_right, _ = await auth_services_of(request).hashing.verify(password, stored)
    if not is_right:
        raise Forbidden(_WRONG)
    await services.database.run(lambda s: throttle.give_back(s, bucket, throttle.LOGIN_BY_ACCOUNT, now))
    return stored


def is_fresh(who: Visitor, now: datetime) -> bool:
    return who.signed_in_at > now - sessions.FRESH


async def _page(
    request: Request,
    who: Visitor,
    status_code: int = 200,
    *,
    saved: str = "",
    problems: dict[str, str] | None = None,
) -> Response:
    assert who.account_id is not None
    account_id = who.account_id
    services = visitor.services_of(request)
    now = services.clock()

    def look(session: Session) -> _State:
        return _State(
            registration.password_of(session, account_id),
            sessions.listed(session, account_id, now),
            external_identities.listed(session, account_id),
        )

    state = await services.database.read(look)
    linked = {one.issuer for one in state.identities}
    providers = auth_services_of(request).providers
    return await forms.show(
        request,
        "settings.html",
        status_code,
        saved=saved,
        problems=problems or {},
        has_password=state.stored_password is not None,
        sessions=state.sessions,
        browser_name=browser_names.name_of,
        identities=state.identities,
        titles={provider.issuer: provider.title for provider in providers.values()},
        addable=[provider for provider in providers.values() if provider.issuer not in linked],
        length_min=passwords.LENGTH_MIN,
        length_max=passwords.LENGTH_MAX,
    )
