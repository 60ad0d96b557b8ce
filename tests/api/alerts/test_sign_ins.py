"""Sign-ins from new browsers are announced, but not the one that every account begins with."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from sqlmodel import Session

from api.alerts import sign_ins
from api.alerts.models import MailStatus
from api.db.database import Database
from api.http.openapi_webhooks import SignIn
from tests.support.alert_rows import WITH_MAIL, alerts_of
from tests.support.load import NOON, account_with

DAY = timedelta(days=1)


@pytest.fixture
def session(migrated_database_url: str) -> Iterator[Session]:
    database = Database(migrated_database_url)
    with database.transaction() as opened:
        yield opened
    database.close()


def sign_in(
    session: Session,
    account_id: str,
    now: datetime,
    *,
    agent: str = "Mozilla/5.0 \udcff <b>",
    address: str = "192.0.2.7",
    is_mailed: bool = True,
) -> bool:
    return sign_ins.announce(
        session,
        account_id,
        browser="Firefox on Linux",
        user_agent=agent,
        address=address,
        now=now,
        outlet=WITH_MAIL,
        is_mailed=is_mailed,
    )


def test_the_first_sign_in_to_a_new_account_is_not_announced(session: Session) -> None:
    ada = account_with(session, credits=1).id
    assert [sign_in(session, ada, NOON) for _ in range(3)] == [False, True, False]


def test_to_an_old_account_the_first_one_seen_is_announced(session: Session) -> None:
    ada = account_with(session, credits=1).id
    assert sign_in(session, ada, NOON + 2 * DAY)


def test_one_browser_is_announced_once_a_day_and_another_one_too(session: Session) -> None:
    ada = account_with(session, credits=1).id
    later = NOON + 2 * DAY
    assert [sign_in(session, ada, later + timedelta(hours=hours)) for hours in (0, 1, 2)] == [
        True,
        False,
        False,
    ]
    assert sign_in(session, ada, later, address="192.0.2.8")
    assert sign_in(session, ada, later, agent="curl")
    assert sign_in(session, ada, later + DAY)


def test_the_facts_name_browser_and_address_but_repeat_no_user_agent(session: Session) -> None:
    ada = account_with(session, credits=1).id
    sign_in(session, ada, NOON + 2 * DAY, is_mailed=False)
    (alert,) = alerts_of(session, ada)
    assert json.loads(alert.facts) == {
        "browser": "Firefox on Linux",
        "address": "192.0.2.7",
        "signedInAt": "2026-01-17T12:00:00Z",
    }
    SignIn.model_validate_json(alert.facts)  # as the OpenAPI document describes it
    assert "Mozilla" not in alert.reference
    assert alert.mail_status == MailStatus.NONE  # another mail says it
