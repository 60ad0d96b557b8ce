"""The rate limit algorithm: bursts, even refilling, accurate Retry-After, clock changes."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import rate_limit
from billing.ledger.plans import PLANS

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
LIMITS = sorted(plan.calls_per_minute for plan in PLANS.values())


def burst_at(full_at: datetime | None, limit: int, now: datetime) -> tuple[int, datetime | None]:
    """Takes calls until one is refused; how many were accepted, and the timestamp left."""
    accepted = 0
    while (taken := rate_limit.take(full_at, limit=limit, now=now)) is not None:
        full_at, state = taken
        accepted += 1
        assert state == rate_limit.state(full_at, limit=limit, now=now)
    return accepted, full_at


@pytest.mark.parametrize("limit", LIMITS)
def test_the_burst_equals_the_calls_per_minute_of_the_plan(limit: int) -> None:
    assert rate_limit.state(None, limit=limit, now=NOON) == rate_limit.RateState(limit, limit, NOON, 0)
    accepted, full_at = burst_at(None, limit, NOON)
    assert accepted == limit
    empty = rate_limit.state(full_at, limit=limit, now=NOON)
    assert (empty.remaining, empty.reset_at) == (0, NOON + timedelta(minutes=1))
    assert empty.retry_after_seconds == -(-60 // limit)


@pytest.mark.parametrize("limit", LIMITS)
def test_one_call_is_refilled_every_interval_and_not_a_microsecond_earlier(limit: int) -> None:
    _, full_at = burst_at(None, limit, NOON)
    interval = timedelta(minutes=1) / limit
    assert rate_limit.take(full_at, limit=limit, now=NOON + interval - timedelta(microseconds=1)) is None
    accepted, _ = burst_at(full_at, limit, NOON + interval)
    assert accepted == 1
    accepted, _ = burst_at(full_at, limit, NOON + timedelta(minutes=1))
    assert accepted == limit


def test_reset_is_rounded_up_to_the_second_at_which_the_burst_is_full() -> None:
    taken = rate_limit.take(None, limit=120, now=NOON)
    assert taken is not None
    assert taken[1].reset_at == NOON + timedelta(milliseconds=500)
    assert taken[1].reset_unix_seconds == int(NOON.timestamp()) + 1
    assert rate_limit.state(None, limit=120, now=NOON).reset_unix_seconds == int(NOON.timestamp())


moments = st.integers(0, 200_000_000).map(lambda microseconds: NOON + timedelta(microseconds=microseconds))


@given(st.sampled_from(LIMITS), st.lists(moments, max_size=80).map(sorted))
def test_it_is_equivalent_to_a_token_bucket(limit: int, arrivals: list[datetime]) -> None:
    """Against another formula of the same rule: a bucket of fractions of calls."""
    level, last, full_at = Fraction(limit), NOON, None
    for now in arrivals:
        passed_microseconds = (now - last) // timedelta(microseconds=1)
        level = min(Fraction(limit), level + Fraction(passed_microseconds * limit, 60_000_000))
        last = now
        taken = rate_limit.take(full_at, limit=limit, now=now)
        assert (taken is not None) == (level >= 1)
        if taken is not None:
            full_at, state = taken
            level -= 1
            assert state.remaining == level // 1


@given(st.sampled_from(LIMITS), st.lists(moments, min_size=1, max_size=80))
def test_waiting_for_retry_after_succeeds_despite_clock_changes(limit: int, arrivals: list[datetime]) -> None:
    """Arrivals come in any order: the clock is set forward and back at will."""
    full_at: datetime | None = None
    for now in arrivals:
        taken = rate_limit.take(full_at, limit=limit, now=now)
        if taken is not None:
            full_at = taken[0]
            continue
        wait = rate_limit.state(full_at, limit=limit, now=now).retry_after_seconds
        assert 1 <= wait <= 60 + -(-60 // limit)
        taken = rate_limit.take(full_at, limit=limit, now=now + wait * SECOND)
        assert taken is not None
        full_at = taken[0]


@pytest.mark.parametrize("back", [timedelta(minutes=2), timedelta(days=365)])
def test_a_clock_set_back_far_leaves_the_sustained_rate(back: timedelta) -> None:
    """Nobody has to wait until the clock is where it was; at worst the burst is empty."""
    _, full_at = burst_at(None, 20, NOON)
    now = NOON - back
    assert rate_limit.state(full_at, limit=20, now=now).remaining == 1
    accepted, full_at = burst_at(full_at, 20, now)
    assert accepted == 1
    accepted, _ = burst_at(full_at, 20, now + timedelta(minutes=1))
    assert accepted == 20


def test_a_clock_set_back_slightly_is_included_in_retry_after() -> None:
    _, full_at = burst_at(None, 20, NOON)
    state = rate_limit.state(full_at, limit=20, now=NOON - 10 * SECOND)
    assert (state.remaining, state.retry_after_seconds) == (0, 13)


def test_differing_clocks_yield_no_extra_calls() -> None:
    full_at, accepted = None, 0
    for round_number in range(100):
        ahead = timedelta(seconds=5) if round_number % 2 else timedelta(0)
        more, full_at = burst_at(full_at, 600, NOON + ahead)
        accepted += more
    assert accepted == 600 + 50  # What the clock ahead is due, once.


def test_a_clock_set_forward_fills_at_most_the_burst() -> None:
    _, full_at = burst_at(None, 20, NOON)
    accepted, _ = burst_at(full_at, 20, NOON + timedelta(days=365))
    assert accepted == 20


@pytest.mark.parametrize(("before", "after"), [(20, 600), (600, 20)])
def test_a_change_of_plan_applies_at_once(before: int, after: int) -> None:
    full_at = None
    for _ in range(before // 2):
        taken = rate_limit.take(full_at, limit=before, now=NOON)
        assert taken is not None
        full_at = taken[0]
    accepted, _ = burst_at(full_at, after, NOON)
    assert accepted == after // 2


def test_a_different_window_refills_evenly() -> None:
    hour = timedelta(hours=1)
    full_at: datetime | None = None
    for _ in range(5):
        taken = rate_limit.take(full_at, limit=5, window=hour, now=NOON)
        assert taken is not None
        full_at = taken[0]
    assert rate_limit.take(full_at, limit=5, window=hour, now=NOON) is None
    assert rate_limit.state(full_at, limit=5, window=hour, now=NOON).retry_after_seconds == 720
    assert rate_limit.take(full_at, limit=5, window=hour, now=NOON + 720 * SECOND) is not None


def test_a_returned_call_can_be_taken_once_more() -> None:
    taken = rate_limit.take(None, limit=1, now=NOON)
    assert taken is not None
    given_back = rate_limit.give_back(taken[0], limit=1, now=NOON)
    assert rate_limit.state(given_back, limit=1, now=NOON).remaining == 1
    assert rate_limit.give_back(given_back, limit=1, now=NOON) == NOON


def test_rates_in_memory_are_separate_and_bounded() -> None:
    rates = rate_limit.MemoryRates(size_max=2)
    assert rates.take("a", limit=1, now=NOON)
    assert not rates.take("a", limit=1, now=NOON)
    assert rates.take("b", limit=1, now=NOON)
    assert rates.take("c", limit=1, now=NOON)
    assert len(rates) == 2
    assert rates.state("c", limit=1, now=NOON).remaining == 0
    assert rates.take("a", limit=1, now=NOON)  # forgotten
