"""Mounts the Gradio pages, the editor at /app and /app/dashboard, and closes what else Gradio would offer.

Gradio serves any cached upload to whoever asks, fetches addresses for callers and lists its events as an API.
None of that is needed: pictures come and go by our own routes. So a guard stands before the mounted
application that passes an allow-list of paths, refuses events from other sites, and finds the visitor.
"""

import os
import re
import warnings
from types import ModuleType
from typing import Any

from fastapi import FastAPI, Request
from starlette.datastructures import MutableHeaders
from starlette.responses import RedirectResponse
from starlette.routing import Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import Forbidden, NotFound
from api.http import answers
from web import theme, visitor
from web.calming import calmed
from web.site import security

PLACE = "/app"
_PAGES = frozenset({"", "/", "/dashboard", "/dashboard/"})
_FOR_ACCOUNTS = frozenset({"/dashboard", "/dashboard/"})
_OPEN = re.compile(
    r"/(assets/.+|static/.+|svelte/.+|theme\.css|manifest\.json|config/?|gradio_api/("
    r"app_id/?|startup-events|theme\.css|heartbeat/[a-z0-9]+|queue/(join|data)/?|cancel|reset/?"
    r"|run/[a-z_]+/?|api/[a-z_]+/?))"
)
_QUEUE_PAUSE_SECONDS = 0.03
_LARGEST_UPLOAD_BYTES = 1024  # none passes the guard; this holds where Gradio is asked anyway


def mount(app: FastAPI) -> None:
    """Adds both pages to `app`."""
    # Read when it is imported: nothing is reported to anybody.
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    # Imported here: it takes seconds, and only a server needs it.
    import gradio as gr

    from web.dashboard import page as dashboard
    from web.editor import page as editor

    with gr.Blocks(title="bgeraser", analytics_enabled=False, fill_width=True) as blocks:
        editor.build()
    with blocks.route("Dashboard", "/dashboard") as page:
        dashboard.build(app.state.services, page)
    with warnings.catch_warnings():
        # It warns that pages are rendered in the browser, which is what is asked for here.
        warnings.filterwarnings("ignore", message="SSR mode is not supported", category=UserWarning)
        _mount(gr, app, blocks)
    # It asks for work a thousand times a second, which took 6 % of a core of a server that nobody used.
    blocks._queue.sleep_when_free = _QUEUE_PAUSE_SECONDS
    (mounted,) = (route for route in app.routes if isinstance(route, Mount) and route.path == PLACE)
    mounted.app = Guard(mounted.app)


def _mount(gr: ModuleType, app: FastAPI, blocks: Any) -> None:
    gr.mount_gradio_app(
        app,
        blocks,
        path=PLACE,
        theme=theme.of_the_site(),
        css=theme.CSS,
        head=theme.head(),
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        show_error=False,
        allowed_paths=[],
        max_file_size=_LARGEST_UPLOAD_BYTES,
        enable_monitoring=False,
        mcp_server=False,
        pwa=False,
    )


class Guard:
    """ASGI application in front of Gradio's."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return  # Gradio has no need of websockets any more.
        request = Request(scope, receive)
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if path not in _PAGES and not _OPEN.fullmatch(path):
            await answers.error(request, NotFound("There is nothing at this address."))(scope, receive, send)
            return
        if scope["method"] not in ("GET", "HEAD"):
            try:
                visitor.check_same_site(request)
            except Forbidden as refusal:
                await answers.error(request, refusal)(scope, receive, send)
                return
        found = await visitor.visitor_of(request)  # the pages' events find it in the request's state
        if path in _FOR_ACCOUNTS and (found is None or found.account_id is None):
            await RedirectResponse(f"/login?next={PLACE}/dashboard", 303)(scope, receive, send)
            return
        is_page = path in _PAGES and scope["method"] == "GET"
        sent = _with_policy(send)
        await self._app(scope, receive, calmed(sent) if is_page else sent)


def _with_policy(send: Send) -> Send:
    async def send_with_policy(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=list(message.get("headers", [])))
            headers["Content-Security-Policy"] = security.GRADIO_POLICY
            headers["Referrer-Policy"] = "same-origin"
            message = {**message, "headers": headers.raw}
        await send(message)

    return send_with_policy
