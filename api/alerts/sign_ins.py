"""Alerts about sign-ins from browsers that the account was not used with before."""

import hashlib
from datetime import datetime, timedelta

from sqlmodel import Session

from api import response_bodies
from api.alerts import announcements
from api.alerts.announcements import Outlet
from api.alerts.models import AlertKind
from billing.ledger import accounts

#: The first sign-in within this time of the account's creation is that of who created it.
_FIRST_WITHIN = timedelta(days=1)
_FIRST = "first"
_KEPT_FOR = timedelta(days=2)


def announce(
    session: Session,
    account_id: str,
    *,
    browser: str,
    user_agent: str,
    address: str,
    now: datetime,
    outlet: Outlet,
    is_mailed: bool = True,
) -> bool:
    """Announce a sign-in, once a day for each user agent and address; whether there was an alert.

    `browser`: a name of ours for the user agent, because what a client sends is not repeated. Locks the
    account. The first sign-in to a new account is not announced.
    """
    account = accounts.lock_even_closed(session, account_id)
    is_new = account.created_at > now - _FIRST_WITHIN
    if is_new and announcements.claim(
        session, account_id, AlertKind.SIGN_IN, _FIRST, {}, now, kept_for=_FIRST_WITHIN
    ):
        return False
    digest = hashlib.sha256(f"{user_agent}\n{address}".encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return announcements.record(
        session,
        account,
        AlertKind.SIGN_IN,
        f"{now:%Y-%m-%d}:{digest}",
        {"browser": browser, "address": address, "signedInAt": response_bodies.timestamp(now)},
        now,
        outlet=outlet,
        kept_for=_KEPT_FOR,
        is_mailed=is_mailed,
    )
