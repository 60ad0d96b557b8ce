"""`POST /mcp`: what is decided from the headers, then the body in short, then the SDK.

The SDK reads and parses whole bodies on the event loop. So the body is read here, its long strings, which are
files as base64, and the lists among the arguments are cut out in a thread, and the SDK gets the little that
is left.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI, Request
from python_multipart.multipart import parse_options_header
from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from api.calls import service as calls
from api.errors import Forbidden, InvalidRequest
from api.http import dependencies, forms, json_forms
from api.http.dependencies import ServicesOf
from api.http.json_forms import ShortenedJson
from api.http.mcp.cancellation import SESSION_HEADER, new_session_id
from api.http.mcp.exchange import Exchange
from api.http.mcp.paths import MCP_PATH
from api.http.mcp.sessions import McpSessions
from api.http.middleware import body_limits
from api.settings import Settings

_ARGUMENTS = (b"params", b"arguments")
_HANDSHAKE = "initialize"


def add_to(app: FastAPI) -> None:
    app.add_api_route(MCP_PATH, answer, methods=["POST"], include_in_schema=False)


async def answer(request: Request, services: ServicesOf) -> Response:
    """The SDK's answer. Refusals before the message is read have the REST routes' statuses and shape."""
    _check_origin(request)
    caller = await dependencies.authenticated_for_tools(request)
    body_limits.refuse_declared_length(request.scope)
    if body_limits.may_be_longer_than(request.scope, body_limits.OTHER_LIMIT_BYTES):
        caller.check_rate()  # Smaller bodies are refused by the tool itself.
    media_type, options = parse_options_header(request.headers.get("content-type"))
    forms.check_encoding(request, options)
    if media_type != b"application/json":
        raise InvalidRequest("Send one JSON-RPC message as application/json.")
    await dependencies.admit_body(request, caller)
    content = bytearray()
    async for piece in request.stream():
        content += piece
    shortened = await asyncio.to_thread(_shorten, content)
    sessions: McpSessions = request.app.state.mcp
    exchange = Exchange(request, caller, services, shortened.long_texts, sessions.calls)
    return _SdkAnswer(sessions, exchange, shortened)


def _shorten(content: bytearray) -> ShortenedJson:
    """The message without its long strings and without the lists among a call's arguments."""
    rest, lists = json_forms.cut_out_lists(content, _ARGUMENTS)
    shortened = json_forms.shorten(rest)
    _check_id(shortened.value)
    _refuse_long_ids(shortened)
    return replace(shortened, long_texts={**shortened.long_texts, **lists})


def _check_id(message: Mapping[str, Any]) -> None:
    """Refuse an id that the SDK would overlook: it would take the request for a notification."""
    if "method" in message and "id" in message and not _is_id(message["id"]):
        raise InvalidRequest("The message's id must be a text or a whole number.")


def _is_id(value: object) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool)


def _refuse_long_ids(shortened: ShortenedJson) -> None:
    """Refuse what the SDK repeats in its answers and would repeat as a placeholder."""
    message = shortened.value
    params = message.get("params")
    meta = params.get("_meta") if isinstance(params, dict) else None
    token = meta.get("progressToken") if isinstance(meta, dict) else None
    for name, value in (("id", message.get("id")), ("progressToken", token)):
        if isinstance(value, str) and value in shortened.long_texts:
            raise InvalidRequest(
                f"The message's {name} is too long: at most {json_forms.LONG_BYTES:,} bytes."
            )


def _check_origin(request: Request) -> None:
    """Raise `Forbidden` for a page of another origin, unless the operator allows it to call the API.

    Agents outside a browser send no `Origin`.
    """
    own = urlsplit(dependencies.public_base_url(request))
    settings: Settings = request.app.state.settings
    allowed = {f"{own.scheme}://{own.netloc}".lower(), *settings.cors_allowed_origins}
    for origin in request.headers.getlist("origin"):
        if origin.lower() not in allowed and "*" not in allowed:
            raise Forbidden("Pages of this origin may not use this address.")


class _SdkAnswer(Response):
    """An answer that the SDK sends, for a message that was read already."""

    def __init__(self, sessions: McpSessions, exchange: Exchange, message: ShortenedJson) -> None:
        super().__init__()
        self._sessions = sessions
        self._exchange = exchange
        self._message: bytes | None = message.content
        self._opens_session = message.value.get("method") == _HANDSHAKE

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_sent = has_disconnected = False

        async def receive_message() -> Message:
            nonlocal has_disconnected
            if self._message is not None:
                content, self._message = self._message, None
                return {"type": "http.request", "body": content, "more_body": False}
            message = await receive()
            has_disconnected = has_disconnected or message["type"] == "http.disconnect"
            return message

        async def send_message(message: Message) -> None:
            nonlocal is_sent
            if self._opens_session and message["type"] == "http.response.start" and message["status"] == 200:
                MutableHeaders(scope=message)[SESSION_HEADER] = new_session_id()
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                is_sent = not has_disconnected

        self._exchange.put_in(scope)
        # The declared length is that of the whole body, of which the SDK gets only a part.
        headers = [
            pair for pair in scope["headers"] if pair[0] not in (b"content-length", b"transfer-encoding")
        ]
        await self._sessions.handle({**scope, "headers": headers}, receive_message, send_message)
        if is_sent:
            for result in self._exchange.random_results:
                await calls.mark_delivered(self._exchange.services, result)
