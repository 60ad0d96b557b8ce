"""The outermost middleware: request ids, the request log, traces, security headers, CORS, unforeseen errors.

It also refuses invalid URLs, and WebSockets, which no route supports.
"""

import asyncio
import time
from typing import TYPE_CHECKING

import structlog
from fastapi import Request
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import response_bodies
from api.errors import NotFound, ServiceUnavailable
from api.http import request_line, responses, streams
from api.http.cors import Cors
from api.metrics import Metrics
from billing.identifiers import new_id

if TYPE_CHECKING:
    from api.tracing.spans import Tracer

log = structlog.get_logger("api.requests")

_SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    # Pages set their own policy; answers of the API load nothing.
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
_LOGGED_PATH_LENGTH = 500


class RequestContext:
    """The outermost ASGI middleware. Headers that the application has set are kept.

    `cors` is applied here, so that pages of other origins can read every refusal.
    """

    def __init__(
        self, app: ASGIApp, metrics: Metrics, has_tls: bool, cors: Cors, tracer: "Tracer | None" = None
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._cors = cors
        self._tracer = tracer
        self._headers = dict(_SECURITY_HEADERS)
        if has_tls:
            self._headers["Strict-Transport-Security"] = "max-age=31536000"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await _refuse_websocket(scope, send)
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = new_id("req")
        scope.setdefault("state", {})["request_id"] = request_id
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        began = time.perf_counter()
        status = 0
        received = scope  # the one that the server's protocol looks at
        tracer = self._tracer
        span = None
        if tracer is not None:
            span = tracer.begin_request(scope["method"], scope["headers"], request_id)

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                streams.mark_endless(received, message)
                headers = MutableHeaders(raw=list(message.get("headers", [])))
                headers["X-Request-Id"] = request_id
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
                self._cors.decorate(scope, headers)
                message = {**message, "headers": headers.raw}
            await send(message)

        try:
            refusal = request_line.refusal(scope)
            if refusal is not None:
                await responses.error(Request(scope), refusal)(scope, receive, send_with_headers)
            elif (preflight := self._cors.preflight(Request(scope))) is not None:
                await preflight(scope, receive, send_with_headers)
            else:
                scope = request_line.normalized(scope)
                await self._app(scope, receive, send_with_headers)
        except ClientDisconnect:
            pass  # The client has disconnected.
        except asyncio.CancelledError:
            # Only a shutdown whose grace period has ended cancels a request. If the answer has begun, closing
            # the connection shows that it is incomplete; raising would be logged as a defect.
            log.warning("a request was cancelled by the shutdown")
            if not status:
                stopping = ServiceUnavailable("The server is shutting down. Please try again.")
                await responses.error(Request(scope), stopping)(scope, receive, send_with_headers)
        except Exception as error:
            log.exception("unforeseen error")
            if status:
                raise  # The answer has begun; only closing the connection shows that it is incomplete.
            await responses.error(Request(scope), error)(scope, receive, send_with_headers)
        finally:
            seconds = time.perf_counter() - began
            route = getattr(scope.get("route"), "path", "none")
            self._metrics.count_request(scope["method"], route, status, seconds)
            log.info(
                "request",
                method=scope["method"],
                path=_logged_path(scope),
                status=status or "client disconnected",
                ms=round(seconds * 1000),
                client=scope["client"][0] if scope.get("client") else None,
            )
            if span is not None:
                declared = getattr(scope.get("route"), "path", None)
                span.end(declared, status, scope["state"].get("error_code"))


async def _refuse_websocket(scope: Scope, send: Send) -> None:
    """Answer 404 in the API's error shape if the server supports it, else close the socket."""
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008, "reason": "There is nothing at this address."})
        return
    request_id = new_id("req")
    status, body = response_bodies.failure(NotFound("There is no WebSocket at this address."), request_id)
    headers = {**_SECURITY_HEADERS, "X-Request-Id": request_id, "Content-Type": "application/json"}
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "websocket.http.response.start", "status": status, "headers": raw})
    await send({"type": "websocket.http.response.body", "body": body})


def _logged_path(scope: Scope) -> str:
    """The raw path, so that no decoded line break forges a log line, and without the query's signature."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    return raw.partition(b"?")[0][:_LOGGED_PATH_LENGTH].decode("ascii", "backslashreplace")
