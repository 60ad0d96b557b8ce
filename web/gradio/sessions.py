"""Which open page of which visitor a Gradio session belongs to, and how many there may be.

Gradio keeps what it knows of a page for as long as the process lives: the state of its components, events
that wait, and messages that nobody has fetched. Here each page gets an owner and a place in a bounded table;
a page that gives up its place takes all of that with it. A browser that comes back to it is asked to reload.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from api.errors import NotFound, RateLimited, ServiceUnavailable
from web.auth.visitor import Visitor

PAGES_MAX = 500
PAGES_OF_AN_ACCOUNT_MAX = 6
#: Events of one page that wait, run, or have a result that was not fetched. Opening the dashboard takes six.
PENDING_OF_A_PAGE_MAX = 16
PENDING_MAX = 512
STREAMS_OF_AN_ACCOUNT_MAX = 16
#: Parts of one page; the list of an account's keys has about seven for each key.
PARTS_OF_A_PAGE_MAX = 3000
EVENTS_BURST = 120
EVENTS_A_SECOND = 2.0

_OUTDATED = "This page is out of date. Load it again."
_TOO_MANY = "Too many events of this account at once. Try again in a moment."


@dataclass(eq=False)
class Page:
    """One page in one browser, as Gradio's session `session_hash` knows it."""

    session_hash: str
    session_id: str  # of the visitor
    account_id: str
    streams: int = 0


@dataclass
class _Allowance:
    """A token bucket of one account: `left` events at this moment, counted at `at` (seconds of the clock)."""

    at: float
    left: float = EVENTS_BURST

    def take(self, now: float) -> None:
        """Raises RateLimited."""
        self.left = min(EVENTS_BURST, self.left + (now - self.at) * EVENTS_A_SECOND)
        self.at = now
        if self.left < 1:
            raise RateLimited(_TOO_MANY, retry_after_seconds=1)
        self.left -= 1


