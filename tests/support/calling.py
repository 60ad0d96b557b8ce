"""Calls as a client makes them, for tests against a live server."""

import itertools
from typing import Any

import httpx
import numpy as np

from tests.support.ml.photos import photo, png_bytes
from tests.support.server import Customer, RunningServer

_numbers = itertools.count(1)


def small_picture() -> bytes:
    """A PNG of 60 x 40 pixels that no other call has sent: nothing is answered from an earlier one."""
    pixels = photo("chelsea")[100:140, 100:160].copy()
    pixels[0, 0] = np.frombuffer(next(_numbers).to_bytes(3, "big"), np.uint8)
    return png_bytes(pixels)


def crop(
    server: RunningServer,
    customer: Customer,
    picture: bytes | None = None,
    *,
    headers: dict[str, str] | None = None,
    **fields: Any,
) -> httpx.Response:
    """Cut a picture, 10 x 10 pixels of it unless `fields` say otherwise."""
    content = small_picture() if picture is None else picture
    with server.client(customer) as client:
        return client.post(
            "/api/tools/crop",
            files={"image": ("picture.png", content, "image/png")},
            data={"width": "10", "height": "10", **fields},
            headers=headers,
        )


def code_of(response: httpx.Response) -> str:
    """The error's code; the shape is checked on the way."""
    body = response.json()
    assert set(body) == {"success", "error", "requestId"}
    assert body["success"] is False
    further = {"renewsAt", "topUpUrl"} if response.status_code == 402 else set()
    assert set(body["error"]) - further == {"code", "message", "param", "retryable"}
    assert body["error"]["message"]
    assert body["requestId"] == response.headers["x-request-id"]
    assert response.headers["content-type"] == "application/json"
    return str(body["error"]["code"])


def param_of(response: httpx.Response) -> str | None:
    param: str | None = response.json()["error"]["param"]
    return param
