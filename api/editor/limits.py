"""How much of what is free one visitor may have: counted a minute, and at the same time.

Counted in this process only: with N processes a visitor has N times as much. That is enough for what these
limits are for, which is that nobody occupies the workers for nothing; whatever costs a credit is counted
exactly, in the database.
"""

from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from api import rate
from api.errors import RateLimited

OVERLAYS_A_MINUTE = 60
LOOKS_A_MINUTE = 60
GUEST_RUNS_A_MINUTE = 10  # of one address, as is the next
GUEST_UPLOADS_A_MINUTE = 6
FREE_AT_ONCE = 2
_REMEMBERED = 10_000


class Limits:
    """Remembers the latest visitors only, so that made-up ones do not fill the memory."""

    def __init__(self) -> None:
        self._full_at: OrderedDict[tuple[str, str], datetime] = OrderedDict()
        self._running: Counter[str] = Counter()

    def take(self, kind: str, who: str, a_minute: int, now: datetime) -> None:
        """Count one. Raises `RateLimited`; waiting as long as it says succeeds."""
        place = (kind, who)
        taken = rate.take(self._full_at.get(place), limit=a_minute, now=now)
        if taken is None:
            state = rate.state(self._full_at.get(place), limit=a_minute, now=now)
            message = f"That was quick. Please wait {state.retry_after_seconds} s."
            raise RateLimited(message, state.retry_after_seconds)
        self._full_at[place] = taken[0]
        self._full_at.move_to_end(place)
        if len(self._full_at) > _REMEMBERED:
            self._full_at.popitem(last=False)

    @contextmanager
    def at_once(self, who: str, most: int = FREE_AT_ONCE) -> Iterator[None]:
        """One of the things that `who` has running for nothing. Raises `RateLimited`."""
        if self._running[who] >= most:
            raise RateLimited("Wait for what is running to finish.", 1)
        self._running[who] += 1
        try:
            yield
        finally:
            self._running[who] -= 1
            if not self._running[who]:
                del self._running[who]
