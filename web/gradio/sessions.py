"""Ownership and limits of Gradio sessions, one for each open page.

Gradio keeps the state of a page until the process ends: component values, waiting events and unfetched
messages. Here each page gets an owner and an entry in a bounded table. When an entry is evicted, Gradio's
state of that page is deleted, and a browser that still shows the page is asked to reload it.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from api.errors import NotFound, RateLimited, ServiceUnavailable
from api.rate_limit import MemoryRates
from billing.timestamps import utc_now
from web.auth.visitor import SignedInVisitor

PAGES_MAX = 500
#: Rates of more accounts than can have pages, so that evicting one does not reset it soon.
RATES_MAX = 10 * PAGES_MAX
PAGES_PER_ACCOUNT_MAX = 6
#: Events of one page that wait, run, or have an unfetched result. Opening the dashboard needs eight.
PENDING_PER_PAGE_MAX = 16
PENDING_MAX = 512
STREAMS_PER_ACCOUNT_MAX = 16
#: Components of one page. The list of API keys has about seven for each key, that of webhooks 14 for each.
COMPONENTS_PER_PAGE_MAX = 3000
EVENTS_PER_MINUTE = 120

_OUTDATED = "This page is out of date. Reload it."
_TOO_MANY = "Too many requests. Try again in a moment."


@dataclass(eq=False)
class Page:
    """One open page, which Gradio identifies by `session_hash`."""

    session_hash: str
    session_id: str  # the visitor's
    account_id: str
    place_id: str  # the account that the page shows
    streams: int = 0

    def is_of(self, visitor: SignedInVisitor) -> bool:
        """Whether the visitor has opened it, and still works in the account that it shows."""
        return (self.session_id, self.place_id) == (visitor.session_id, visitor.place.account_id)


class Pages:
    """The open pages of one process. `gradio_app` is Gradio's application."""

    def __init__(self, gradio_app: Any) -> None:
        self._state_holder = gradio_app.state_holder
        self._blocks = gradio_app.get_blocks()
        self._queue = self._blocks._queue
        self._pages: OrderedDict[str, Page] = OrderedDict()  # least recently used first
        self._rates = MemoryRates(RATES_MAX)  # by account
        # A second limit, for sessions that Gradio recreates for events that are already queued.
        self._state_holder.capacity = PAGES_MAX
        self._queue.max_size = PENDING_MAX

    def functions(self, session_hash: str) -> Mapping[int, Any]:
        """Gradio's functions by index, including those of components rendered for this page only."""
        state = self._state_holder.session_data.get(session_hash)
        functions: Mapping[int, Any] = self._blocks.fns if state is None else state.blocks_config.fns
        return functions

    def check_owner(self, visitor: SignedInVisitor, session_hash: str) -> None:
        """Raises NotFound if the session belongs to another visitor. Unused hashes are allowed."""
        page = self._pages.get(session_hash)
        if page is not None and not page.is_of(visitor):
            raise NotFound(_OUTDATED)

    async def admit(self, visitor: SignedInVisitor, session_hash: str) -> None:
        """Reserve a place for one event of this page. Raises NotFound, RateLimited and ServiceUnavailable."""
        self.check_owner(visitor, session_hash)
        if not self._rates.take(visitor.account_id, limit=EVENTS_PER_MINUTE, now=utc_now()):
            raise RateLimited(_TOO_MANY, retry_after_seconds=1)
        page = self._pages.get(session_hash)
        if page is not None and self._component_count(session_hash) > COMPONENTS_PER_PAGE_MAX:
            await self._evict(page)
            raise NotFound(_OUTDATED)
        if self._pending(session_hash) >= PENDING_PER_PAGE_MAX:
            raise RateLimited(_TOO_MANY, retry_after_seconds=1)
        if page is None:
            await self._make_room(visitor.account_id)
            # Checked again, because another request may have added the page in the meantime.
            self.check_owner(visitor, session_hash)
            page = self._pages.setdefault(
                session_hash,
                Page(session_hash, visitor.session_id, visitor.account_id, visitor.place.account_id),
            )
        await self._limit_pending(page)
        self._pages.move_to_end(session_hash)
        self._trim_statistics()

    @contextmanager
    def stream(self, visitor: SignedInVisitor, session_hash: str) -> Iterator[None]:
        """Count a connection that Gradio keeps open for this page. Raises NotFound and RateLimited."""
        page = self._pages.get(session_hash)
        if page is None or not page.is_of(visitor):
            raise NotFound(_OUTDATED)
        open_streams = sum(
            other.streams for other in self._pages.values() if other.account_id == page.account_id
        )
        if open_streams >= STREAMS_PER_ACCOUNT_MAX:
            raise RateLimited(_TOO_MANY, retry_after_seconds=1)
        page.streams += 1
        try:
            yield
        finally:
            page.streams -= 1

    def has_messages(self, session_hash: str) -> bool:
        """Whether messages for this page are waiting or will follow."""
        return session_hash in self._queue.pending_messages_per_session

    def _pending(self, session_hash: str) -> int:
        return len(self._queue.pending_event_ids_session.get(session_hash, ()))

    def _component_count(self, session_hash: str) -> int:
        """The number of components that Gradio keeps for this page. Deletes those of earlier renderings."""
        state = self._state_holder.session_data.get(session_hash)
        if state is None:
            return 0
        components: dict[int, Any] = state.blocks_config.blocks
        if self._pending(session_hash) == 0:  # otherwise the page may be rendering
            shown: set[int] = set()
            for renderable in state.blocks_config.renderables:
                _add_ids(components.get(renderable.container_id), shown)
            stale = [key for key, item in components.items() if item.rendered_in and key not in shown]
            for component_id in stale:
                del components[component_id]
                state.config_values.pop(component_id, None)
        return len(components)

    async def _make_room(self, account_id: str) -> None:
        own = [page for page in self._pages.values() if page.account_id == account_id]
        if len(own) >= PAGES_PER_ACCOUNT_MAX:
            await self._evict(own[0])
        elif len(self._pages) >= PAGES_MAX:
            await self._evict(next(iter(self._pages.values())))

    async def _limit_pending(self, newest: Page) -> None:
        """Drop unfetched results, starting with the least recently used page."""
        total = sum(map(len, self._queue.pending_event_ids_session.values()))
        for page in list(self._pages.values()):
            if total < PENDING_MAX:
                return
            if page is not newest and (pending := self._pending(page.session_hash)):
                await self._evict(page)
                total -= pending
        if total >= PENDING_MAX:
            raise ServiceUnavailable("The dashboard is busy. Try again in a moment.", retry_after_seconds=5)

    async def _evict(self, page: Page) -> None:
        """Delete everything that Gradio keeps for `page`."""
        session_hash = page.session_hash
        self._pages.pop(session_hash, None)
        await self._queue.clean_events(session_hash=session_hash)
        self._queue.pending_event_ids_session.pop(session_hash, None)
        self._queue.pending_messages_per_session.pop(session_hash, None)
        self._state_holder.session_data.pop(session_hash, None)
        self._state_holder.time_last_used.pop(session_hash, None)

    def _trim_statistics(self) -> None:
        # Gradio keeps the average time of each function forever, including functions of former renderings.
        if len(self._queue.process_time_per_fn) > PAGES_MAX:
            self._queue.process_time_per_fn.clear()


def _add_ids(component: Any, ids: set[int]) -> None:
    """Add the ids of `component` and of its descendants."""
    if component is not None:
        ids.add(component._id)
        for child in getattr(component, "children", ()):
            _add_ids(child, ids)
