"""What is checked of every request's address before anything reads it."""

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope

from api.errors import ApiError, InvalidRequest

QUERY_BYTES_MAX = 8 * 1024
QUERY_PARAMETERS_MAX = 64


def refusal(scope: Scope) -> ApiError | None:
    """Why this address cannot be served, whatever is behind it; None if it can.

    Splitting a query of hundreds of thousands of parameters would stop the event loop, on any route that
    looks at one of them.
    """
    query: bytes = scope.get("query_string", b"")
    if len(query) > QUERY_BYTES_MAX or query.count(b"&") >= QUERY_PARAMETERS_MAX:
        limits = f"{QUERY_PARAMETERS_MAX} parameters and {QUERY_BYTES_MAX} bytes"
        return InvalidRequest(f"The address is too long: its query may have {limits}.")
    # PostgreSQL stores no NUL, and no file has one in its name.
    if "\0" in scope["path"] or b"%00" in query or b"\0" in query:
        return InvalidRequest("The address contains a NUL character.")
    if not _is_host(Headers(scope=scope).get("host", "")):
        return InvalidRequest("The Host header cannot be read.")
    return None


def without_trailing_slash(scope: Scope) -> Scope:
    """`/api/tools/crop/` means `/api/tools/crop`. Pages and mounted applications keep their slashes."""
    path: str = scope["path"]
    if path.startswith("/api/") and path.endswith("/"):
        return {**scope, "path": path[:-1]}
    return scope


def _is_host(host: str) -> bool:
    try:
        parts = urlsplit(f"http://{host}/")
        return parts.port is None or parts.port >= 0
    except ValueError:
        return False
