"""The alert about a subscription's payment that failed, from the state that was fetched from Stripe."""

from datetime import datetime
from typing import Any

from sqlmodel import Session

from api import response_bodies
from api.alerts import announcements
from api.alerts.announcements import Outlet
from api.alerts.models import AlertKind
from billing.ledger.models import Account
from billing.subscriptions import subscriptions
from billing.subscriptions.types import CustomerFacts


def announce(session: Session, account: Account, facts: CustomerFacts, now: datetime, outlet: Outlet) -> int:
    """Announce each unpaid subscription once for each time that it became unpaid; returns the new alerts.

    Stripe's further attempts to charge the same invoice announce nothing. The account must be locked.
    """
    if account.closed_at is not None:
        return 0
    count = 0
    for each in facts.subscriptions:
        ends_at = subscriptions.grace_end(each)
        if ends_at is None:
            continue
        unpaid_since = ends_at - subscriptions.GRACE
        data: dict[str, Any] = {
            "plan": each.plan.value,
            "unpaidSince": response_bodies.timestamp(unpaid_since),
            "planEndsAt": response_bodies.timestamp(ends_at),
        }
        count += announcements.record(
            session,
            account,
            AlertKind.PAYMENT_FAILED,
            f"{each.id}:{unpaid_since:%Y-%m-%dT%H:%M:%S}",
            data,
            now,
            outlet=outlet,
            kept_for=None,
        )
    return count
