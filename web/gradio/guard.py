"""Stands before Gradio's application and decides what of a request reaches it.

Gradio serves cached uploads to everyone, fetches addresses and copies files for callers, believes
`X-Forwarded-Host` from anyone and lists its events as an API. None of that is needed: pictures and texts come
and go by our own routes. What passes is listed here: the pages, the files of Gradio's own build, and for
visitors who are signed in the queue of events. Headers, query and body are made from validated values.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import structlog
from fastapi import Request
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import FileTooLarge, InvalidParameter, InvalidRequest, MethodNotAllowed, NotFound
from api.http import responses
from web.auth import visitor
from web.gradio import events
from web.gradio.events import BODY_LIMIT_BYTES, SESSION_HASH
from web.gradio.idle_patch import with_idle_patch
from web.gradio.sessions import Pages
from web.site import security

PLACE = "/app"
_PAGES = frozenset({"", "/", "/dashboard"})
_FOR_ACCOUNTS = frozenset({"/dashboard"})
_JOIN = frozenset({"/gradio_api/queue/join", "/gradio_api/queue/join/"})
_DATA = "/gradio_api/queue/data"
_HEARTBEAT = re.compile(f"/gradio_api/heartbeat/({SESSION_HASH})")
_OTHERS = frozenset({"/theme.css", "/gradio_api/app_id"})
#: Gradio reads the address of its server from others of a request's headers, whoever sent it.
_HEADERS = frozenset(
    {
        b"accept",
        b"accept-encoding",
        b"accept-language",
        b"host",
        b"if-modified-since",
        b"if-none-match",
        b"user-agent",
    }
)
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}(:\d{1,5})?|\[[0-9a-fA-F:.]{2,45}\](:\d{1,5})?")
_REFUSALS = {400: "This event cannot be read.", 503: "The dashboard is busy. Try again in a moment."}

log = structlog.get_logger()


class Guard:
    """ASGI application in front of Gradio's.

    `files` are the paths, such as `/assets/index.js`, of the files that Gradio may serve; `public_url` is
    where the server is reached, None while that is not set.
    """

    def __init__(self, app: ASGIApp, pages: Pages, files: frozenset[str], public_url: str | None) -> None:
        self.app = app
        self._pages = pages
        self._files = files
        self._public = urlsplit(public_url) if public_url else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": "There are no WebSockets here."})
            return
        request = Request(scope, receive)
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if path in _JOIN:
            await self._join(request, send)
        elif path == _DATA or _HEARTBEAT.fullmatch(path):
            await self._stream(request, path, send)
        elif path == "/dashboard/":
            await RedirectResponse(f"{PLACE}/dashboard", 308)(scope, receive, send)
        elif path in _PAGES or path in _OTHERS or path in self._files:
            await self._read(request, path, send)
        else:
            raise NotFound("There is nothing at this address.")

    async def _read(self, request: Request, path: str, send: Send) -> None:
        if await _refused_method(request, send, "GET", "HEAD"):
            return
        found = await visitor.visitor_of(request)
        if path in _FOR_ACCOUNTS and (found is None or found.account_id is None):
            answer = RedirectResponse(f"/login?next={PLACE}/dashboard", 303)
            await answer(request.scope, request.receive, send)
            return
        # Gradio has no answer to HEAD; the server leaves the body out.
        scope = self._scope(request, method="GET")
        is_page = path in _PAGES
        await _relay(self.app, scope, request.receive, with_idle_patch(_uncached(send)) if is_page else send)

    async def _join(self, request: Request, send: Send) -> None:
        if await _refused_method(request, send, "POST"):
            return
        visitor.check_same_site(request)
        found = await visitor.signed_in(request)
        event = events.parse(await _body(request))
        self._pages.check_owner(found, event.session_hash)
        events.check_arguments(event, self._pages.functions(event.session_hash))
        await self._pages.admit(found, event.session_hash)
        body = event.body()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        scope = self._scope(request, headers=headers)
        await _relay(self.app, scope, _received(body, request.receive), send)

    async def _stream(self, request: Request, path: str, send: Send) -> None:
        if await _refused_method(request, send, "GET"):
            return
        found = await visitor.signed_in(request)
        heartbeat = _HEARTBEAT.fullmatch(path)
        session_hash = heartbeat[1] if heartbeat else _asked_session(request)
        with self._pages.stream(found, session_hash):
            if heartbeat is None and not self._pages.has_messages(session_hash):
                raise NotFound("Nothing is waiting for this page.")
            query = b"" if heartbeat else urlencode({"session_hash": session_hash}).encode()
            scope = self._scope(request, query=query)
            await _relay(self.app, scope, request.receive, send, is_stream=True)

    def _scope(
        self,
        request: Request,
        *,
        method: str | None = None,
        headers: list[tuple[bytes, bytes]] | None = None,
        query: bytes = b"",
    ) -> Scope:
        """The request as Gradio sees it: few headers, the public address, and no query but `query`."""
        scope = request.scope
        kept = [(name, value) for name, value in scope["headers"] if name in _HEADERS]
        changes: dict[str, Any] = {"query_string": query, "method": method or scope["method"]}
        if self._public is not None:
            kept = [header for header in kept if header[0] != b"host"]
            kept.append((b"host", self._public.netloc.encode()))
            changes["scheme"] = self._public.scheme
        elif not _HOST.fullmatch(request.headers.get("host", "")):
            raise InvalidRequest("The header Host does not name a host.")
        return {**scope, **changes, "headers": [*kept, *(headers or ())]}


def files_of(folders: Mapping[str, str]) -> frozenset[str]:
    """The paths below the prefixes of `folders` that name a file: `{"/assets": "/usr/…/assets"}`."""
    return frozenset(
        f"{prefix}/{file.relative_to(folder).as_posix()}"
        for prefix, folder in folders.items()
        for file in Path(folder).rglob("*")
        if file.is_file()
    )


async def _relay(app: ASGIApp, scope: Scope, receive: Receive, send: Send, is_stream: bool = False) -> None:
    """Gradio's answer with our policy. Its refusals are raised, so that they get the shape of all errors."""
    refused = 0
    has_begun = False

    async def send_checked(message: Message) -> None:
        nonlocal refused, has_begun
        if message["type"] == "http.response.start":
            if message["status"] >= 400:
                refused = message["status"]
            else:
                has_begun = True
                headers = MutableHeaders(raw=list(message.get("headers", [])))
                headers["Content-Security-Policy"] = security.GRADIO_POLICY
                headers["Referrer-Policy"] = "same-origin"
                message = {**message, "headers": headers.raw}
        if not refused:
            await send(message)

    try:
        await app(scope, receive, send_checked)
    except Exception as error:
        if not (is_stream and has_begun):
            raise
        # Gradio raises when the page of a stream was forgotten meanwhile.
        log.info("a stream of the dashboard ended early", reason=type(error).__name__)
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    if refused:
        status = 400 if refused == 422 else refused
        raise HTTPException(status, _REFUSALS.get(status))


