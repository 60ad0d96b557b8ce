"""What the events of the dashboard's page share: their Gradio options and the signed-in visitor."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

from fastapi import Request

from api.errors import NotSignedIn
from web.auth.visitor import SignedInVisitor

if TYPE_CHECKING:
    import gradio as gr

_CONCURRENCY_LIMIT = 4
#: By default every event of every page that was ever rendered gets its own concurrency id, and Gradio keeps
#: one queue for each id forever.
CONCURRENCY: dict[str, Any] = {"concurrency_id": "dashboard", "concurrency_limit": _CONCURRENCY_LIMIT}
#: Options of every event of the page, which is not part of a documented API.
EVENT: dict[str, Any] = {"api_visibility": "private", **CONCURRENCY}


def visitor_of(request: "gr.Request") -> SignedInVisitor:
    """The visitor that the guard authenticated for this request. Raises NotSignedIn."""
    visitor = http_request_of(request).state.visitor
    if not isinstance(visitor, SignedInVisitor):
        raise NotSignedIn("Sign in first.")
    return visitor


def http_request_of(request: "gr.Request") -> Request:
    http_request = request.request
    assert http_request is not None, "Gradio passes the HTTP request to every event"
    return http_request


def format_time(moment: datetime | None) -> str:
    """`2026-11-22 14:05` in UTC, "never" for None."""
    return "never" if moment is None else f"{moment:%Y-%m-%d %H:%M}"
