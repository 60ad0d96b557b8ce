"""Inserts the script `static/gradio_idle_patch.js`, which explains itself, before Gradio's own scripts.

Gradio's `head` option is too late: Gradio's modules add it to the page once they run.
"""

from starlette.datastructures import MutableHeaders
from starlette.types import Message, Send

from web.rendering import static_files

_HEAD = b"<head>"


def with_idle_patch(send: Send) -> Send:
    """A `send` that inserts the script. It buffers the response until the page is complete."""
    start: Message = {}
    pieces: list[bytes] = []

    async def send_patched(message: Message) -> None:
        nonlocal start
        if message["type"] == "http.response.start":
            start = message
            return
        pieces.append(message.get("body", b""))
        if message.get("more_body", False):
            return
        script = f'<script src="{static_files.address_of("gradio_idle_patch.js")}"></script>'.encode()
        body = b"".join(pieces).replace(_HEAD, _HEAD + script, 1)
        headers = MutableHeaders(raw=list(start.get("headers", [])))
        headers["Content-Length"] = str(len(body))
        await send({**start, "headers": headers.raw})
        await send({"type": "http.response.body", "body": body})

    return send_patched
