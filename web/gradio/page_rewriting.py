"""Changes the HTML that Gradio answers for a page, before it is sent."""

import re
from collections.abc import Callable

import brotli
from starlette.datastructures import MutableHeaders
from starlette.types import Message, Send

from web.gradio import theme
from web.rendering import content_security, static_files

_HEAD = b"<head>"
#: What only pages that are embedded elsewhere need, a manifest that the guard refuses, and advertisement.
_SUPERFLUOUS = re.compile(
    rb"<script>(?:(?!</script>).)*iframeResizer\.contentWindow(?:(?!</script>).)*</script>"
    rb'|<link\b[^>]*rel="manifest"[^>]*>'
    rb'|<meta\b[^>]*\b(?:property="og:|name="twitter:)[^>]*>',
    re.DOTALL,
)
_BROTLI_QUALITY = 5  # pages differ, so each is compressed while its visitor waits

Rewrite = Callable[[bytes, MutableHeaders], bytes]


def rewriting(send: Send, rewrite: Rewrite, encoding: str | None) -> Send:
    """A `send` that rewrites the page, once it is complete. `rewrite` may change the headers too.

    The page is compressed if `encoding` is "br".
    """
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
        headers["Vary"] = "Accept-Encoding"
        if encoding == "br":
            body = brotli.compress(body, mode=brotli.MODE_TEXT, quality=_BROTLI_QUALITY)
            headers["Content-Encoding"] = encoding
        headers["Content-Length"] = str(len(body))
        headers["Cache-Control"] = "no-store"  # the page contains the address of this request
        await send({**start, "headers": headers.raw})
        await send({"type": "http.response.body", "body": body})

    return send_rewritten


def client_page(preloads: tuple[str, ...]) -> Rewrite:
    """A rewrite of a page that Gradio's client draws, which imports the modules `preloads` step by step.

    Our scripts, colours and icon come first. Gradio's `head` option is too late for them: its modules add it
    to the page once they run.
    """
    modules = "".join(f'<link rel="modulepreload" href="./{path}">' for path in preloads)

    def rewrite(html: bytes, _: MutableHeaders) -> bytes:
        script = f'<script src="{static_files.address_of(static_files.GRADIO_SCRIPT)}"></script>'
        head = script + theme.page_head() + modules
        return _SUPERFLUOUS.sub(b"", html).replace(_HEAD, _HEAD + head.encode(), 1)

    return rewrite


def rendered_by(render: Callable[[bytes, str], bytes]) -> Rewrite:
    """A rewrite with a page of `server_rendering`, and its strict policy."""

    def rewrite(html: bytes, headers: MutableHeaders) -> bytes:
        nonce = content_security.new_nonce()
        headers["Content-Security-Policy"] = content_security.server_page_policy(nonce)
        return render(html, nonce)

    return rewrite
