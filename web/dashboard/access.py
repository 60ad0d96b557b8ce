"""Who asks for a part of the dashboard: every event of the page passes through here."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from api.errors import NotSignedIn
from api.services import Services
from web.auth.visitor import Visitor

if TYPE_CHECKING:
    import gradio as gr

_TOGETHER_MAX = 4
#: Gradio keeps one queue for each concurrency id for ever, and by default every event of every page that was
#: ever drawn has an id of its own.
CONCURRENCY: dict[str, Any] = {"concurrency_id": "dashboard", "concurrency_limit": _TOGETHER_MAX}
#: Options of every event of the page: it is not part of a documented API.
EVENT: dict[str, Any] = {"api_visibility": "private", **CONCURRENCY}


@dataclass(frozen=True)
class DashboardVisitor:
    """The account whose dashboard it is."""

    account_id: str
    email: str
    is_verified: bool
    csrf_token: str
    address: str  # of this server, as the owner's browser reached it, without a slash at its end


def owner_of(services: Services, request: "gr.Request") -> DashboardVisitor:
    """Raises NotSignedIn. The guard before Gradio found the visitor for this very request."""
    asked = request.request
    assert asked is not None, "Gradio hands every event its request"
    visitor: Visitor | None = asked.state.visitor
    if visitor is None or visitor.account_id is None or visitor.email is None:
        raise NotSignedIn("Sign in first.")
    base = asked.base_url
    address = services.public_url or f"{base.scheme}://{base.netloc}"
    return DashboardVisitor(
        visitor.account_id, visitor.email, visitor.is_verified, visitor.csrf_token, address
    )


def shown_time(moment: datetime | None) -> str:
    """`2026-11-22 14:05` in UTC, as all tables of the page have it; "never" for none."""
    return "never" if moment is None else f"{moment:%Y-%m-%d %H:%M}"
