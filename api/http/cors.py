"""Cross-origin requests (CORS, fetch.spec.whatwg.org): which web pages may call the API and read its answers.

Pages of other origins send an API key, never the browser's cookies, so answers never allow credentials, and
the pages of this server are not included. An image's signed URL is its own permission: any page may read it.
Starlette's middleware refuses preflights in plain text and exposes a fixed list of headers; an answer here
has as many headers as its tool has fields.
"""

import re
from collections.abc import Collection

from fastapi import Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import Scope

from api.http.request_line import RANGES_BELOW

_API_PATHS = ("/api/", "/v1.0/", "/mcp/")
_API_PATH = "/mcp"
_IMAGES_BELOW = RANGES_BELOW
_READING = ("GET", "HEAD")
_METHODS = "GET, HEAD, POST, DELETE"
_ANY = "*"
#: Seconds for which browsers remember a preflight; Chromium allows at most two hours.
_PREFLIGHT_SECONDS = 7200
# What a page asks to send is allowed and repeated: no header gives access, except a key that it must have.
_ASKED_HEADERS = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+(?:\s*,\s*[A-Za-z0-9!#$%&'*+.^_`|~-]+)*")
_ASKED_HEADERS_LENGTH_MAX = 2_000
_EXPOSED = frozenset(
    {
        "accept-ranges", "allow", "content-disposition", "content-length", "content-range", "etag",
        "idempotent-replayed", "location", "mcp-session-id", "preference-applied", "ratelimit",
        "ratelimit-policy", "retry-after", "www-authenticate",
    }
)  # fmt: skip
_EXPOSED_PREFIX = "x-"
_NOT_EXPOSED = frozenset({"x-content-type-options", "x-frame-options"})


class Cors:
    """The policy. `origins`: those that may call the API, `*` for any; none by default."""

    def __init__(self, origins: Collection[str] = ()) -> None:
        self._origins = frozenset(origins)

    def preflight(self, request: Request) -> Response | None:
        """The answer to a browser's question whether a page may send a request; None if it is none.

        It is also None if the page may not: the request is then answered as any other one is.
        """
        asked_method = request.headers.get("access-control-request-method")
        origin = request.headers.get("origin")
        if request.method != "OPTIONS" or asked_method is None or origin is None:
            return None
        path = request.scope["path"]
        if not _is_api(path) or not self._origins:
            return None
        allowed = _ANY if _is_image(path, asked_method) else self._allowed(origin)
        if allowed is None:
            return None
        headers = {
            "Access-Control-Allow-Origin": allowed,
            "Access-Control-Allow-Methods": ", ".join(_READING)
            if _is_image(path, asked_method)
            else _METHODS,
            "Access-Control-Max-Age": str(_PREFLIGHT_SECONDS),
            "Vary": "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
        }
        asked_headers = request.headers.get("access-control-request-headers", "")
        if len(asked_headers) <= _ASKED_HEADERS_LENGTH_MAX and _ASKED_HEADERS.fullmatch(asked_headers):
            headers["Access-Control-Allow-Headers"] = asked_headers
        return Response(status_code=204, headers=headers)

    def decorate(self, scope: Scope, headers: MutableHeaders) -> None:
        """Add to an answer's `headers` what lets a page read it, errors included."""
        path = scope["path"]
        if not _is_api(path) or "access-control-allow-origin" in headers:
            return
        if _is_image(path, scope["method"]):
            allowed: str | None = _ANY
        elif self._origins:
            if _ANY not in self._origins:
                headers.add_vary_header("Origin")
            allowed = self._allowed(Headers(scope=scope).get("origin"))
        else:
            return
        if allowed is not None:
            headers["Access-Control-Allow-Origin"] = allowed
            headers["Access-Control-Expose-Headers"] = ", ".join(
                filter(_is_exposed, dict.fromkeys(headers.keys()))
            )

    def _allowed(self, origin: str | None) -> str | None:
        """The value of Access-Control-Allow-Origin for a page of this origin."""
        if _ANY in self._origins:
            return _ANY
        return origin if origin in self._origins else None


def _is_api(path: str) -> bool:
    return path == _API_PATH or path.startswith(_API_PATHS)


def _is_image(path: str, method: str) -> bool:
    """Whether it is a download, which a signature permits."""
    return path.startswith(_IMAGES_BELOW) and method in _READING


def _is_exposed(name: str) -> bool:
    name = name.lower()
    return name in _EXPOSED or (name.startswith(_EXPOSED_PREFIX) and name not in _NOT_EXPOSED)
