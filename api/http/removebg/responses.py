"""remove.bg's successful answers: the image itself, or JSON with the image as base64."""

import base64
from collections.abc import AsyncIterator, Mapping
from typing import Any

from fastapi import Request
from starlette.responses import Response, StreamingResponse

from api.calls.types import CallResult
from api.http import responses
from api.http.removebg import errors

#: A multiple of three, so that pieces can be encoded one by one.
_PIECE_BYTES = 192 * 1024


def failure(request: Request, result: CallResult) -> Response:
    """A replayed failure."""
    assert result.error is not None
    status, body = errors.replayed_failure(result.status, result.error)
    return responses.json_response(body, status, responses.call_headers(request, result))


def success(
    request: Request, result: CallResult, content: bytes, *, foreground_type: str | None, max_scale: float
) -> Response:
    """The result in the way that `Accept` asks for.

    `max_scale`: how many times larger its sides could be at the greatest size.
    """
    data = dict(result.data or {})
    foreground = data["foreground"]
    headers = {
        **responses.call_headers(request, result),
        "X-Width": str(data["width"]),
        "X-Height": str(data["height"]),
        "X-Max-Width": str(round(data["width"] * max_scale)),
        "X-Max-Height": str(round(data["height"] * max_scale)),
        **{f"X-Foreground-{side.title()}": str(foreground[side]) for side in _BOX},
        "Cache-Control": "no-store",
    }
    if foreground_type is not None:
        headers["X-Type"] = foreground_type
    if wants_json(request):
        return _json(content, foreground, headers)
    return Response(content, headers={**headers, **responses.file_headers(data["imageId"], data["format"])})


def wants_json(request: Request) -> bool:
    """Whether `Accept` prefers JSON to images and to everything else.

    axios sends `application/json, text/plain, */*` with every request, and its users expect the image.
    """
    best_json = best_other = 0.0
    for media_type, weight in responses.accepted(request):
        if media_type == "application/json":
            best_json = max(best_json, weight)
        elif media_type == "*/*" or media_type.startswith("image/"):
            best_other = max(best_other, weight)
    return best_json > best_other


_BOX = ("top", "left", "width", "height")


def _json(content: bytes, foreground: Mapping[str, Any], headers: dict[str, str]) -> Response:
    """Encoded piece by piece while it is sent: one step over a large result would block the event loop."""
    before = b'{"data":{"result_b64":"'
    after = '"' + "".join(f',"foreground_{side}":{foreground[side]}' for side in _BOX) + "}}"

    async def pieces() -> AsyncIterator[bytes]:
        yield before
        for start in range(0, len(content), _PIECE_BYTES):
            yield base64.b64encode(content[start : start + _PIECE_BYTES])
        yield after.encode()

    length = len(before) + (len(content) + 2) // 3 * 4 + len(after)
    return StreamingResponse(
        pieces(), headers={**headers, "Content-Length": str(length)}, media_type="application/json"
    )
