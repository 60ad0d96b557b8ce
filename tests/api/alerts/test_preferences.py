"""Which mails are switched off, one by one and all at once."""

from collections.abc import Iterator

import pytest
from sqlmodel import Session, select

from api.alerts import preferences
from api.alerts.models import Alert, AlertKind, AlertPreference
from api.db.database import Database
from tests.support.alert_rows import make_alert
from tests.support.load import NOON, account_with


@pytest.fixture
def session(migrated_database_url: str) -> Iterator[Session]:
    database = Database(migrated_database_url)
    with database.transaction() as opened:
        yield opened
    database.close()


def test_all_mails_are_on_until_one_is_switched_off(session: Session) -> None:
    ada, bob = account_with(session, credits=1).id, account_with(session, credits=1).id
    assert preferences.muted(session, ada) == set()
    preferences.mute(session, ada, AlertKind.CREDITS_LOW)
    preferences.mute(session, ada, AlertKind.CREDITS_LOW)
    preferences.mute(session, ada, AlertKind.SIGN_IN)
    assert preferences.muted(session, ada) == {AlertKind.CREDITS_LOW, AlertKind.SIGN_IN}
    preferences.set_muted(session, ada, [AlertKind.KEY_ENDING])
    assert preferences.muted(session, ada) == {AlertKind.KEY_ENDING}
    preferences.set_muted(session, ada, [])
    assert preferences.muted(session, ada) == preferences.muted(session, bob) == set()


def test_a_kind_of_a_later_version_is_ignored(session: Session) -> None:
    ada = account_with(session, credits=1).id
    session.add(AlertPreference(account_id=ada, muted="weather.bad,credits.low"))
    assert preferences.muted(session, ada) == {AlertKind.CREDITS_LOW}


def test_only_the_deleted_accounts_alerts_and_preferences_go(session: Session) -> None:
    ada, bob = account_with(session, credits=1).id, account_with(session, credits=1).id
    for account_id in (ada, bob):
        make_alert(session, account_id, NOON)
    preferences.delete_all(session, ada, NOON)
    assert [row.account_id for row in session.exec(select(Alert))] == [bob]
    assert [row.account_id for row in session.exec(select(AlertPreference))] == [bob]
