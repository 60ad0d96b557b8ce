"""Checks and normalizes the request line and headers before any route reads them."""

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope

from api.errors import ApiError, InvalidRequest

QUERY_BYTES_MAX = 8 * 1024
QUERY_PARAMETERS_MAX = 64
#: The only routes that support `Range`. Elsewhere it is dropped, because the framework answers an unusable
#: one in plain text.
RANGES_BELOW = "/api/images/"


def refusal(scope: Scope) -> ApiError | None:
    """The error for a URL that no route can serve; None if it is valid.

    Parsing a query of hundreds of thousands of parameters would block the event loop on any route that reads
    one of them.
    """
    query: bytes = scope.get("query_string", b"")
    if len(query) > QUERY_BYTES_MAX or query.count(b"&") >= QUERY_PARAMETERS_MAX:
        limits = f"{QUERY_PARAMETERS_MAX} parameters and {QUERY_BYTES_MAX} bytes"
        return InvalidRequest(f"The URL is too long: its query may have {limits}.")
    # PostgreSQL cannot store NUL, and file names cannot contain it.
    if "\0" in scope["path"] or b"%00" in query or b"\0" in query:
        return InvalidRequest("The URL contains a NUL character.")
    if not _is_host(Headers(scope=scope).get("host", "")):
        return InvalidRequest("The Host header is not valid.")
    return None


def normalized(scope: Scope) -> Scope:
    """The request as routes see it: without headers that are expensive to parse and never needed."""
    headers = [
        (name, _without_quoted_cookies(value) if name == b"cookie" else value)
        for name, value in scope["headers"]
        if name != b"range" or scope["path"].startswith(RANGES_BELOW)
    ]
    return without_trailing_slash({**scope, "headers": headers})


def _without_quoted_cookies(header: bytes) -> bytes:
    """Drop cookies with a quoted value. We set none, and unquoting takes quadratic time in some Pythons."""
    if b'"' not in header:
        return header
    return b";".join(pair for pair in header.split(b";") if b'"' not in pair)


def without_trailing_slash(scope: Scope) -> Scope:
    """Route `/api/tools/crop/` as `/api/tools/crop`. Pages and mounted applications keep their slashes."""
    path: str = scope["path"]
    if path.startswith(("/api/", "/healthz", "/readyz", "/metrics")) and path.endswith("/"):
        return {**scope, "path": path[:-1]}
    return scope


def _is_host(host: str) -> bool:
    try:
        parts = urlsplit(f"http://{host}/")
        return parts.port is None or parts.port >= 0
    except ValueError:
        return False
