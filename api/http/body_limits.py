"""How much of a request's body is read, and how slowly it may come.

Nothing is refused before the application asks for the body, so that the key and the route are checked first.
A body over its limit is never stored. After an answer that did not need the whole body the rest is read and
thrown away within bounds: a client that sends everything before it reads would otherwise see a reset
connection instead of the answer.
"""

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import FileTooLarge, InvalidRequest

MEBIBYTE = 1024 * 1024
UPLOAD_LIMIT_BYTES = 52 * MEBIBYTE
OTHER_LIMIT_BYTES = MEBIBYTE

DISCARD_LIMIT_BYTES = 64 * MEBIBYTE
DISCARD_LIMIT_SECONDS = 10.0

# A body must bring this much in each window of time, so that one that drips holds its connection for at most
# two windows. A line of 0.2 Mbit/s is fast enough.
PROGRESS_WINDOW_SECONDS = 14.0
PROGRESS_WINDOW_BYTES = 320 * 1024

_SCOPE_KEY = "bgeraser.body"


class BodyTooLarge(FileTooLarge, HTTPException):
    """`FileTooLarge` that passes FastAPI's own body reader, which lets only HTTP exceptions through."""

    def __init__(self, limit_bytes: int) -> None:
        message = f"The request is too large: at most {limit_bytes / MEBIBYTE:g} MiB here."
        HTTPException.__init__(self, status_code=413, detail=message)
        self.message = message


class BodyTooSlow(InvalidRequest, HTTPException):
    """The body did not arrive in time."""

    def __init__(self) -> None:
        message = "The request's body came too slowly."
        HTTPException.__init__(self, status_code=400, detail=message)
        self.message = message


class BodyLimits:
    """ASGI middleware. `limits`: bytes by path; one ending in "/" stands for all below it. Others: 1 MiB."""

    def __init__(self, app: ASGIApp, limits: Mapping[str, int]) -> None:
        self._app = app
        self._limits = dict(limits)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = RequestBody(Headers(scope=scope), self._limit_bytes(scope["path"]), receive, send)
        scope[_SCOPE_KEY] = body
        await self._app(scope, body.receive, body.send)

    def _limit_bytes(self, path: str) -> int:
        for place, limit in self._limits.items():
            if path == place or (place.endswith("/") and path.startswith(place)):
                return limit
        return OTHER_LIMIT_BYTES


def refuse_declared_length(scope: Scope) -> None:
    """Raise `BodyTooLarge` if the request says itself that it is over its limit."""
    body: RequestBody = scope[_SCOPE_KEY]
    if body.declared_bytes is not None and body.declared_bytes > body.limit_bytes:
        raise BodyTooLarge(body.limit_bytes)


class RequestBody:
    """One request's body between the server and the application."""

    def __init__(self, headers: Headers, limit_bytes: int, receive: Receive, send: Send) -> None:
        self.limit_bytes = limit_bytes
        self.declared_bytes = _declared_bytes(headers)
        self._receive, self._send = receive, send
        self._received_bytes = 0
        self._is_whole = False
        self._is_gone = False
        self._is_too_slow = False
        self._answer_began = False
        self._window = _Window()

    async def receive(self) -> Message:
        """The next piece of the body, or the news that the client went away."""
        if self._answer_began or self._is_whole:
            # Only a watcher for disconnection asks now; what still comes of the body is of no use to it.
            return await self._wait_for_disconnect()
        if self.declared_bytes is not None and self.declared_bytes > self.limit_bytes:
            raise BodyTooLarge(self.limit_bytes)
        try:
            message = await self._window.wait_for(self._receive)
        except TimeoutError:
            self._is_too_slow = True
            raise BodyTooSlow from None
        self._count(message)
        if self._received_bytes > self.limit_bytes:
            raise BodyTooLarge(self.limit_bytes)
        return message

    async def send(self, message: Message) -> None:
        """Pass on a piece of the answer. Before the last one ends the exchange, take in the body's rest."""
        has_rest = not (self._is_whole or self._is_gone or self.declared_bytes == 0)
        if message["type"] == "http.response.start":
            self._answer_began = True
            if has_rest:
                headers = [*message.get("headers", []), (b"connection", b"close")]
                message = {**message, "headers": headers}
        is_last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if not (is_last and has_rest) or self._is_too_slow:
            await self._send(message)
            return
        await self._send({**message, "more_body": True})
        await self._discard_rest()
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _discard_rest(self) -> None:
        discarded_from = self._received_bytes
        with suppress(TimeoutError):
            async with asyncio.timeout(DISCARD_LIMIT_SECONDS):
                while not (self._is_whole or self._is_gone):
                    self._count(await self._receive())
                    if self._received_bytes - discarded_from > DISCARD_LIMIT_BYTES:
                        return

    async def _wait_for_disconnect(self) -> Message:
        while True:
            message = await self._receive()
            self._count(message)
            if self._is_gone:
                return message

    def _count(self, message: Message) -> None:
        if message["type"] == "http.disconnect":
            self._is_gone = True
            return
        self._received_bytes += len(message.get("body", b""))
        self._is_whole = self._is_whole or not message.get("more_body", False)


class _Window:
    """Measures progress. Only waiting for the client counts, not the time the server takes for itself."""

    def __init__(self) -> None:
        self._waited_seconds = 0.0
        self._bytes = 0

    async def wait_for(self, receive: Receive) -> Message:
        """The next message. `TimeoutError` when a whole window brought too little."""
        began = time.monotonic()
        async with asyncio.timeout(PROGRESS_WINDOW_SECONDS - self._waited_seconds):
            message = await receive()
        self._waited_seconds += time.monotonic() - began
        self._bytes += len(message.get("body", b""))
        if self._bytes >= PROGRESS_WINDOW_BYTES:
            self._waited_seconds, self._bytes = 0.0, 0
        return message


def _declared_bytes(headers: Headers) -> int | None:
    """What the request says of its body's length: 0 for none at all, None if it says nothing."""
    length = headers.get("content-length")
    if length is not None and length.isascii() and length.isdigit():
        return int(length)
    return None if "transfer-encoding" in headers or length is not None else 0
