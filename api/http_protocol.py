"""uvicorn's HTTP protocol with a time limit for a request's head, which uvicorn itself does not have.

A connection that never finishes its headers would otherwise stay open for ever, at no cost to who opened it.
Pass it to uvicorn as `http=`.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_LIMIT_SECONDS = 15.0


class HttpProtocol(HttpToolsProtocol):
    """Closes a connection whose request's head does not arrive in time."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._head_deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_clock()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_clock()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        # Of a kept connection's next request; between two requests uvicorn's own limit holds.
        self._start_clock()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._stop_clock()
        super().on_headers_complete()

    def _start_clock(self) -> None:
        if self._head_deadline is None:
            self._head_deadline = self.loop.call_later(HEAD_LIMIT_SECONDS, self._give_up)

    def _stop_clock(self) -> None:
        if self._head_deadline is not None:
            self._head_deadline.cancel()
            self._head_deadline = None

    def _give_up(self) -> None:
        self._head_deadline = None
        if not self.transport.is_closing():
            self.transport.close()
