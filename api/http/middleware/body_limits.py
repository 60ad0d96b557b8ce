"""Limits for the size of a request's body and for how slowly it may arrive.

Nothing is refused before the application reads the body, so that authentication and routing come first. Then
`api.http.middleware.body_gate` admits it. A body over its limit is never stored. If an answer did not need
the whole body, the rest is read and discarded within limits: a client that sends everything before it reads
would otherwise see a reset connection instead of the answer.
"""

import asyncio
import time
from collections.abc import Collection, Mapping
from contextlib import suppress

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import FileTooLarge, InvalidRequest
from api.http.middleware.body_gate import Admission, BodyGate, Sender
from api.networks import network_of

MEBIBYTE = 1024 * 1024
UPLOAD_LIMIT_BYTES = 52 * MEBIBYTE
OTHER_LIMIT_BYTES = MEBIBYTE

DISCARD_LIMIT_BYTES = 64 * MEBIBYTE
DISCARD_LIMIT_SECONDS = 10.0

# In each window this many bytes of a body must arrive, so that a slow one holds its connection for at most
# two windows. 0.2 Mbit/s is fast enough.
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
        message = "The request's body arrived too slowly."
        HTTPException.__init__(self, status_code=400, detail=message)
        self.message = message


class BodyLimits:
    """ASGI middleware. `limits`: bytes of multipart bodies by path; one that ends in "/" is a prefix.

    `limits_of_json`: bytes of JSON bodies, by path in the same way, for routes that accept files as base64.
    `limits_of_any_type`: bytes of bodies of every type, by path. All other bodies contain no file, so 1 MiB
    is enough for them. `spooled`: paths of `limits` whose multipart bodies are written to disk while they
    arrive; `disk_gate` admits those.
    """

    def __init__(
        self,
        app: ASGIApp,
        limits: Mapping[str, int],
        gate: BodyGate,
        limits_of_any_type: Mapping[str, int] | None = None,
        limits_of_json: Mapping[str, int] | None = None,
        spooled: Collection[str] = (),
        disk_gate: BodyGate | None = None,
    ) -> None:
        self._app = app
        self._spooled = frozenset(spooled)
        self._disk_gate = disk_gate or gate
        self._limits = {"multipart/form-data": dict(limits), "application/json": dict(limits_of_json or {})}
        self._limits_of_any_type = dict(limits_of_any_type or {})
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        is_spooled = scope["path"] in self._spooled and _media_type(headers) == "multipart/form-data"
        gate = self._disk_gate if is_spooled else self._gate
        body = RequestBody(headers, self._limit_bytes(scope["path"], headers), gate, receive, send)
        body.sender = Sender(_address(scope))
        scope[_SCOPE_KEY] = body
        try:
            await self._app(scope, body.receive, body.send)
        finally:
            body.close()

    def _limit_bytes(self, path: str, headers: Headers) -> int:
        if (limit := self._limits_of_any_type.get(path)) is not None:
            return limit
        for limited, limit in self._limits.get(_media_type(headers), {}).items():
            if path == limited or (limited.endswith("/") and path.startswith(limited)):
                return limit
        return OTHER_LIMIT_BYTES


def _media_type(headers: Headers) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def refuse_declared_length(scope: Scope) -> None:
    """Raise `BodyTooLarge` if the declared length is over the limit."""
    body: RequestBody = scope[_SCOPE_KEY]
    body.refuse_declared_length()


def may_be_longer_than(scope: Scope, size_bytes: int) -> bool:
    """Whether the body is declared to be longer, or its length is not declared."""
    body: RequestBody = scope[_SCOPE_KEY]
    return body.declared_bytes is None or body.declared_bytes > size_bytes


async def admit(
    scope: Scope,
    *,
    account_id: str | None = None,
    guest_id: str | None = None,
    is_paid: bool = False,
    concurrent_calls: int = 0,
) -> None:
    """Admit the request's body, counted towards its caller. Without this call it counts towards its address.

    Raises `BodyTooLarge` if the declared length is over the limit, `TooManyBodies`, `BodiesFillMemory`.
    """
    body: RequestBody = scope[_SCOPE_KEY]
    body.sender = Sender(_address(scope), account_id, guest_id, is_paid, concurrent_calls)
    await body.admit()


