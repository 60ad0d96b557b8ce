"""The guard: an allow-list in front of Gradio's application.

Gradio serves cached uploads to everyone, fetches addresses and copies files for callers, trusts
`X-Forwarded-Host` from anyone and publishes its events as an API. Our pages need none of that, because images
are transferred by our own routes. The guard passes requests for the pages and the files of Gradio's build
and, for signed-in visitors, for the event queue. It replaces headers, query and body by validated values.
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

from api.errors import FileTooLarge, InvalidParameter, InvalidRequest, MethodNotAllowed, NotFound, NotSignedIn
from api.http import responses
from web.auth import visitor
from web.auth.visitor import SignedInVisitor
from web.gradio import events
from web.gradio.events import BODY_LIMIT_BYTES, SESSION_HASH
from web.gradio.page_rewriting import client_page, rendered_by, rewriting
from web.gradio.server_rendering import ServerPage
from web.gradio.sessions import Pages
from web.rendering import content_security, static_files

MOUNT_PATH = "/app"
_PAGES = frozenset({"", "/", "/dashboard"})
_ACCOUNT_PAGES = frozenset({"/dashboard"})
_QUEUE_JOIN = frozenset({"/gradio_api/queue/join", "/gradio_api/queue/join/"})
_QUEUE_DATA = "/gradio_api/queue/data"
_HEARTBEAT = re.compile(f"/gradio_api/heartbeat/({SESSION_HASH})")
#: Their names contain a hash of their content.
_HASHED_FILES = "/assets/"
_OTHER_PATHS = frozenset({"/theme.css", "/gradio_api/app_id"})
#: Other headers are dropped: Gradio reads its server's address from some of them, and clients can set them.
_FORWARDED_HEADERS = frozenset(
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
_REFUSALS = {400: "This event is invalid.", 503: "The dashboard is busy. Try again in a moment."}

log = structlog.get_logger()


class Guard:
    """ASGI application in front of Gradio's.

    `files` are the paths of the files that Gradio may serve, such as `/assets/index.js`. `server_pages` are
    the pages that are drawn without Gradio's client, by name. `modules` are those that the client starts
    with, as paths relative to the pages. `public_url` is the operator's public address, if there is one.
    """

    def __init__(
        self,
        app: ASGIApp,
        pages: Pages,
        files: frozenset[str],
        server_pages: Mapping[str, ServerPage],
        modules: tuple[str, ...],
        public_url: str | None,
    ) -> None:
        self.app = app
        self._pages = pages
        self._files = files
        self._server_pages = server_pages
        self._modules = modules
        self._public = urlsplit(public_url) if public_url else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": "WebSockets are not supported."})
            return
        request = Request(scope, receive)
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if path in _QUEUE_JOIN:
            await self._join_queue(request, send)
        elif path == _QUEUE_DATA or _HEARTBEAT.fullmatch(path):
            await self._stream(request, path, send)
        elif path == "/dashboard/":
            await RedirectResponse(f"{MOUNT_PATH}/dashboard", 308)(scope, receive, send)
        elif path in _PAGES or path in _OTHER_PATHS or path in self._files:
            await self._serve(request, path, send)
        else:
            raise NotFound("This address does not exist.")

    async def _serve(self, request: Request, path: str, send: Send) -> None:
        if await _refuse_method(request, send, "GET", "HEAD"):
            return
        current = await visitor.visitor_of(request)
        if path in _ACCOUNT_PAGES and not isinstance(current, SignedInVisitor):
            response = RedirectResponse(f"/login?next={MOUNT_PATH}/dashboard", 303)
            await response(request.scope, request.receive, send)
            return
        # Gradio does not support HEAD. The server omits the body.
        scope = self._scope(request, method="GET")
        if path in _PAGES:
            page = self._server_pages.get(path.strip("/"))
            rewrite = client_page(self._modules) if page is None else rendered_by(page.render)
            send = rewriting(send, rewrite, static_files.encoding_of(request.headers))
        elif path.startswith(_HASHED_FILES):
            send = _cached_forever(send)
        await _relay(self.app, scope, request.receive, send)

    async def _join_queue(self, request: Request, send: Send) -> None:
        if await _refuse_method(request, send, "POST"):
            return
        visitor.check_same_site(request)
        user = await visitor.visitor_of(request)
        if not isinstance(user, SignedInVisitor):
            raise NotSignedIn("Your session has ended. Reload the page to log in again.")
        event = events.parse(await _read_body(request))
        self._pages.check_owner(user, event.session_hash)
        events.check_arguments(event, self._pages.functions(event.session_hash))
        await self._pages.admit(user, event.session_hash)
        body = event.body()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        scope = self._scope(request, headers=headers)
        await _relay(self.app, scope, _replay_body(body, request.receive), send)

    async def _stream(self, request: Request, path: str, send: Send) -> None:
        if await _refuse_method(request, send, "GET"):
            return
        user = await visitor.require_signed_in(request)
        heartbeat = _HEARTBEAT.fullmatch(path)
        session_hash = heartbeat[1] if heartbeat else _session_hash_of(request)
        with self._pages.stream(user, session_hash):
            if heartbeat is None and not self._pages.has_messages(session_hash):
                raise NotFound("No messages are waiting for this page.")
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
        """The request as Gradio gets it: allowed headers, the public address, and only the given query."""
        scope = request.scope
        kept_headers = [(name, value) for name, value in scope["headers"] if name in _FORWARDED_HEADERS]
        changes: dict[str, Any] = {"query_string": query, "method": method or scope["method"]}
        if self._public is not None:
            kept_headers = [header for header in kept_headers if header[0] != b"host"]
            kept_headers.append((b"host", self._public.netloc.encode()))
            changes["scheme"] = self._public.scheme
        elif not _HOST.fullmatch(request.headers.get("host", "")):
            raise InvalidRequest("The header Host is not a valid host name.")
        return {**scope, **changes, "headers": [*kept_headers, *(headers or ())]}


def files_of(folders: Mapping[str, str]) -> frozenset[str]:
    """The paths below the prefixes of `folders` that name a file: `{"/assets": "/usr/…/assets"}`."""
    return frozenset(
        f"{prefix}/{file.relative_to(folder).as_posix()}"
        for prefix, folder in folders.items()
        for file in Path(folder).rglob("*")
        if file.is_file()
    )


async def _relay(app: ASGIApp, scope: Scope, receive: Receive, send: Send, is_stream: bool = False) -> None:
    """Send Gradio's response with our Content-Security-Policy.

    Its errors are raised, to get our error shape.
    """
    error_status = 0
    has_started = False

    async def send_checked(message: Message) -> None:
        nonlocal error_status, has_started
        if message["type"] == "http.response.start":
            if message["status"] >= 400:
                error_status = message["status"]
            else:
                has_started = True
                headers = MutableHeaders(raw=list(message.get("headers", [])))
                headers["Content-Security-Policy"] = content_security.GRADIO_POLICY
                headers["Referrer-Policy"] = "same-origin"
                message = {**message, "headers": headers.raw}
        if not error_status:
            await send(message)

    try:
        await app(scope, receive, send_checked)
    except Exception as error:
        if not (is_stream and has_started):
            raise
        # Gradio raises when the page of a stream has been dropped.
        log.info("a stream of the dashboard ended early", reason=type(error).__name__)
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    if error_status:
        status = 400 if error_status == 422 else error_status
        raise HTTPException(status, _REFUSALS.get(status))


def _cached_forever(send: Send) -> Send:
    """A `send` that lets browsers keep a file without asking again."""

    async def send_cached(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=list(message.get("headers", [])))
            headers["Cache-Control"] = static_files.FOREVER
            message = {**message, "headers": headers.raw}
        await send(message)

    return send_cached


async def _refuse_method(request: Request, send: Send, *allowed: str) -> bool:
    """Answer 405 unless the method is allowed. Returns whether the request was answered."""
    if request.method in allowed:
        return False
    response = responses.error(request, MethodNotAllowed("This method is not allowed here."))
    response.headers["Allow"] = ", ".join(allowed)
    await response(request.scope, request.receive, send)
    return True


async def _read_body(request: Request) -> bytes:
    """The whole body. Raises FileTooLarge before more than the limit is read."""
    too_large = FileTooLarge(f"An event must not exceed {BODY_LIMIT_BYTES // 1024} KiB.")
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and (len(declared) > 9 or int(declared) > BODY_LIMIT_BYTES):
        raise too_large
    body = bytearray()
    async for piece in request.stream():
        if len(body) + len(piece) > BODY_LIMIT_BYTES:
            raise too_large
        body += piece
    return bytes(body)


def _replay_body(body: bytes, receive: Receive) -> Receive:
    """A `receive` that returns the body, and then the further messages of the connection."""
    is_read = False

    async def receive_body() -> Message:
        nonlocal is_read
        if is_read:
            return await receive()
        is_read = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_body


def _session_hash_of(request: Request) -> str:
    """Raises InvalidParameter."""
    query: bytes = request.scope["query_string"]
    values = [value for name, value in parse_qsl(query[:200].decode("latin-1")) if name == "session_hash"]
    if len(values) != 1 or not re.fullmatch(SESSION_HASH, values[0]):
        raise InvalidParameter("session_hash", "session_hash: This is not a valid session hash.")
    return values[0]
