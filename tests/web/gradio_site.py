"""The real Gradio pages in the test's own process, for what has to be seen inside Gradio."""

import secrets
from typing import Any

import httpx
from starlette.routing import Mount

from api.people import sessions
from billing import accounts
from tests.api.apps import LocalApi
from web import gradio_app, visitor

JOIN = "/app/gradio_api/queue/join"


class Site:
    """The real pages in this process. Gradio's queue is not started, so that events wait in it."""

    def __init__(self, api: LocalApi) -> None:
        self._api = api
        visitor.install(api.app, api.services)
        api.call(self._mount)
        (guard,) = (
            route.app for route in api.app.routes if isinstance(route, Mount) and route.path == "/app"
        )
        self.gradio: Any = guard._app
        self.queue = self.gradio.get_blocks()._queue
        self.fill = next(one for one in self.gradio.get_blocks().fns.values() if one.name == "fill")

    async def _mount(self) -> None:
        # Inside the event loop, because Gradio would make one for its locks and leave it open.
        gradio_app.mount(self._api.app)

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

    def join(self, session_hash: str) -> int:
        """The status of the answer to one event of the page `session_hash`."""
        fill = self._site.fill
        event = {
            "data": [],
            "fn_index": fill._id,
            "trigger_id": fill.targets[0][0],
            "session_hash": session_hash,
        }
        return self._site.request("POST", JOIN, self.token, json=event).status_code

    def get(self, path: str) -> httpx.Response:
        return self._site.request("GET", f"/app/gradio_api/{path}", self.token)
