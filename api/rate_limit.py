"""Rate limits: the generic cell rate algorithm (GCRA), as pure functions of one timestamp.

`full_at` is the algorithm's theoretical arrival time: the moment at which the whole burst is available again.
`limit` calls are the burst, refilled evenly over `window`, a minute unless given. All arithmetic is in whole
microseconds, so that any number of processes that share the timestamp agree exactly. The caller stores the
timestamp: the account's row for API calls, `api.auth.throttle` for logins, and `MemoryRates` where a limit
for each process suffices.
"""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

WINDOW = timedelta(minutes=1)
_MICROSECOND = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class RateState:
    """The values of the rate headers. `retry_after_seconds` is 0 if a call is accepted now, else >= 1."""

    limit: int  # calls a minute, and the burst
    remaining: int  # calls that would be accepted at this moment
    reset_at: datetime  # when the whole burst is available again
    retry_after_seconds: int

    @property
    def reset_unix_seconds(self) -> int:
        """Unix seconds of `reset_at`, rounded up: by then the burst is full."""
        return -((_EPOCH - self.reset_at) // timedelta(seconds=1))


def take(
    full_at: datetime | None, *, limit: int, now: datetime, window: timedelta = WINDOW
) -> tuple[datetime, RateState] | None:
    """Take one call at `now`: the new timestamp and the state after it, or None if no call is left."""
    rate = _Rate(limit, window)
    after = rate.full(full_at, now) + rate.interval
    if after > _since_epoch(now) + rate.burst:
        return None
    taken = _EPOCH + after * _MICROSECOND
    return taken, state(taken, limit=limit, now=now, window=window)


def give_back(full_at: datetime | None, *, limit: int, now: datetime, window: timedelta = WINDOW) -> datetime:
    """The timestamp after one taken call is given back."""
    rate = _Rate(limit, window)
    return _EPOCH + max(_since_epoch(now), rate.full(full_at, now) - rate.interval) * _MICROSECOND


def state(full_at: datetime | None, *, limit: int, now: datetime, window: timedelta = WINDOW) -> RateState:
    """The state at `now` without taking a call."""
    rate = _Rate(limit, window)
    full = rate.full(full_at, now)
    room = _since_epoch(now) + rate.burst - full
    remaining = max(0, room // rate.interval)
    wait = 0 if remaining else rate.interval - room
    return RateState(
        limit=limit,
        remaining=remaining,
        reset_at=_EPOCH + full * _MICROSECOND,
        retry_after_seconds=-(-wait // 1_000_000),
    )


class MemoryRates:
    """Rates of one process by name. Beyond `size_max` the least recently used name is forgotten."""

    def __init__(self, size_max: int = 10_000) -> None:
        self._size_max = size_max
        self._full_at: OrderedDict[Hashable, datetime] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, name: Hashable, *, limit: int, now: datetime) -> bool:
        """Take one call; False if none is left."""
        taken = take(self._full_at.get(name), limit=limit, now=now)
        if taken is None:
            return False
        self._full_at[name] = taken[0]
        self._full_at.move_to_end(name)
        if len(self._full_at) > self._size_max:
            self._full_at.popitem(last=False)
        return True

    def state(self, name: Hashable, *, limit: int, now: datetime) -> RateState:
        return state(self._full_at.get(name), limit=limit, now=now)


@dataclass(frozen=True)
class _Rate:
    limit: int
    window: timedelta

    @property
    def interval(self) -> int:
        """Microseconds between two calls at a steady pace, rounded up so that the limit is never exceeded."""
        return -(-(self.window // _MICROSECOND) // self.limit)

    @property
    def burst(self) -> int:
        return self.limit * self.interval

    def full(self, full_at: datetime | None, now: datetime) -> int:
        """`full_at` in microseconds since the epoch, corrected: not before `now`, and not far ahead.

        No call leaves it more than a window ahead of its own clock. Up to another window is attributed to
        clocks that differ, and waited for. A later time was written before the clock was set back: it counts
        as a rate with one call left, so that the next call writes a correct time and callers do not wait for
        the old clock.
        """
        present = _since_epoch(now)
        full = present if full_at is None else max(present, _since_epoch(full_at))
        if full > present + 2 * (self.window // _MICROSECOND):
            return present + self.burst - self.interval
        return full


def _since_epoch(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND
