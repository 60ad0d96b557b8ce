"""Browser sessions: hashed storage, expiry, and rotation at login."""

import secrets
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import Session, select

from api.auth import sessions
from api.auth.models import BrowserSession
from api.db.database import Database
from billing.ledger import accounts
from tests.support.builders import DAY, MINUTE, NOON, SECOND, make_account


@pytest.fixture
def account_id(database: Database) -> str:
    with database.transaction() as session:
        return make_account(session).id


def is_good(session: Session, token: str, now: datetime = NOON) -> bool:
    return sessions.find(session, token, now) is not None


def test_a_session_token_finds_its_account_and_a_guest_session_has_none(
    database: Database, account_id: str
) -> None:
    with database.transaction() as session:
        made = sessions.create(session, account_id, user_agent="Firefox", address="10.0.0.1", now=NOON)
        guest = sessions.create(session, None, now=NOON)
        found = sessions.find(session, made.token, NOON)
        assert found is not None
        assert found[1] is not None
        assert (found[0].id, found[1].id, found[0].user_agent) == (made.session_id, account_id, "Firefox")
        of_guest = sessions.find(session, guest.token, NOON)
        assert of_guest is not None
        assert of_guest[1] is None


@pytest.mark.parametrize("token", ["", "x", "é" * 50, "\0", "' or 1=1 --", "x" * 100_000])
def test_a_forged_token_finds_nothing(database: Database, account_id: str, token: str) -> None:
    with database.transaction() as session:
        sessions.create(session, account_id, now=NOON)
        assert not is_good(session, token)


def test_only_a_hash_of_the_token_is_stored(migrated_database_url: str, tmp_path: Path) -> None:
    database = Database(migrated_database_url)
    with database.transaction() as session:
        made = sessions.create(session, make_account(session).id, now=NOON)
    with database.transaction() as session:
        for row in session.exec(select(BrowserSession)):
            assert made.token not in repr(row.model_dump())
            assert sessions.csrf_token(made.token) not in repr(row.model_dump())
    database.close()
    for file in tmp_path.rglob("test.db*"):
        assert made.token.encode() not in file.read_bytes()


def test_the_csrf_token_differs_from_the_session_token_and_between_sessions() -> None:
    assert sessions.csrf_token("a") != sessions.csrf_token("b")
    assert sessions.csrf_token("a") not in ("a", sessions.hash_of("a"))


def test_an_idle_session_expires_and_use_extends_it(database: Database, account_id: str) -> None:
    with database.transaction() as session:
        token = sessions.create(session, account_id, now=NOON).token
        assert is_good(session, token, NOON + sessions.IDLE - SECOND)
        assert not is_good(session, token, NOON + sessions.IDLE)
        used_at = NOON + 10 * DAY
        row = session.exec(select(BrowserSession)).one()
        sessions.touch(session, row.id, used_at)
        assert is_good(session, token, used_at + sessions.IDLE - SECOND)
        assert not is_good(session, token, used_at + sessions.IDLE)


def test_a_session_in_daily_use_ends_90_days_after_login(database: Database, account_id: str) -> None:
    with database.transaction() as session:
        made = sessions.create(session, account_id, now=NOON)
        for day in range(1, 90):
            sessions.touch(session, made.session_id, NOON + day * DAY)
            session.expire_all()
        assert is_good(session, made.token, NOON + 90 * DAY - SECOND)
        assert not is_good(session, made.token, NOON + 90 * DAY)


def test_a_guest_session_expires_after_an_idle_day(database: Database) -> None:
    with database.transaction() as session:
        token = sessions.create(session, None, now=NOON).token
        assert is_good(session, token, NOON + DAY - SECOND)
        assert not is_good(session, token, NOON + DAY)


def test_use_is_recorded_at_most_every_five_minutes(database: Database, account_id: str) -> None:
    with database.transaction() as session:
        made = sessions.create(session, account_id, now=NOON)
        for later in (4 * MINUTE, 5 * MINUTE):
            sessions.touch(session, made.session_id, NOON + later)
            session.expire_all()
            row = session.get_one(BrowserSession, made.session_id)
            assert (row.last_seen_at == NOON + later) == (later >= 5 * MINUTE)


