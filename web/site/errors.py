"""HTML error pages. The API's paths always answer with the API's JSON errors."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request
from starlette.responses import Response

from api import response_bodies
from api.errors import NotSignedIn, status_and_code
from api.http import responses
from billing.errors import AccountSuspended
from web.rendering import pages

ExceptionHandler = Callable[[Request, Any], Any]

_API_PREFIXES = ("/api", "/v1.0", "/stripe", "/static", "/healthz", "/readyz", "/metrics")
_TITLES = {
    401: "Please log in",
    403: "Not allowed",
    404: "Page not found",
    410: "Expired",
    429: "Too many requests",
}


def wants_html(request: Request) -> bool:
    """Whether the request was made by a browser that expects a page."""
    path = request.url.path
    if any(path == prefix or path.startswith(f"{prefix}/") for prefix in _API_PREFIXES):
        return False
    return "text/html" in request.headers.get("accept", "")


def install(app: FastAPI) -> None:
    """Wrap the error handlers so that browsers get a page; other clients still get JSON."""
    for kind, handler in list(app.exception_handlers.items()):
        # NotSignedIn redirects to the login form instead.
        if isinstance(kind, type) and issubclass(kind, Exception) and kind is not NotSignedIn:
            app.add_exception_handler(kind, _with_page(handler))


def _with_page(handler: ExceptionHandler) -> ExceptionHandler:
    async def handle(request: Request, error: Exception) -> Response:
        if wants_html(request):
            return error_page(request, error)
        response: Response = await handler(request, error)
        return response

    return handle


def error_page(request: Request, error: Exception) -> Response:
    """The page for `error`, with the API's message for it."""
    known = responses.as_known_error(error)
    status, _ = status_and_code(known)
    current = getattr(request.state, "visitor", None)
    if isinstance(known, AccountSuspended) and current is not None and current.is_suspended:
        return pages.render(request, "suspended.html", status)
    message = response_bodies.error_fields(known)["message"]
    title = _TITLES.get(status, "Something went wrong")
    return pages.render(request, "error.html", status, title=title, message=message)
