"""uvicorn's HTTP protocol with limits for clients that hold a connection, and with the API's error shape.

Otherwise a connection that never finishes its headers or never reads its answer would stay open forever, and
one that never stops sending headers would fill the memory. Pass `limited(…)` to uvicorn as `http=`, and turn
its WebSockets off, because they would bypass this protocol.
"""

import asyncio
import re
import socket
import sys
from typing import Any, ClassVar

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api import response_bodies
from api.errors import ApiError, InvalidRequest, MethodNotAllowed, RateLimited
from api.http.connection_limits import ConnectionLimits
from api.http.streams import is_endless
from billing.identifiers import new_id

HEAD_LIMIT_SECONDS = 15.0
HEAD_LIMIT_BYTES = 64 * 1024

# In each window a client must read this much of the buffered output, or the rest if that is less. A client
# that stops reading loses its connection after two windows at most, because the system's buffers may fill
# during the first one. 11 kbit/s is enough. The window is long because a client's system that has filled its
# buffers takes nothing for a while: Linux until a sixteenth is free, of up to 32 MiB.
OUTPUT_WINDOW_SECONDS = 30.0
OUTPUT_WINDOW_BYTES = 40 * 1024
# With more that is not sent yet, this system takes no further output. By itself it would take megabytes, and
# then nothing until a third of that has been read.
_UNSENT_BYTES = 64 * 1024

_REFUSED_RETRY_SECONDS = 5
_REQUEST_LINE = re.compile(rb"[A-Za-z-]{1,32} \S{1,8192} HTTP/1\.[01]\r?\n")


def limited(limits: ConnectionLimits) -> type["HttpProtocol"]:
    """The protocol for a server whose connections `limits` counts."""
    return type("LimitedHttpProtocol", (HttpProtocol,), {"limits": limits})


class HttpProtocol(HttpToolsProtocol):
    """Closes a connection whose request head is too long or too slow, or whose answer is not read."""

    limits: ClassVar[ConnectionLimits]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._head_deadline: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._has_request_line = False  # in the bytes that arrived last
        self._output_check: asyncio.TimerHandle | None = None
        self._output_bytes = 0  # buffered when the window began

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        address = self.client[0] if self.client else ""
        if not self.limits.has_room(address):
            refusal = RateLimited("Too many connections are open. Please try again.", _REFUSED_RETRY_SECONDS)
            self._answer_and_close("429 Too Many Requests", refusal)
            return
        self.limits.add(self, address)
        _take_little_output(transport)
        self._begin_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self.limits.remove(self)
        self._end_head()
        self._end_output_window()
        super().connection_lost(exc)

    def evict(self) -> None:
        """Close at once, to make room for another connection."""
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self._has_request_line = _REQUEST_LINE.match(data) is not None
        super().data_received(data)
        if self._head_deadline is not None and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_LIMIT_BYTES:
                self.send_400_response("The request's headers are too long.")

    def on_message_begin(self) -> None:
        # For the next request of a kept-alive connection; between requests uvicorn's own limit applies.
        self._begin_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._end_head()
        self.limits.busy(self)
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.get_write_buffer_size():
            self._begin_output_window()
        else:
            self._report_idle()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._begin_output_window()

    def resume_writing(self) -> None:
        super().resume_writing()
        # The client has read tens of kilobytes; the rest gets a new window.
        self._begin_output_window()

    def shutdown(self) -> None:
        """Let the current request finish, but end an endless answer."""
        super().shutdown()
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete and is_endless(cycle.scope):
            # Report a disconnect to the application, which ends such an answer as usual.
            cycle.disconnected = True
            cycle.message_event.set()
            self.transport.close()
            self._begin_output_window()

    def send_400_response(self, msg: str) -> None:
        """Answer invalid HTTP in the API's error shape, then close."""
        if isinstance(sys.exception(), httptools.HttpParserInvalidMethodError) and self._has_request_line:
            self._answer_and_close(
                "405 Method Not Allowed", MethodNotAllowed("This method is not supported.")
            )
            return
        self._answer_and_close("400 Bad Request", InvalidRequest(msg))

    def _unsupported_upgrade_warning(self) -> None:
        # A request to upgrade is answered as a normal one, and the connection is closed, because the parser
        # has stopped there. Anyone can send such requests, so they are not logged.
        if self.cycle is not None:
            self.cycle.keep_alive = False

    def _answer_and_close(self, status: str, error: ApiError) -> None:
        request_id = new_id("req")
        _, body = response_bodies.failure(error, request_id)
        retry = () if error.retry_after_seconds is None else (f"retry-after: {error.retry_after_seconds}",)
        head = (
            f"HTTP/1.1 {status}",
            "content-type: application/json",
            f"content-length: {len(body)}",
            f"x-request-id: {request_id}",
            "x-content-type-options: nosniff",
            *retry,
            "connection: close",
        )
        self.transport.write("\r\n".join([*head, "", ""]).encode() + body)
        self.transport.close()
        self._begin_output_window()

    def _report_idle(self) -> None:
        if not self.pipeline and (self.cycle is None or self.cycle.response_complete):
            self.limits.idle(self)

    def _should_upgrade_to_ws(self) -> bool:
        # Handshakes are refused below, whether or not a WebSocket library is installed.
        return True

    def handle_websocket_upgrade(self) -> None:
        """Refuse a WebSocket handshake in the API's error shape."""
        self.send_400_response("This server does not support WebSockets.")

    def _begin_head(self) -> None:
        if self._head_deadline is None:
            self._head_bytes = 0
            self._head_deadline = self.loop.call_later(HEAD_LIMIT_SECONDS, self._head_timed_out)

    def _end_head(self) -> None:
        if self._head_deadline is not None:
            self._head_deadline.cancel()
            self._head_deadline = None

    def _head_timed_out(self) -> None:
        self._head_deadline = None
        if not self.transport.is_closing():
            self.transport.close()
            self._begin_output_window()

    def _begin_output_window(self) -> None:
        self._end_output_window()
        self._output_bytes = self.transport.get_write_buffer_size()
        if self._output_bytes:
            self._output_check = self.loop.call_later(OUTPUT_WINDOW_SECONDS, self._check_output)

    def _end_output_window(self) -> None:
        if self._output_check is not None:
            self._output_check.cancel()
            self._output_check = None

    def _check_output(self) -> None:
        # `close` waits until everything is sent: only `abort` ends a connection whose client reads nothing.
        self._output_check = None
        left = self.transport.get_write_buffer_size()
        if left and self._output_bytes - left < OUTPUT_WINDOW_BYTES:
            self.transport.abort()
        elif left:
            self._begin_output_window()
        else:
            self._report_idle()


def _take_little_output(transport: asyncio.Transport) -> None:
    opened = transport.get_extra_info("socket")
    if opened is not None and opened.family != socket.AF_UNIX and hasattr(socket, "TCP_NOTSENT_LOWAT"):
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)
