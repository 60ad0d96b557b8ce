"""Rows of alerts, and what mails say."""

from datetime import datetime

from sqlmodel import Session, select

from api.alerts import announcements, preferences
from api.alerts.announcements import Outlet
from api.alerts.models import Alert, AlertKind
from billing.ledger import accounts

PAYMENT = {"plan": "standard", "unpaidSince": "2026-11-22T12:00:00Z", "planEndsAt": "2026-11-29T12:00:00Z"}
WITH_MAIL = Outlet(has_mail=True)


def make_alert(session: Session, account_id: str, now: datetime, cause: str = "sub_1") -> Alert:
    """An alert whose mail waits, of an account whose owner has switched off another kind."""
    account = accounts.lock(session, account_id)
    preferences.set_muted(session, account_id, {AlertKind.KEY_ENDING})
    assert announcements.record(
        session, account, AlertKind.PAYMENT_FAILED, cause, PAYMENT, now, outlet=WITH_MAIL, kept_for=None
    )
    return alerts_of(session, account_id)[-1]


def alerts_of(session: Session, account_id: str) -> list[Alert]:
    """The account's alerts, oldest first."""
    statement = select(Alert).where(Alert.account_id == account_id)
    return sorted(session.exec(statement), key=lambda each: (each.created_at, each.id))


def kinds_of(session: Session, account_id: str) -> list[str]:
    return [each.kind for each in alerts_of(session, account_id)]
