"""Sending stored images to callers, wherever they are stored."""

import asyncio
import re
from pathlib import Path

from fastapi import Request
from starlette.responses import FileResponse, RedirectResponse, Response, StreamingResponse

from api.images.models import Image
from api.images.storage import RemoteImage
from api.services import Services

#: Shorter than the life of the bucket's URLs, so that a browser does not keep one that has ended.
_REDIRECT_CACHE_SECONDS = 300


async def send(
    request: Request, services: Services, image: Image, headers: dict[str, str], *, may_redirect: bool = False
) -> Response:
    """The bytes of `image`, or the range of them that `request` asks for; `headers` include its entity tag.

    Where the operator chose so, callers get images from a bucket itself, unless not `may_redirect`. Raises
    `NotFound` and `ServiceUnavailable`.
    """
    found = await asyncio.to_thread(services.storage.locate, image.id)
    if isinstance(found, Path):
        if _wanted_range(request, image.size_bytes) is None:
            request.scope["headers"] = [pair for pair in request.scope["headers"] if pair[0] != b"range"]
        return FileResponse(found, headers=headers)
    url = None
    if may_redirect and request.method == "GET":
        url = await asyncio.to_thread(found.signed_url)
    if url is not None:
        cached = {"Cache-Control": f"private, max-age={_REDIRECT_CACHE_SECONDS}"}
        return RedirectResponse(url, 307, headers=cached)
    return _streamed(request, found, headers)


def _streamed(request: Request, image: RemoteImage, headers: dict[str, str]) -> Response:
    first, last, status = 0, image.size_bytes - 1, 200
    headers = {**headers, "Accept-Ranges": "bytes"}
    tag = headers.get("ETag")
    wanted = _wanted_range(request, image.size_bytes)
    if wanted is not None and request.headers.get("if-range", tag) == tag:
        first, last = wanted
        status = 206
        headers["Content-Range"] = f"bytes {first}-{last}/{image.size_bytes}"
    headers["Content-Length"] = str(last - first + 1)
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers)
    return StreamingResponse(image.read_range(first, last), status, headers)


def _wanted_range(request: Request, size_bytes: int) -> tuple[int, int] | None:
    """The first and the last byte that a Range header asks for.

    None if it is not one satisfiable range: HTTP allows to send the whole file then.
    """
    unit, _, piece = request.headers.get("range", "").partition("=")
    if unit.strip().lower() != "bytes" or not re.fullmatch(r"[0-9]{1,12}-([0-9]{1,12})?", piece):
        return None
    first, _, last = piece.partition("-")
    first_byte, last_byte = int(first), min(int(last or size_bytes), size_bytes - 1)
    return (first_byte, last_byte) if first_byte <= last_byte else None
