"""Recording alerts, in the transaction of their cause.

A unique row decides that each cause is announced once, however many calls and processes meet it. The same
transaction records the webhooks' messages and the mail, so that they exist exactly if the cause does.
"""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlmodel import Session, col, delete, select

from api import response_bodies
from api.alerts import preferences
from api.alerts.models import Alert, AlertKind, MailStatus
from api.durable.engine import Engine
from api.durable.tasks import Task
from api.webhooks import outbox
from api.webhooks.models import WebhookEvent
from billing.identifiers import new_id
from billing.ledger.models import Account
from billing.ledger.postings import insert_unless_taken

KIND = "alert mail"
QUEUE = "mails"


@dataclass(frozen=True)
class Outlet:
    """How this process sends alerts. Without an engine, tasks are found by their rows."""

    engine: Engine | None = None
    has_mail: bool = False


def record(
    session: Session,
    account: Account,
    kind: AlertKind,
    cause: str,
    facts: dict[str, Any],
    now: datetime,
    *,
    outlet: Outlet,
    kept_for: timedelta | None,
    request_id: str | None = None,
    is_mailed: bool = True,
    has_webhooks: bool = True,
) -> bool:
    """Announce `cause`, which names what happened among all of the account's; False if it was before.

    `facts` become the `data` of the webhooks' messages. `kept_for`: after this time the cause cannot come
    again; None if it might. `is_mailed`: False if another mail says it. `has_webhooks`: False for what is of
    another account, whose webhooks get it. The account must be locked.
    """
    wants_mail = (
        is_mailed
        and outlet.has_mail
        and account.verified_at is not None
        and kind not in preferences.muted(session, account.id)
    )
    alert = claim(
        session,
        account.id,
        kind,
        cause,
        facts,
        now,
        kept_for=kept_for,
        mail_status=MailStatus.PENDING if wants_mail else MailStatus.NONE,
    )
    if alert is None:
        return False

    def build_body() -> bytes:
        return response_bodies.success(facts, request_id or new_id("req"))

    if has_webhooks:
        outbox.record(session, account.id, WebhookEvent(kind.value), build_body, now, engine=outlet.engine)
    if wants_mail:
        enqueue(session, alert, outlet.engine)
    return True


def claim(
    session: Session,
    account_id: str,
    kind: AlertKind,
    cause: str,
    facts: dict[str, Any],
    now: datetime,
    *,
    kept_for: timedelta | None,
    mail_status: MailStatus = MailStatus.NONE,
) -> Alert | None:
    """The row of an alert, without sending anything; None if there is one of this cause."""
    return insert_unless_taken(
        session,
        Alert(
            id=new_id("alr"),
            account_id=account_id,
            kind=kind.value,
            reference=reference_of(account_id, kind, cause),
            # The address is the account's own, and is deleted with it.
            facts=json.dumps({name: value for name, value in facts.items() if name != "email"}),
            mail_status=mail_status.value,
            next_attempt_at=now if mail_status is MailStatus.PENDING else None,
            created_at=now,
            expires_at=None if kept_for is None else now + kept_for,
        ),
    )


def enqueue(session: Session, alert: Alert, engine: Engine | None, delay: timedelta | None = None) -> None:
    """Start the next attempt to mail the alert after `delay`."""
    if engine is not None and engine.is_prepared:
        engine.enqueue(session, KIND, task_of(alert.id, alert.attempts, alert.account_id), delay=delay)


def task_of(alert_id: str, attempts: int, account_id: str) -> Task:
    """The task of the next attempt. Each attempt is a task, because an id names a task for ever."""
    return Task(f"{alert_id}.{attempts}", QUEUE, account_id)


def reference_of(account_id: str, kind: AlertKind, cause: str) -> str:
    return f"{kind.value}:{account_id}:{cause}"


def is_recorded(session: Session, account_id: str, kind: AlertKind, cause: str) -> bool:
    """Whether `cause` was announced. Only `record` decides it."""
    statement = select(Alert.id).where(col(Alert.reference) == reference_of(account_id, kind, cause))
    return session.exec(statement).first() is not None


def delete_expired(session: Session, now: datetime, *, limit: int) -> int:
    """Delete up to `limit` alerts whose causes cannot come again; returns their number."""
    ended = list(session.exec(select(Alert.id).where(col(Alert.expires_at) <= now).limit(limit)))
    session.execute(delete(Alert).where(col(Alert.id).in_(ended)))
    return len(ended)