async def _refused_method(request: Request, send: Send, *allowed: str) -> bool:
    """Whether the method was none of `allowed` and the request has been answered."""
    if request.method in allowed:
        return False
    answer = responses.error(request, MethodNotAllowed("This address does not know this method."))
    answer.headers["Allow"] = ", ".join(allowed)
    await answer(request.scope, request.receive, send)
    return True


async def _body(request: Request) -> bytes:
    """The whole body. Raises FileTooLarge before more than the limit is kept."""
    too_large = FileTooLarge(f"An event has at most {BODY_LIMIT_BYTES // 1024} KiB.")
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and (len(declared) > 9 or int(declared) > BODY_LIMIT_BYTES):
        raise too_large
    body = bytearray()
    async for piece in request.stream():
        if len(body) + len(piece) > BODY_LIMIT_BYTES:
            raise too_large
        body += piece
    return bytes(body)


def _received(body: bytes, receive: Receive) -> Receive:
    """`receive` for Gradio: the body, and after it what else happens on the connection."""
    is_read = False

    async def receive_body() -> Message:
        nonlocal is_read
        if is_read:
            return await receive()
        is_read = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_body


def _asked_session(request: Request) -> str:
    """Raises InvalidParameter."""
    query: bytes = request.scope["query_string"]
    found = [value for name, value in parse_qsl(query[:200].decode("latin-1")) if name == "session_hash"]
    if len(found) != 1 or not re.fullmatch(SESSION_HASH, found[0]):
        raise InvalidParameter("session_hash", "session_hash: This is not the session of a page.")
    return found[0]


def _uncached(send: Send) -> Send:
    """Pages carry the address that they were asked at."""

    async def send_uncached(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=list(message.get("headers", [])))
            headers["Cache-Control"] = "no-store"
            message = {**message, "headers": headers.raw}
        await send(message)

    return send_uncached
