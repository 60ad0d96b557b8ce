"""Public static files: styles, scripts, samples. Versioned addresses change with the content."""

import gzip
import hashlib
from functools import lru_cache
from pathlib import Path

import brotli
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from web.rendering import module_bundle

FOLDER = Path(__file__).parents[1] / "static"
PLACE = "/static"
#: Cache-Control of addresses whose content never changes.
FOREVER = "public, max-age=31536000, immutable"
#: The modules of the editor as one script.
EDITOR_BUNDLE = "editor.bundle.js"

#: The scripts of the pages that Gradio's client draws. Each one's first comment says why it is needed.
GRADIO_SCRIPT = "gradio.bundle.js"

_JOINED = {
    GRADIO_SCRIPT: (
        "gradio_idle_patch.js",
        "gradio_error_messages.js",
        "gradio_fresh_page.js",
        "gradio_clipboard.js",
    )
}
_BUNDLES = {EDITOR_BUNDLE: FOLDER / "editor" / "main.js"}
_COMPRESSIBLE = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
#: Nearly as small as the highest level, at a tenth of the time.
_BROTLI_QUALITY = 9


@lru_cache(maxsize=256)
def address_of(name: str) -> str:
    """The versioned address of a file below `web/static` or of a bundle, which may be cached forever."""
    digest = hashlib.sha256(_content_of(name)).hexdigest()[:12]
    return f"{PLACE}/{name}?v={digest}"


class SiteFiles(StaticFiles):
    """Versioned addresses are cached for a year; others are revalidated with each request.

    Texts are compressed when they are first asked for, and kept: the site's are some hundred kilobytes.
    """

    def __init__(self) -> None:
        super().__init__(directory=FOLDER)

    async def get_response(self, path: str, scope: Scope) -> Response:
        headers = Headers(scope=scope)
        if (path in _BUNDLES or path in _JOINED) and scope["method"] in ("GET", "HEAD"):
            response = await run_in_threadpool(_bundle_response, path, headers)
        else:
            response = await super().get_response(path, scope)
            if isinstance(response, FileResponse) and Path(path).suffix in _COMPRESSIBLE:
                response = await run_in_threadpool(_compressed_file, response, headers)
        is_versioned = scope.get("query_string", b"").startswith(b"v=")
        response.headers["Cache-Control"] = FOREVER if is_versioned else "no-cache"
        return response


def _bundle_response(name: str, headers: Headers) -> Response:
    content, encoding = _content_of(name), encoding_of(headers)
    body = content if encoding is None else _compressed(content, encoding)
    response = Response(body, media_type=_COMPRESSIBLE[Path(name).suffix])
    _describe(response, encoding)
    return response


def _compressed_file(file: FileResponse, headers: Headers) -> Response:
    """`file` itself for clients that accept no compression."""
    file.headers["Vary"] = "Accept-Encoding"
    encoding = encoding_of(headers)
    if encoding is None:
        return file
    body = _compressed(Path(file.path).read_bytes(), encoding)
    response = Response(body, media_type=file.media_type)
    response.headers["last-modified"] = file.headers["last-modified"]
    # A weak tag: it names the text, whatever its encoding.
    response.headers["etag"] = f"W/{file.headers['etag']}"
    _describe(response, encoding)
    return response


def _describe(response: Response, encoding: str | None) -> None:
    response.headers["Vary"] = "Accept-Encoding"
    if encoding is not None:
        response.headers["Content-Encoding"] = encoding


def encoding_of(headers: Headers) -> str | None:
    """The best encoding that the client accepts, None for the text as it is."""
    accepted = set()
    for part in ",".join(headers.getlist("accept-encoding")).split(","):
        name, _, weight = part.partition(";")
        if weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000"):
            accepted.add(name.strip().lower())
    return next((encoding for encoding in ("br", "gzip") if encoding in accepted), None)


@lru_cache(maxsize=256)
def _compressed(content: bytes, encoding: str) -> bytes:
    if encoding == "br":
        return bytes(brotli.compress(content, mode=brotli.MODE_TEXT, quality=_BROTLI_QUALITY))
    return gzip.compress(content, mtime=0)


@lru_cache(maxsize=256)
def _content_of(name: str) -> bytes:
    if name in _BUNDLES:
        return module_bundle.bundle(_BUNDLES[name]).encode()
    if name in _JOINED:
        return b"\n".join((FOLDER / part).read_bytes() for part in _JOINED[name])
    return (FOLDER / name).read_bytes()
