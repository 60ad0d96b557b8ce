"""What the events of the dashboard's page share: their Gradio options and the signed-in visitor."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

from fastapi import Request

from api.errors import Forbidden, NotSignedIn
from api.memberships import roles
from api.memberships.models import Role
from api.memberships.roles import Place
from web.auth.visitor import SignedInVisitor

if TYPE_CHECKING:
    import gradio as gr

_CONCURRENCY_LIMIT = 4
_RANKS = {Role.VIEWER: 0, Role.MEMBER: 1, Role.OWNER: 2}
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


def place_of(request: "gr.Request", least: Role = Role.VIEWER) -> Place:
    """The account that the page shows. Raises NotSignedIn, and Forbidden for a role below `least`."""
    place = visitor_of(request).place
    if _RANKS[place.role] < _RANKS[least]:
        raise Forbidden(roles.OWNERS_ONLY if least is Role.OWNER else roles.VIEWERS_REFUSAL)
    return place


def http_request_of(request: "gr.Request") -> Request:
    http_request = request.request
    assert http_request is not None, "Gradio passes the HTTP request to every event"
    return http_request


def format_time(moment: datetime | None) -> str:
    """`2026-11-22 14:05` in UTC, "never" for None."""
    return "never" if moment is None else f"{moment:%Y-%m-%d %H:%M}"
