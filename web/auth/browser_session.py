"""What every way of signing in ends with: a new session in the browser."""

from datetime import datetime

from fastapi import Request
from sqlmodel import Session

from api.auth import known_devices, sessions
from api.auth.sessions import CreatedSession
from web.auth import visitor
from web.auth.services import auth_services_of

_DEVICE_COOKIE = "bgeraser_known"
_DEVICE_DAYS = 365


def begin_session(session: Session, request: Request, account_id: str, now: datetime) -> CreatedSession:
    """The account's new session, in the transaction of the login; the browser's former session ends.

    Call it after `visitor.visitor_of`, and `keep` with the answer once the transaction is committed.
    """
    former = request.state.visitor
    made = sessions.upgrade(
        session,
        former.session_id if former is not None else None,
        account_id,
        now,
        user_agent=visitor.user_agent_of(request),
        address=visitor.address_of(request),
    )
    if made.old_session_id is not None and former.account_id is None:
        for carry_over in auth_services_of(request).carry_over:
            carry_over(session, made.old_session_id, account_id, now)
    return made


def keep(request: Request, made: CreatedSession, email: str) -> None:
    """The answer to `request` signs the browser in, and lets it be known at the next login."""
    visitor.remember(request, made)
    note = known_devices.issue_cookie(auth_services_of(request).secret, email)
    visitor.set_cookie(request, _device_cookie(request), note, _DEVICE_DAYS * 86_400)


def device_of(request: Request, email: str) -> str | None:
    """The browser's name if it signed in to the account of `email` before."""
    note = request.cookies.get(_device_cookie(request), "")
    return known_devices.device_id(auth_services_of(request).secret, email, note)


def _device_cookie(request: Request) -> str:
    return visitor.cookie_name(request, _DEVICE_COOKIE)
