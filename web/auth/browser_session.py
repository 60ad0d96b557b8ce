"""Starts the browser session at the end of every way of signing in."""

from datetime import datetime

from fastapi import Request
from sqlmodel import Session

from api.auth import known_devices, sessions
from api.auth.sessions import CreatedSession
from api.http import dependencies
from web.auth import visitor
from web.auth.services import auth_services_of

_DEVICE_COOKIE = "bgeraser_known"
_DEVICE_DAYS = 365


def begin_session(session: Session, request: Request, account_id: str, now: datetime) -> CreatedSession:
    """Create the account's session in the transaction of the login, and end the browser's former session.

    Call it after `visitor.visitor_of`, and call `set_cookies` once the transaction is committed.
    """
    former = request.state.visitor
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


def _device_cookie(request: Request) -> str:
    return visitor.cookie_name(request, _DEVICE_COOKIE)
