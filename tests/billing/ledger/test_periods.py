import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.ledger.periods import period_containing, period_start

moments = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_a_period_runs_from_the_anchor_to_the_same_time_a_month_later() -> None:
    period = (utc("2026-03-10T08:30"), utc("2026-04-10T08:30"))
    assert period_containing(utc("2026-01-10T08:30"), utc("2026-03-20")) == period


def test_a_period_includes_its_start_and_excludes_its_end() -> None:
    anchor = utc("2026-01-10T08:30:00.000001")
    start, end = utc("2026-03-10T08:30:00.000001"), utc("2026-04-10T08:30:00.000001")
    microsecond = timedelta(microseconds=1)
    assert period_containing(anchor, start) == (start, end)
    assert period_containing(anchor, end - microsecond) == (start, end)
    assert period_containing(anchor, end)[0] == end
    assert period_containing(anchor, start - microsecond)[1] == start


def test_an_anchor_on_the_31st_falls_on_the_last_day_of_short_months_without_drift() -> None:
    anchor = utc("2026-01-31T12:00")
    starts = [period_start(anchor, months).date().isoformat() for months in range(13)]
    assert starts == [
        "2026-01-31",
        "2026-02-28",
        "2026-03-31",
        "2026-04-30",
        "2026-05-31",
        "2026-06-30",
        "2026-07-31",
        "2026-08-31",
        "2026-09-30",
        "2026-10-31",
        "2026-11-30",
        "2026-12-31",
        "2027-01-31",
    ]


@pytest.mark.parametrize(
    ("anchor", "now", "start", "end"),
    [
        ("2026-01-31", "2028-02-29", "2028-02-29", "2028-03-31"),  # a leap year
        ("2026-01-31", "2028-02-28", "2028-01-31", "2028-02-29"),
        ("2026-01-30", "2026-02-28", "2026-02-28", "2026-03-30"),
        ("2026-01-29", "2026-02-28", "2026-02-28", "2026-03-29"),
        ("2024-02-29", "2025-02-28", "2025-02-28", "2025-03-29"),  # the leap day's anniversary
        ("2024-02-29", "2028-03-01", "2028-02-29", "2028-03-29"),
        ("2024-02-29", "2100-02-28", "2100-02-28", "2100-03-29"),  # 2100 is not a leap year
        ("2026-12-15", "2027-01-14", "2026-12-15", "2027-01-15"),  # across a year's end
        ("2026-05-15", "2026-05-14", "2026-04-15", "2026-05-15"),  # a clock set back before the start
        ("2026-05-15", "2025-01-01", "2024-12-15", "2025-01-15"),
    ],
)
def test_month_ends_leap_days_and_moments_before_the_anchor(
    anchor: str, now: str, start: str, end: str
) -> None:
    assert period_containing(utc(anchor), utc(now)) == (utc(start), utc(end))


@given(anchor=moments, now=moments)
def test_every_moment_is_in_exactly_one_period_and_periods_are_contiguous(
    anchor: datetime, now: datetime
) -> None:
    start, end = period_containing(anchor, now)
    assert start <= now < end
    assert timedelta(days=28) <= end - start <= timedelta(days=31)
    assert period_containing(anchor, end)[0] == end
    assert period_containing(anchor, start - timedelta(microseconds=1))[1] == start
    assert start.timetz() == anchor.timetz()


@given(anchor=moments, now=moments, hours=st.integers(-12, 14))
def test_the_time_zone_of_a_datetime_does_not_matter(anchor: datetime, now: datetime, hours: int) -> None:
    elsewhere = timezone(timedelta(hours=hours))
    period = period_containing(anchor.astimezone(elsewhere), now.astimezone(elsewhere))
    assert period == period_containing(anchor, now)
    assert {moment.tzinfo for moment in period} == {UTC}


def test_daylight_saving_on_the_server_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    # The clocks of this zone spring forward on 8 March 2026 at 02:00.
    monkeypatch.setenv("TZ", "EST5EDT,M3.2.0,M11.1.0")
    time.tzset()
    try:
        start, end = period_containing(utc("2026-02-08T07:30"), utc("2026-03-08T07:30"))
    finally:
        monkeypatch.undo()
        time.tzset()
    assert (start, end) == (utc("2026-03-08T07:30"), utc("2026-04-08T07:30"))