def test_using_an_ended_session_does_not_revive_it(database: Database, account_id: str) -> None:
    with database.transaction() as session:
        made = sessions.create(session, account_id, now=NOON)
        sessions.end(session, made.session_id)
        sessions.touch(session, made.session_id, NOON + DAY)
        assert not is_good(session, made.token)


def test_a_login_starts_a_new_session_and_ends_the_guest_session(database: Database, account_id: str) -> None:
    with database.transaction() as session:
        guest = sessions.create(session, None, now=NOON)
        made = sessions.upgrade(session, guest.session_id, account_id, NOON)
        assert made.old_session_id == guest.session_id
        assert made.session_id != guest.session_id
        assert made.token != guest.token
        assert not is_good(session, guest.token)
        assert is_good(session, made.token)
        assert sessions.upgrade(session, None, account_id, NOON).old_session_id is None


def test_an_ended_session_is_refused_at_once_in_every_process(migrated_database_url: str) -> None:
    here, elsewhere = Database(migrated_database_url), Database(migrated_database_url)
    with here.transaction() as session:
        made = sessions.create(session, make_account(session).id, now=NOON)
    with elsewhere.transaction() as session:
        assert is_good(session, made.token)
    with here.transaction() as session:
        sessions.end(session, made.session_id)
    with elsewhere.transaction() as session:
        assert not is_good(session, made.token)
    here.close()
    elsewhere.close()


def test_closing_an_account_ends_its_sessions(database: Database, account_id: str) -> None:
    with database.transaction() as session:
        made = sessions.create(session, account_id, now=NOON)
        accounts.close(session, account_id, now=NOON)
        assert not is_good(session, made.token)


def test_ending_all_other_sessions_keeps_the_current_one_and_other_accounts(
    database: Database, account_id: str
) -> None:
    with database.transaction() as session:
        kept = sessions.create(session, account_id, now=NOON)
        ended = [sessions.create(session, account_id, now=NOON) for _ in range(3)]
        stranger = sessions.create(session, make_account(session).id, now=NOON)
        sessions.end_all(session, account_id, but=kept.session_id)
        assert [row.id for row in sessions.listed(session, account_id, NOON)] == [kept.session_id]
        assert not any(is_good(session, one.token) for one in ended)
        assert is_good(session, stranger.token)
        sessions.end_all(session, account_id)
        assert not is_good(session, kept.token)


def test_the_session_of_another_account_is_neither_listed_nor_ended(
    database: Database, account_id: str
) -> None:
    with database.transaction() as session:
        made = sessions.create(session, account_id, now=NOON)
        stranger = make_account(session).id
        assert sessions.listed(session, stranger, NOON) == []
        assert not sessions.end_of_account(session, stranger, made.session_id)
        assert is_good(session, made.token)
        assert sessions.end_of_account(session, account_id, made.session_id)
        assert not is_good(session, made.token)


def test_expired_sessions_are_deleted_in_batches(database: Database, account_id: str) -> None:
    with database.transaction() as session:
        for _ in range(5):
            sessions.create(session, None, now=NOON - timedelta(days=2))
        alive = sessions.create(session, account_id, now=NOON)
        assert [sessions.delete_expired(session, NOON, limit=3) for _ in range(3)] == [3, 2, 0]
        assert is_good(session, alive.token)


def test_a_guest_session_starts_once_under_the_token_of_the_browser(database: Database) -> None:
    token = secrets.token_urlsafe(32)
    facts: dict[str, Any] = {"user_agent": "", "address": "192.0.2.1", "now": NOON}
    with database.transaction() as session:
        first = sessions.begin_guest(session, token, **facts)
        again = sessions.begin_guest(session, token, **facts)
        assert (first.session_id, first.token) == (again.session_id, token)
        later = NOON + sessions.GUEST_IDLE
        renewed = sessions.begin_guest(session, token, **{**facts, "now": later})
        assert renewed.session_id != first.session_id
        assert sessions.find(session, token, later) is not None


def test_a_guest_session_never_starts_under_a_weak_token_or_that_of_an_account(database: Database) -> None:
    facts: dict[str, Any] = {"user_agent": "", "address": "192.0.2.1", "now": NOON}
    with database.transaction() as session:
        of_account = sessions.create(session, make_account(session).id, now=NOON)
        for token in ("", "a", "a" * 100, of_account.token):
            made = sessions.begin_guest(session, token, **facts)
            assert made.token != token
            assert made.session_id != of_account.session_id
