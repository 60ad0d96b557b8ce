"""Puts one script of ours before Gradio's own on its pages; why is said in `static/gradio_idle_patch.js`.

Gradio's `head` comes too late for it: that is added to the page by Gradio's modules, once they run.
"""

from starlette.datastructures import MutableHeaders
from starlette.types import Message, Send

from web.site import static_files

_HEAD = b"<head>"


def with_idle_patch(send: Send) -> Send:
    """`send` for the answer to a GET of a page; its body is held until it is whole."""
    start: Message = {}
    pieces: list[bytes] = []

    async def send_calmed(message: Message) -> None:
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

    return send_calmed
