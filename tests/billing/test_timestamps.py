from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import bindparam, select
from sqlalchemy.exc import StatementError
from sqlmodel import Session

from billing.timestamps import UtcDateTime, utc_now
from tests.support.builders import make_account

MOMENTS = [
    datetime(2026, 1, 15, 12, tzinfo=UTC),
    datetime(2026, 1, 15, 12, 0, 0, 1, tzinfo=UTC),
    datetime(999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),  # strftime would write a year of three digits
    datetime(9998, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
]


def stored_and_read(session: Session, moment: datetime) -> datetime:
    account = make_account(session)
    account.period_anchor_at = moment
    session.flush()
    session.refresh(account)
    return account.period_anchor_at


@pytest.mark.parametrize("moment", MOMENTS, ids=str)
def test_a_datetime_is_read_back_to_the_microsecond_in_utc(session: Session, moment: datetime) -> None:
    read = stored_and_read(session, moment)
    assert read == moment
    assert read.utcoffset() == timedelta(0)


def test_a_datetime_in_another_zone_is_stored_as_the_same_moment(session: Session) -> None:
    local = datetime(2026, 3, 29, 2, 30, tzinfo=timezone(timedelta(hours=2)))
    read = stored_and_read(session, local)
    assert read == local
    assert read.hour == 0


def test_the_database_compares_datetimes_chronologically(session: Session) -> None:
    for earlier in MOMENTS:
        for later in MOMENTS:
            compared = bindparam("one", earlier, UtcDateTime()) < bindparam("two", later, UtcDateTime())
            assert bool(session.execute(select(compared)).scalar_one()) == (earlier < later)


def test_a_naive_datetime_is_refused(session: Session) -> None:
    account = make_account(session)
    with session.no_autoflush:
        account.period_anchor_at = datetime(2026, 1, 15)  # noqa: DTZ001 - the mistake this test is about
        with pytest.raises(StatementError, match="naive datetime"):
            session.flush()
    session.rollback()


def test_the_current_time_is_in_utc() -> None:
    assert utc_now().tzinfo is UTC
