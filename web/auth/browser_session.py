"""Starts the browser session at the end of every way of signing in."""

from datetime import datetime

from fastapi import Request
from sqlmodel import Session

from api.alerts import sign_ins
from api.auth import known_devices, sessions
from api.auth.sessions import CreatedSession
from api.http import dependencies
from billing.ledger.models import Account
from web.auth import visitor
from web.auth.browser_names import browser_name
from web.auth.services import auth_services_of

_DEVICE_COOKIE = "bgeraser_known"
_DEVICE_DAYS = 365


def begin_session(
    session: Session, request: Request, account_id: str, now: datetime, *, is_mailed: bool = True
) -> CreatedSession:
    """Create the account's session in the transaction of the login, and end the browser's former session.

    The account's owner is told of a new browser, by mail unless `is_mailed` is false, because another mail
    says it. Call it after `visitor.visitor_of`, and call `set_cookies` once the transaction is committed.
    """
    former = request.state.visitor
    if former is None or former.account_id != account_id:
        _announce_new_browser(session, request, account_id, now, is_mailed=is_mailed)
    created = sessions.upgrade(
        session,
        former.session_id if former is not None else None,
        account_id,
        now,
        user_agent=visitor.user_agent_of(request),
        address=dependencies.address_of(request),
    )
    if created.old_session_id is not None and former.account_id is None:
        for transfer_guest_data in auth_services_of(request).guest_transfers:
            transfer_guest_data(session, created.old_session_id, account_id, now)
    return created


def set_cookies(request: Request, created: CreatedSession, email: str) -> None:
    """Set the session cookie, and the cookie by which the next login recognises this browser."""
    visitor.set_session_cookie(request, created)
    device_token = known_devices.issue_cookie(auth_services_of(request).secret, email)
    visitor.set_cookie(request, _device_cookie(request), device_token, _DEVICE_DAYS * 86_400)


def device_of(request: Request, email: str) -> str | None:
    """The browser's device id if it signed in to the account of `email` before."""
    device_token = request.cookies.get(_device_cookie(request), "")
    return known_devices.device_id(auth_services_of(request).secret, email, device_token)


def _announce_new_browser(
    session: Session, request: Request, account_id: str, now: datetime, *, is_mailed: bool
) -> None:
    if device_of(request, session.get_one(Account, account_id).email) is not None:
        return
    user_agent = visitor.user_agent_of(request)
    sign_ins.announce(
        session,
        account_id,
        browser=browser_name(user_agent),
        user_agent=user_agent,
        address=dependencies.address_of(request),
        now=now,
        outlet=visitor.services_of(request).alerts,
        is_mailed=is_mailed,
    )


def _device_cookie(request: Request) -> str:
    return visitor.cookie_name(request, _DEVICE_COOKIE)
