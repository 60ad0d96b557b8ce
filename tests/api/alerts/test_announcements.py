"""One row for each cause, and what it is worth to mails and webhooks."""

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlmodel import Session, select

from api import cleanup
from api.alerts import announcements, preferences
from api.alerts.announcements import Outlet
from api.alerts.models import Alert, AlertKind, MailStatus
from api.db.database import Database
from api.webhooks import endpoints
from api.webhooks.models import WebhookEvent, WebhookMessage
from billing.ledger.models import Account
from tests.support.alert_rows import PAYMENT, WITH_MAIL
from tests.support.load import NOON, account_with

KIND = AlertKind.PAYMENT_FAILED


@pytest.fixture
def database(migrated_database_url: str) -> Iterator[Database]:
    opened = Database(migrated_database_url)
    yield opened
    opened.close()


@pytest.fixture
def session(database: Database) -> Iterator[Session]:
    with database.transaction() as opened:
        yield opened


def record(
    session: Session,
    account: Account,
    cause: str = "a",
    outlet: Outlet = WITH_MAIL,
    kept_for: timedelta | None = None,
) -> bool:
    return announcements.record(
        session, account, KIND, cause, PAYMENT, NOON, outlet=outlet, kept_for=kept_for
    )


def statuses(session: Session) -> list[str]:
    return [each.mail_status for each in session.exec(select(Alert).order_by(Alert.reference))]


def test_each_cause_of_each_account_and_kind_is_announced_once(session: Session) -> None:
    ada, bob = account_with(session, credits=1), account_with(session, credits=1)
    assert [record(session, ada), record(session, ada), record(session, ada, "b"), record(session, bob)] == [
        True,
        False,
        True,
        True,
    ]
    assert announcements.is_recorded(session, ada.id, KIND, "b")
    assert not announcements.is_recorded(session, bob.id, KIND, "b")
    assert not announcements.is_recorded(session, ada.id, AlertKind.SIGN_IN, "a")


def test_nothing_is_mailed_without_a_server_a_verified_address_or_consent(session: Session) -> None:
    ada = account_with(session, credits=1)
    record(session, ada, "1", Outlet(has_mail=False))
    ada.verified_at = None
    record(session, ada, "2")
    ada.verified_at = NOON
    preferences.set_muted(session, ada.id, {KIND})
    record(session, ada, "3")
    preferences.set_muted(session, ada.id, {AlertKind.SIGN_IN})
    record(session, ada, "4")
    assert statuses(session) == [MailStatus.NONE] * 3 + [MailStatus.PENDING]


def test_subscribed_webhooks_get_the_facts_even_if_the_mail_is_off(session: Session) -> None:
    ada = account_with(session, credits=1)
    endpoints.create(session, ada.id, "https://a.example/", [WebhookEvent.PAYMENT_FAILED], NOON)
    endpoints.create(session, ada.id, "https://b.example/", [WebhookEvent.CREDITS_LOW], NOON)
    preferences.set_muted(session, ada.id, set(AlertKind))
    record(session, ada)
    (message,) = session.exec(select(WebhookMessage)).all()
    assert message.event == "payment.failed"
    body = json.loads(message.body)
    assert body == {"success": True, "data": PAYMENT, "requestId": body["requestId"]}
    assert body["requestId"].startswith("req_")


def test_the_rows_of_causes_that_cannot_come_again_are_deleted(database: Database) -> None:
    with database.transaction() as session:
        ada = account_with(session, credits=1)
        record(session, ada, "for ever")
        record(session, ada, "a day", kept_for=timedelta(days=1))

    async def clean() -> None:
        await cleanup.delete_expired_rows(database, NOON + timedelta(days=1))

    import asyncio

    asyncio.run(clean())
    with database.transaction() as session:
        assert [each.reference.rpartition(":")[2] for each in session.exec(select(Alert))] == ["for ever"]
