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
    """The values of the rate headers. `retry_after_seconds` is 0 if a call would be accepted now, else >= 1."""

    limit: int  # calls a minute, and the burst
    remaining: int  # calls that would be accepted at this moment
    reset_at: datetime  # when the whole burst is available again
    retry_after_seconds: int

    @property
    def reset_unix_seconds(self) -> int:
        """Unix seconds of `reset_at`, rounded up: by then the burst is full."""
        return -((_EPOCH - self.reset_at) // timedelta(seconds=1))


def take(full_at: datetime | None, *, limit: int, now: datetime) -> tuple[datetime, RateState] | None:
    """Take one call at `now`: the new timestamp and the state after it, or None if no call is left."""
    after = _full(full_at, limit, now) + _interval(limit)
    if after > _since_epoch(now) + _burst(limit):
        return None
    taken = _EPOCH + after * _MICROSECOND
    return taken, state(taken, limit=limit, now=now)


def state(full_at: datetime | None, *, limit: int, now: datetime) -> RateState:
    """The state at `now` without taking a call."""
    full = _full(full_at, limit, now)
    room = _since_epoch(now) + _burst(limit) - full
    remaining = max(0, room // _interval(limit))
    wait = 0 if remaining else _interval(limit) - room
    return RateState(
        limit=limit,
        remaining=remaining,
        reset_at=_EPOCH + full * _MICROSECOND,
        retry_after_seconds=-(-wait // 1_000_000),
    )


def _full(full_at: datetime | None, limit: int, now: datetime) -> int:
    """`full_at` in microseconds since the epoch, corrected: not before `now`, and not far ahead.

    No call leaves it more than a window ahead of its own clock. Up to another window is attributed to clocks
    that differ, and waited for. A later time was written before the clock was set back: it counts as a rate
    with one call left, so that the next call writes a correct time and callers do not wait for the old clock.
    """
    present = _since_epoch(now)
    full = present if full_at is None else max(present, _since_epoch(full_at))
    if full > present + 2 * _WINDOW_MICROSECONDS:
        return present + _burst(limit) - _interval(limit)
    return full


def _interval(limit: int) -> int:
    """Microseconds between two calls at a steady pace, rounded up so that the limit is never exceeded."""
    return -(-_WINDOW_MICROSECONDS // limit)


def _burst(limit: int) -> int:
    return limit * _interval(limit)


def _since_epoch(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND
