"""uvicorn's HTTP protocol with what it lacks: limits for a request's head, and our error shape.

A connection that never finishes its headers would otherwise stay open for ever, and one that never stops
sending them would fill the memory. Pass it to uvicorn as `http=`.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api import bodies
from api.errors import InvalidRequest
from billing.identifiers import new_id

HEAD_LIMIT_SECONDS = 15.0
HEAD_LIMIT_BYTES = 64 * 1024


class HttpProtocol(HttpToolsProtocol):
    """Closes a connection whose request's head is too long, or does not arrive in time."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._head_deadline: asyncio.TimerHandle | None = None
        self._head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._begin_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._head_deadline is not None and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_LIMIT_BYTES:
                self.send_400_response("The request's headers are too long.")

    def on_message_begin(self) -> None:
        # Of a kept connection's next request; between two requests uvicorn's own limit holds.
        self._begin_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._end_head()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP in the shape of all errors, then close."""
        _, body = bodies.failure(InvalidRequest(msg), new_id("req"))
        head = (
            "HTTP/1.1 400 Bad Request",
            "content-type: application/json",
            f"content-length: {len(body)}",
            "x-content-type-options: nosniff",
            "connection: close",
        )
        self.transport.write("\r\n".join([*head, "", ""]).encode() + body)
        self.transport.close()

    def _should_upgrade_to_ws(self) -> bool:
        # Whether or not a WebSocket library is installed: a handshake is refused below, not passed on.
        return True

    def handle_websocket_upgrade(self) -> None:
        """Refuse a WebSocket's handshake in the shape of all errors; nothing here speaks the protocol."""
        self.send_400_response("There are no WebSockets at this server.")

    def _begin_head(self) -> None:
        if self._head_deadline is None:
            self._head_bytes = 0
            self._head_deadline = self.loop.call_later(HEAD_LIMIT_SECONDS, self._give_up)

    def _end_head(self) -> None:
        if self._head_deadline is not None:
            self._head_deadline.cancel()
            self._head_deadline = None

    def _give_up(self) -> None:
        self._head_deadline = None
        if not self.transport.is_closing():
            self.transport.close()