def count_fetched(scope: Scope, size_bytes: int) -> None:
    """Count `size_bytes` fetched for this request towards the memory for bodies, besides its own body.

    Call it after `admit`. Raises `TooManyBodies`, `BodiesFillMemory`.
    """
    body: RequestBody = scope[_SCOPE_KEY]
    body.count_fetched(size_bytes)


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return network_of(client[0]) if client else ""


class RequestBody:
    """One request's body between the server and the application."""

    sender: Sender

    def __init__(
        self, headers: Headers, limit_bytes: int, gate: BodyGate, receive: Receive, send: Send
    ) -> None:
        self.limit_bytes = limit_bytes
        self._gate = gate
        self._admission: Admission | None = None
        self.declared_bytes = _declared_bytes(headers)
        self._receive, self._send = receive, send
        self._received_bytes = 0
        self._is_whole = False
        self._has_disconnected = False
        self._is_too_slow = False
        self._answer_began = False
        self._window = _Window()

    def refuse_declared_length(self) -> None:
        if self.declared_bytes is not None and self.declared_bytes > self.limit_bytes:
            raise BodyTooLarge(self.limit_bytes)

    async def admit(self) -> None:
        """Wait for room for this body, once. Raises as `body_limits.admit`."""
        self.refuse_declared_length()
        if self._admission is None and self.declared_bytes != 0:
            self._admission = await self._gate.admit(self.sender, self.declared_bytes or 0)

    def count_fetched(self, size_bytes: int) -> None:
        """Raises as `body_limits.count_fetched`."""
        if self._admission is not None:
            own_bytes = max(self.declared_bytes or 0, self._received_bytes)
            self._admission.grow_to(own_bytes + size_bytes)

    def close(self) -> None:
        """The request was answered or abandoned."""
        if self._admission is not None:
            self._admission.close()

    async def receive(self) -> Message:
        """The next piece of the body, or a disconnect."""
        if self._answer_began or self._is_whole:
            # Only code that waits for a disconnect gets here; it does not need the rest of the body.
            return await self._wait_for_disconnect()
        await self.admit()
        try:
            message = await self._window.wait_for(self._receive)
        except TimeoutError:
            self._is_too_slow = True
            raise BodyTooSlow from None
        self._count(message)
        if self._received_bytes > self.limit_bytes:
            raise BodyTooLarge(self.limit_bytes)
        if self._admission is not None:
            self._admission.grow_to(self._received_bytes)
        return message

    async def send(self, message: Message) -> None:
        """Send a message of the answer; before the last one, read and discard the rest of the body."""
        has_rest = not (self._is_whole or self._has_disconnected or self.declared_bytes == 0)
        if message["type"] == "http.response.start":
            self._answer_began = True
            self._stop_counting()
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
                while not (self._is_whole or self._has_disconnected):
                    self._count(await self._receive())
                    if self._received_bytes - discarded_from > DISCARD_LIMIT_BYTES:
                        return

    async def _wait_for_disconnect(self) -> Message:
        while True:
            message = await self._receive()
            self._count(message)
            if self._has_disconnected:
                return message

    def _count(self, message: Message) -> None:
        if message["type"] == "http.disconnect":
            self._has_disconnected = True
            self._stop_counting()
            return
        self._received_bytes += len(message.get("body", b""))
        if not message.get("more_body", False):
            self._is_whole = True
            self._stop_counting()

    def _stop_counting(self) -> None:
        if self._admission is not None:
            self._admission.arrived()


class _Window:
    """Measures progress. Only time spent waiting for the client counts, not the server's own."""

    def __init__(self) -> None:
        self._waited_seconds = 0.0
        self._bytes = 0

    async def wait_for(self, receive: Receive) -> Message:
        """The next message. Raises `TimeoutError` if too few bytes arrived in a whole window."""
        began = time.monotonic()
        async with asyncio.timeout(PROGRESS_WINDOW_SECONDS - self._waited_seconds):
            message = await receive()
        self._waited_seconds += time.monotonic() - began
        self._bytes += len(message.get("body", b""))
        if self._bytes >= PROGRESS_WINDOW_BYTES:
            self._waited_seconds, self._bytes = 0.0, 0
        return message


def _declared_bytes(headers: Headers) -> int | None:
    """The declared length of the body: 0 without a body, None if it is not declared."""
    length = headers.get("content-length")
    if length is not None and length.isascii() and length.isdigit():
        return int(length)
    return None if "transfer-encoding" in headers or length is not None else 0
