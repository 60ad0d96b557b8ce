"""The real Gradio pages in the test's own process, for what has to be seen inside Gradio."""

import secrets
from typing import Any, cast

import httpx
from starlette.routing import Mount

from api.auth import sessions
from billing.ledger import accounts
from tests.support.apps import LocalApi
from web.auth import visitor
from web.gradio import mount as gradio_mount
from web.gradio.guard import Guard

JOIN = "/app/gradio_api/queue/join"


class Site:
    """The real pages in this process. Gradio's queue is not started, so that events wait in it."""

    def __init__(self, api: LocalApi) -> None:
        self._api = api
        visitor.install(api.app, api.services)
        api.call(self._mount)
        mounts = [route for route in api.app.routes if isinstance(route, Mount) and route.path == "/app"]
        guard = mounts[0].app
        assert isinstance(guard, Guard)
        # Gradio's types are incomplete.
        self.gradio = cast(Any, guard.app)
        self.queue = self.gradio.get_blocks()._queue
        self.services = api.services
        self.fill = self.function("fill")

    async def _mount(self) -> None:
        # Inside the event loop, because Gradio would make one for its locks and leave it open.
        gradio_mount.mount(self._api.app)

    def function(self, name: str) -> Any:
        """The first of Gradio's functions with this name."""
        return next(one for one in self.gradio.get_blocks().fns.values() if one.name == name)

    def work_through(self) -> None:
        """Do what waits in the queue, as its task would, and fetch the results."""
        self._api.call(self._work_through)

    async def _work_through(self) -> None:
        blocks = self.gradio.get_blocks()
        blocks.create_limiter()
        self.queue.active_jobs = [None]
        while (batch := self.queue.get_events()) is not None:
            events, is_batch, concurrency_id = batch
            self.queue.event_queue_per_concurrency_id[concurrency_id].current_concurrency += 1
            await self.queue.process_events(events, is_batch, 0.0, events[0].fn)
        self.queue.pending_messages_per_session.clear()
        self.queue.pending_event_ids_session.clear()

    def new_visitor(self, account_id: str | None = None) -> "Visitor":
        """A browser that is signed in, to a new account unless one is named."""
        now = self._api.clock()
        with self._api.services.database.transaction() as session:
            if account_id is None:
                account_id = accounts.create(session, email=f"{secrets.token_hex(8)}@a.example", now=now).id
            return Visitor(self, account_id, sessions.create(session, account_id, now=now).token)

    def request(self, method: str, path: str, token: str, **options: Any) -> httpx.Response:
        return self._api.request(method, path, headers={"Cookie": f"bgeraser_session={token}"}, **options)


class Visitor:
    def __init__(self, site: Site, account_id: str, token: str) -> None:
        self._site, self.account_id, self.token = site, account_id, token

    def join(self, session_hash: str, name: str = "fill") -> int:
        """The status of the answer to one event, of the function `name`, of the page `session_hash`."""
        function = self._site.function(name)
        event = {
            "data": [None for _ in function.inputs],
            "fn_index": function._id,
            "trigger_id": function.targets[0][0],
            "session_hash": session_hash,
        }
        return self._site.request("POST", JOIN, self.token, json=event).status_code

    def get(self, path: str) -> httpx.Response:
        return self._site.request("GET", f"/app/gradio_api/{path}", self.token)