class Pages:
    """The pages of one process. `gradio_app` is Gradio's application; `clock` gives seconds."""

    def __init__(self, gradio_app: Any, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._holder = gradio_app.state_holder
        self._blocks = gradio_app.get_blocks()
        self._queue = self._blocks._queue
        self._pages: OrderedDict[str, Page] = OrderedDict()  # the one used last comes last
        self._allowances: OrderedDict[str, _Allowance] = OrderedDict()  # by account
        # A second bound for the sessions that Gradio may begin anew for an event already on its way.
        self._holder.capacity = PAGES_MAX
        self._queue.max_size = PENDING_MAX

    def functions(self, session_hash: str) -> Mapping[int, Any]:
        """Gradio's functions by number, those of the parts that only this page has included."""
        state = self._holder.session_data.get(session_hash)
        found: Mapping[int, Any] = self._blocks.fns if state is None else state.blocks_config.fns
        return found

    def check_owner(self, visitor: Visitor, session_hash: str) -> None:
        """Raises NotFound if the session is another visitor's; one that nobody has is anybody's to begin."""
        page = self._pages.get(session_hash)
        if page is not None and page.session_id != visitor.session_id:
            raise NotFound(_OUTDATED)

    async def admit(self, visitor: Visitor, session_hash: str) -> None:
        """Make room for one event of this page. Raises NotFound, RateLimited and ServiceUnavailable."""
        assert visitor.account_id is not None, "only accounts have events"
        self.check_owner(visitor, session_hash)
        now = self._clock()
        self._allowance_of(visitor.account_id, now).take(now)
        page = self._pages.get(session_hash)
        if page is not None and self._parts_left(session_hash) > PARTS_OF_A_PAGE_MAX:
            await self._forget(page)
            raise NotFound(_OUTDATED)
        if self._pending(session_hash) >= PENDING_OF_A_PAGE_MAX:
            raise RateLimited(_TOO_MANY, retry_after_seconds=1)
        if page is None:
            await self._make_room(visitor.account_id)
            # Nothing is awaited between the check and here, except by those that come to the same result.
            self.check_owner(visitor, session_hash)
            page = self._pages.setdefault(
                session_hash, Page(session_hash, visitor.session_id, visitor.account_id)
            )
        await self._limit_pending(page)
        self._pages.move_to_end(session_hash)
        self._trim_statistics()

    @contextmanager
    def stream(self, visitor: Visitor, session_hash: str) -> Iterator[None]:
        """A connection that Gradio keeps open for this page. Raises NotFound and RateLimited."""
        page = self._pages.get(session_hash)
        if page is None or page.session_id != visitor.session_id:
            raise NotFound(_OUTDATED)
        open_streams = sum(one.streams for one in self._pages.values() if one.account_id == page.account_id)
        if open_streams >= STREAMS_OF_AN_ACCOUNT_MAX:
            raise RateLimited(_TOO_MANY, retry_after_seconds=1)
        page.streams += 1
        try:
            yield
        finally:
            page.streams -= 1

    def has_messages(self, session_hash: str) -> bool:
        """Whether Gradio has, or will have, something to say to this page."""
        return session_hash in self._queue.pending_messages_per_session

    def _pending(self, session_hash: str) -> int:
        return len(self._queue.pending_event_ids_session.get(session_hash, ()))

    def _parts_left(self, session_hash: str) -> int:
        """How many parts Gradio keeps of this page, once those of earlier drawings are dropped."""
        state = self._holder.session_data.get(session_hash)
        if state is None:
            return 0
        parts: dict[int, Any] = state.blocks_config.blocks
        if self._pending(session_hash) == 0:  # else a drawing may be under way
            shown: set[int] = set()
            for renderable in state.blocks_config.renderables:
                _add_ids(parts.get(renderable.container_id), shown)
            for number in [one for one, part in parts.items() if part.rendered_in and one not in shown]:
                del parts[number]
                state.config_values.pop(number, None)
        return len(parts)

    async def _make_room(self, account_id: str) -> None:
        own = [page for page in self._pages.values() if page.account_id == account_id]
        if len(own) >= PAGES_OF_AN_ACCOUNT_MAX:
            await self._forget(own[0])
        elif len(self._pages) >= PAGES_MAX:
            await self._forget(next(iter(self._pages.values())))

    async def _limit_pending(self, newest: Page) -> None:
        """Drop results that nobody fetches, those of the page used longest ago first."""
        total = sum(map(len, self._queue.pending_event_ids_session.values()))
        for page in list(self._pages.values()):
            if total < PENDING_MAX:
                return
            if page is not newest and (pending := self._pending(page.session_hash)):
                await self._forget(page)
                total -= pending
        if total >= PENDING_MAX:
            raise ServiceUnavailable("The dashboard is busy. Try again in a moment.", retry_after_seconds=5)

    async def _forget(self, page: Page) -> None:
        """Take from Gradio all that it keeps of `page`."""
        session_hash = page.session_hash
        self._pages.pop(session_hash, None)
        await self._queue.clean_events(session_hash=session_hash)
        self._queue.pending_event_ids_session.pop(session_hash, None)
        self._queue.pending_messages_per_session.pop(session_hash, None)
        self._holder.session_data.pop(session_hash, None)
        self._holder.time_last_used.pop(session_hash, None)

    def _allowance_of(self, account_id: str, now: float) -> _Allowance:
        allowance = self._allowances.setdefault(account_id, _Allowance(now))
        self._allowances.move_to_end(account_id)
        if len(self._allowances) > 10 * PAGES_MAX:
            self._allowances.popitem(last=False)
        return allowance

    def _trim_statistics(self) -> None:
        # Gradio averages the time of each function for ever, also of those that a page had once drawn.
        if len(self._queue.process_time_per_fn) > PAGES_MAX:
            self._queue.process_time_per_fn.clear()


def _add_ids(part: Any, ids: set[int]) -> None:
    """Add the ids of `part` and of all parts inside it."""
    if part is not None:
        ids.add(part._id)
        for child in getattr(part, "children", ()):
            _add_ids(child, ids)
