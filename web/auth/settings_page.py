"""Account settings: password, sessions, linked accounts and mails."""

from dataclasses import dataclass
from datetime import datetime

from fastapi import Request
from sqlmodel import Session
from starlette.responses import RedirectResponse, Response

from api.auth import external_identities, invitations, members, passwords, registration, sessions, throttle
from api.auth.email import messages
from api.auth.members import AccountMember
from api.auth.models import BrowserSession, Identity
from api.auth.sessions import CreatedSession
from api.errors import Forbidden, NotFound, RateLimited
from api.http import dependencies
from api.memberships.models import Invitation
from web.auth import alert_settings, browser_session, forms, visitor
from web.auth.alert_settings import ShownAlert
from web.auth.browser_names import browser_name
from web.auth.services import auth_services_of
from web.auth.visitor import SignedInVisitor

_MISMATCH = "The current password is wrong."
_SAVED = {
    "password": "Your password has been changed. All other browsers were signed out.",
    "session": "The browser was signed out.",
    "sessions": "All other browsers were signed out.",
    "identity": "The linked account was removed.",
    "alerts": "Your choice of mails was saved.",
    "invited": "The invitation was sent. Its link is valid for 7 days.",
    "withdrawn": "The invitation was withdrawn. Its link does not work any more.",
    "role": "The role was changed.",
    "removed": "The member was removed. The keys that this person had made here do not work any more.",
    "left": "You have left the account.",
}


@dataclass(frozen=True)
class _AccountSettings:
    password_hash: str | None
    sessions: list[BrowserSession]
    identities: list[Identity]
    alerts: list[ShownAlert]
    members: list[AccountMember]
    invitations: list[Invitation]


async def settings_page(request: Request) -> Response:
    user = await visitor.require_signed_in(request)
    saved = _SAVED.get(request.query_params.get("saved", ""), "")
    return await show(request, user, saved=saved)


async def change_password(request: Request) -> Response:
    """Change the password, or set the first one of a linked account. Ends every other session."""
    user, fields = await forms.read_signed_in(request)
    account_id, email, auth = user.account_id, user.email, auth_services_of(request)
    services, now = visitor.services_of(request), visitor.services_of(request).clock()
    try:
        stored = await check_password(request, user, fields.get("current", ""))
    except (Forbidden, RateLimited) as error:
        status = 429 if isinstance(error, RateLimited) else 422
        return await show(request, user, status, problems={"current": error.message})
    password = fields.get("password", "")
    problem = passwords.problem_with(password, email)
    if problem is not None:
        return await show(request, user, 422, problems={"password": problem})
    hashed = await auth.hashing.hash(password)

    def work(session: Session) -> CreatedSession:
        if registration.password_of(session, account_id) != stored:
            raise Forbidden("The password was changed in another browser. Reload the page.")
        registration.change_password(session, account_id, hashed, now=now)
        return browser_session.begin_session(session, request, account_id, now)

    created = await services.database.run(work)
    auth.send(messages.password_changed(email, f"{dependencies.public_base_url(request)}/reset"))
    browser_session.set_cookies(request, created, email)
    return RedirectResponse("/settings?saved=password", 303)


async def end_session(request: Request) -> Response:
    user, fields = await forms.read_signed_in(request)
    session_id = fields.get("session_id", "")
    services = visitor.services_of(request)
    if not await services.database.run(lambda s: sessions.end_of_account(s, user.account_id, session_id)):
        raise NotFound("This session does not exist. It may have ended already.")
    return RedirectResponse("/settings?saved=session", 303)


async def end_other_sessions(request: Request) -> Response:
    user, _ = await forms.read_signed_in(request)
    services = visitor.services_of(request)
    await services.database.run(lambda s: sessions.end_all(s, user.account_id, but=user.session_id))
    return RedirectResponse("/settings?saved=sessions", 303)


async def unlink(request: Request) -> Response:
    user, fields = await forms.read_signed_in(request)
    identity_id = fields.get("identity_id", "")
    await visitor.services_of(request).database.run(
        lambda s: external_identities.unlink(s, user.account_id, identity_id)
    )
    return RedirectResponse("/settings?saved=identity", 303)


async def check_password(request: Request, user: SignedInVisitor, password: str) -> str | None:
    """Check that the account's owner is present, by the password or else by a recent login.

    Returns the stored hash, None if there is no password. Raises Forbidden, RateLimited.
    """
    account_id = user.account_id
    services = visitor.services_of(request)
    now = services.clock()
    bucket = throttle.by_email("confirm", account_id)
    stored = await services.database.read(lambda session: registration.password_of(session, account_id))
    if stored is None:
        if not is_recent_login(user, now):
            raise Forbidden("Log out and log in again to confirm that it is you.")
        return None
    await services.database.run(lambda s: throttle.require(s, bucket, throttle.LOGIN_BY_ACCOUNT, now))
    is_right, _ = await auth_services_of(request).hashing.verify(password, stored)
    if not is_right:
        raise Forbidden(_MISMATCH)
    await services.database.run(lambda s: throttle.give_back(s, bucket, throttle.LOGIN_BY_ACCOUNT, now))
    return stored


def is_recent_login(user: SignedInVisitor, now: datetime) -> bool:
    return user.started_at > now - sessions.FRESH


async def show(
    request: Request,
    user: SignedInVisitor,
    status_code: int = 200,
    *,
    saved: str = "",
    problems: dict[str, str] | None = None,
    invited: str = "",
    invitation_link: str = "",
) -> Response:
    """`invited`: the address in the form of invitations; `invitation_link`: to pass on to it, shown once."""
    services = visitor.services_of(request)
    now = services.clock()

    def read_settings(session: Session) -> _AccountSettings:
        return _AccountSettings(
            registration.password_of(session, user.account_id),
            sessions.listed(session, user.account_id, now),
            external_identities.listed(session, user.account_id),
            alert_settings.listed(session, user.account_id),
            members.listed(session, user.account_id),
            invitations.pending(session, user.account_id, now),
        )

    account_settings = await services.database.read(read_settings)
    linked = {identity.issuer for identity in account_settings.identities}
    providers = auth_services_of(request).providers
    return await forms.show(
        request,
        "settings.html",
        status_code,
        saved=saved,
        problems=problems or {},
        has_password=account_settings.password_hash is not None,
        sessions=account_settings.sessions,
        browser_name=browser_name,
        identities=account_settings.identities,
        alerts=account_settings.alerts,
        has_mail=services.mailer is not None,
        titles={provider.issuer: provider.title for provider in providers.values()},
        addable=[provider for provider in providers.values() if provider.issuer not in linked],
        length_min=passwords.LENGTH_MIN,
        length_max=passwords.LENGTH_MAX,
        members=account_settings.members,
        invitations=account_settings.invitations,
        members_max=members.LIMIT,
        invited=invited,
        invitation_link=invitation_link,
    )
