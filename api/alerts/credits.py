"""Alerts about credits that run down."""

from datetime import datetime, timedelta

from sqlmodel import Session

from api import response_bodies
from api.alerts import announcements
from api.alerts.announcements import Outlet
from api.alerts.models import AlertKind
from billing.ledger import grants, levels
from billing.ledger.models import Account, CreditLevel

_KINDS = {
    CreditLevel.LOW: AlertKind.CREDITS_LOW,
    CreditLevel.EXHAUSTED: AlertKind.CREDITS_EXHAUSTED,
}
#: The account's level keeps from announcing it again anyway.
_KEPT_FOR = timedelta(days=400)


def spent(session: Session, account: Account, request_id: str, now: datetime, *, outlet: Outlet) -> bool:
    """Announce that credits are low or exhausted, after some were captured; whether there was an alert.

    Once for each level until new credits arrive. The account must be locked. Below or above the limit this
    neither reads nor writes.
    """
    reached = levels.lower(session, account)
    if reached is None:
        return False
    of_packs = grants.pack_credits(session, account.id)
    return announcements.record(
        session,
        account,
        _KINDS[reached],
        levels.latest_grant(session, account.id),
        response_bodies.account_data(account, of_packs),
        now,
        outlet=outlet,
        kept_for=_KEPT_FOR,
        request_id=request_id,
    )
