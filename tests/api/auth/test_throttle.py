"""Attempt limits: exact under concurrency on both databases, and robust to clock changes."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlmodel import select

from api.auth import throttle
from api.auth.models import Throttle
from api.auth.throttle import Limit
from api.db.database import Database
from api.errors import RateLimited
from tests.support.builders import DAY, NOON, SECOND

TEN_A_MINUTE = Limit(10, timedelta(minutes=1))


def test_attempts_are_refilled_evenly(database: Database) -> None:
    with database.transaction() as session:

        def takes(seconds: float) -> bool:
            moment = NOON + timedelta(seconds=seconds)
            return throttle.take(session, "b", TEN_A_MINUTE, moment) is None

        assert [takes(0) for _ in range(12)] == [True] * 10 + [False] * 2
        assert not takes(5.9)
        assert takes(6)
        assert not takes(6)
        assert [takes(66) for _ in range(11)] == [True] * 10 + [False]


def test_the_reported_wait_is_sufficient_and_minimal(database: Database) -> None:
    with database.transaction() as session:
        for _ in range(10):
            throttle.require(session, "b", TEN_A_MINUTE, NOON)
        with pytest.raises(RateLimited) as refusal:
            throttle.require(session, "b", TEN_A_MINUTE, NOON + 1.5 * SECOND)
        wait = refusal.value.retry_after_seconds
        assert wait == 5
        throttle.require(session, "b", TEN_A_MINUTE, NOON + 1.5 * SECOND + wait * SECOND)


def test_buckets_are_independent(database: Database) -> None:
    with database.transaction() as session:
        for _ in range(10):
            throttle.require(session, "a", TEN_A_MINUTE, NOON)
        assert throttle.take(session, "b", TEN_A_MINUTE, NOON) is None


def test_a_successful_attempt_is_refunded_once(database: Database) -> None:
    with database.transaction() as session:
        for _ in range(50):
            throttle.require(session, "b", TEN_A_MINUTE, NOON)
            throttle.give_back(session, "b", TEN_A_MINUTE, NOON)
        throttle.give_back(session, "b", TEN_A_MINUTE, NOON)
        taken = [throttle.take(session, "b", TEN_A_MINUTE, NOON) is None for _ in range(11)]
        assert taken == [True] * 10 + [False]


def test_a_clock_set_back_does_not_lock_accounts_out(database: Database) -> None:
    with database.transaction() as session:
        for _ in range(10):
            throttle.require(session, "b", TEN_A_MINUTE, NOON + 30 * DAY)
        assert throttle.take(session, "b", TEN_A_MINUTE, NOON) is None
        wait = throttle.take(session, "b", TEN_A_MINUTE, NOON)
        assert wait is not None
        assert wait <= 6 * SECOND


def test_concurrent_attempts_take_exactly_the_available_tokens(migrated_database_url: str) -> None:
    databases = [Database(migrated_database_url) for _ in range(3)]

    def attempt(number: int) -> bool:
        database = databases[number % 3]
        return database.submit(lambda s: throttle.take(s, "b", TEN_A_MINUTE, NOON)).result() is None

    with ThreadPoolExecutor(12) as pool:
        assert sum(pool.map(attempt, range(60))) == 10
    for database in databases:
        database.close()


def test_full_buckets_are_deleted(database: Database) -> None:
    with database.transaction() as session:
        for name in "abc":
            throttle.require(session, name, TEN_A_MINUTE, NOON)
        throttle.require(session, "busy", TEN_A_MINUTE, NOON + 10 * SECOND)
        throttle.delete_full(session, NOON + 6 * SECOND, limit=2)
        assert len(session.exec(select(Throttle)).all()) == 2
        throttle.delete_full(session, NOON + 6 * SECOND, limit=2)
        assert [row.bucket for row in session.exec(select(Throttle))] == ["busy"]
