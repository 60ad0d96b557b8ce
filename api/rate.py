"""The rate limit: the generic cell rate algorithm (GCRA), as pure functions of one timestamp.

`full_at` is the algorithm's theoretical arrival time: the moment at which the whole burst is available again.
A plan's calls a minute are the burst, refilled evenly. All arithmetic is in whole microseconds, so that any
number of processes that share the timestamp agree exactly.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

WINDOW = timedelta(minutes=1)
_MICROSECOND = timedelta(microseconds=1)
_WINDOW_MICROSECONDS = WINDOW // _MICROSECOND
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class RateState:
    """What the rate headers say. `retry_after_seconds` is 0 when a call would be accepted now, else >= 1."""

    limit: int  # calls a minute, and the burst
    remaining: int  # calls that would be accepted at this moment
    reset_at: datetime  # when the whole burst is available again
    retry_after_seconds: int

    @property
    def reset_unix_seconds(self) -> int:
        """Unix seconds of `reset_at`, rounded up: by then the burst is full."""
        return -((_EPOCH - self.reset_at) // timedelta(seconds=1))


def take(full_at: datetime | None, *, limit: int, now: datetime) -> tuple[datetime, RateState] | None:
    """One call at `now`: the new timestamp and the state after it, or None when the rate is used up."""
    before = _microseconds(full_at, now)
    after = before + _interval(limit)
    if after > _microseconds(now, now) + _burst(limit):
        return None
    taken = _EPOCH + after * _MICROSECOND
    return taken, state(taken, limit=limit, now=now)


def state(full_at: datetime | None, *, limit: int, now: datetime) -> RateState:
    """The state at `now` without taking a call."""
    present = (now - _EPOCH) // _MICROSECOND
    full = _microseconds(full_at, now)
    room = present + _burst(limit) - full
    remaining = room // _interval(limit)
    wait = 0 if remaining else _interval(limit) - room
    return RateState(
        limit=limit,
        remaining=remaining,
        reset_at=_EPOCH + full * _MICROSECOND,
        retry_after_seconds=-(-wait // 1_000_000),
    )


def _interval(limit: int) -> int:
    """Microseconds between two calls at a steady pace, rounded up so that the limit is never exceeded."""
    return -(-_WINDOW_MICROSECONDS // limit)


def _burst(limit: int) -> int:
    return limit * _interval(limit)


def _microseconds(full_at: datetime | None, now: datetime) -> int:
    """`full_at` since the epoch, not before now, and at most one window ahead.

    The upper clamp makes a clock that was set back harmless: the worst it can do is an empty burst.
    """
    if full_at is None or full_at < now:
        full_at = now
    return (min(full_at, now + WINDOW) - _EPOCH) // _MICROSECOND
