"""Inserts our scripts before Gradio's own on its pages. Each script's first comment says why it is needed.

Gradio's `head` option is too late: Gradio's modules add it to the page once they run.
"""

from starlette.datastructures import MutableHeaders
from starlette.types import Message, Send

from web.rendering import static_files

_HEAD = b"<head>"
_SCRIPTS = ("gradio_idle_patch.js", "gradio_error_messages.js")


def with_page_scripts(send: Send) -> Send:
    """A `send` that inserts the scripts. It buffers the response until the page is complete."""
    start: Message = {}
    pieces: list[bytes] = []

    async def send_with_scripts(message: Message) -> None:
        nonlocal start
        if message["type"] == "http.response.start":
            start = message
            return
        pieces.append(message.get("body", b""))
        if message.get("more_body", False):
            return
        scripts = "".join(f'<script src="{static_files.address_of(name)}"></script>' for name in _SCRIPTS)
        body = b"".join(pieces).replace(_HEAD, _HEAD + scripts.encode(), 1)
        headers = MutableHeaders(raw=list(start.get("headers", [])))
        headers["Content-Length"] = str(len(body))
        await send({**start, "headers": headers.raw})
        await send({"type": "http.response.body", "body": body})

    return send_with_scripts
