"""The SDK's session manager, imported and started by the first request.

Requests are stateless: any process can answer any of them, and there is nothing to expire or to limit.
"""

import asyncio
from typing import TYPE_CHECKING

from starlette.types import Receive, Scope, Send

from api.http.mcp.cancellation import CancellableCalls
from api.services import Services

if TYPE_CHECKING:
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager


class McpSessions:
    """Passes HTTP requests to the SDK. For one event loop."""

    def __init__(self, services: Services, version: str) -> None:
        self.calls = CancellableCalls()
        self._services = services
        self._version = version
        self._serving: asyncio.Task[None] | None = None
        self._manager: asyncio.Future[StreamableHTTPSessionManager] | None = None
        self._stopping = asyncio.Event()

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request whose `Exchange` is in `scope`."""
        if self._manager is None:
            self._manager = asyncio.get_running_loop().create_future()
            # A task of its own, because the manager must be left by the task that entered it.
            self._serving = asyncio.create_task(self._serve(self._manager))
        manager = await asyncio.shield(self._manager)
        await manager.handle_request(scope, receive, send)

    async def close(self) -> None:
        """Cancel what still runs. The server has stopped answering requests by then."""
        self._stopping.set()
        if self._serving is not None:
            await self._serving

    async def _serve(self, started: "asyncio.Future[StreamableHTTPSessionManager]") -> None:
        try:
            manager = await asyncio.to_thread(_new_manager, self._services, self._version)
        except Exception as error:
            self._manager = None  # so that the next request tries again
            started.set_exception(error)
            return
        async with manager.run():
            started.set_result(manager)
            await self._stopping.wait()


def _new_manager(services: Services, version: str) -> "StreamableHTTPSessionManager":
    from api.http.mcp import server

    return server.new_manager(services, version)
