"""Errors of pages as pages. The API's own paths keep the API's shape, whoever asks."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request
from starlette.responses import Response

from api import response_bodies
from api.errors import NotSignedIn, status_and_code
from api.http import responses
from web.site import pages

ExceptionHandler = Callable[[Request, Any], Any]

_API_PLACES = ("/api", "/v1.0", "/stripe", "/static", "/healthz", "/readyz", "/metrics")
_TITLES = {
    401: "Please log in",
    403: "Not allowed",
    404: "Nothing here",
    410: "This has expired",
    429: "Too often",
}


def wants_html(request: Request) -> bool:
    """Whether a person's browser asks for a page."""
    path = request.url.path
    if any(path == place or path.startswith(f"{place}/") for place in _API_PLACES):
        return False
    return "text/html" in request.headers.get("accept", "")


def install(app: FastAPI) -> None:
    """Answers with a page where a page was asked for; everything else stays as the API has it."""
    for kind, answer in list(app.exception_handlers.items()):
        # Who has to sign in is led there, not told about it.
        if isinstance(kind, type) and issubclass(kind, Exception) and kind is not NotSignedIn:
            app.add_exception_handler(kind, _with_page(answer))


def _with_page(answer: ExceptionHandler) -> ExceptionHandler:
    async def answer_or_page(request: Request, error: Exception) -> Response:
        if wants_html(request):
            return error_page(request, error)
        response: Response = await answer(request, error)
        return response

    return answer_or_page


def error_page(request: Request, error: Exception) -> Response:
    """The page for `error`, with the API's message for it."""
    known = responses.as_known_error(error)
    status, _ = status_and_code(known)
    message = response_bodies.error_fields(known)["message"]
    title = _TITLES.get(status, "That did not work")
    return pages.render(request, "error.html", status, title=title, message=message)
