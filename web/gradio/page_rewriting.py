"""Changes the HTML that Gradio answers for a page, before it is sent."""

from collections.abc import Callable

from starlette.datastructures import MutableHeaders
from starlette.types import Message, Send

from web.rendering import content_security, static_files

_HEAD = b"<head>"
#: Each script's first comment says why it is needed.
_SCRIPTS = ("gradio_idle_patch.js", "gradio_error_messages.js", "gradio_fresh_page.js")

Rewrite = Callable[[bytes, MutableHeaders], bytes]


def rewriting(send: Send, rewrite: Rewrite) -> Send:
    """A `send` that rewrites the page, once it is complete. `rewrite` may change the headers too."""
    start: Message = {}
    pieces: list[bytes] = []

    async def send_rewritten(message: Message) -> None:
        nonlocal start
        if message["type"] == "http.response.start":
            start = message
            return
        pieces.append(message.get("body", b""))
        if message.get("more_body", False):
            return
        headers = MutableHeaders(raw=list(start.get("headers", [])))
        body = rewrite(b"".join(pieces), headers)
        headers["Content-Length"] = str(len(body))
        headers["Cache-Control"] = "no-store"  # the page contains the address of this request
        await send({**start, "headers": headers.raw})
        await send({"type": "http.response.body", "body": body})

    return send_rewritten


def with_page_scripts(html: bytes, _: MutableHeaders) -> bytes:
    """The page with our scripts before Gradio's own.

    Gradio's `head` option is too late: Gradio's modules add it to the page once they run.
    """
    scripts = "".join(f'<script src="{static_files.address_of(name)}"></script>' for name in _SCRIPTS)
    return html.replace(_HEAD, _HEAD + scripts.encode(), 1)


def rendered_by(render: Callable[[bytes, str], bytes]) -> Rewrite:
    """A rewrite with a page of `server_rendering`, and its strict policy."""

    def rewrite(html: bytes, headers: MutableHeaders) -> bytes:
        nonce = content_security.new_nonce()
        headers["Content-Security-Policy"] = content_security.server_page_policy(nonce)
        return render(html, nonce)

    return rewrite
