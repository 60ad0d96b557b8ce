"""The query parameters of routes that list something page by page."""

import re
from enum import StrEnum
from typing import Any, TypeVar

from fastapi import Request

from api.errors import InvalidParameter

S = TypeVar("S", bound=StrEnum)

_SHOWN_LENGTH = 100


def described(statuses: type[StrEnum], *, what: str, limit: int, limit_max: int) -> list[dict[str, Any]]:
    """Status, limit and cursor in the OpenAPI description."""
    schemas: dict[str, tuple[dict[str, Any], str]] = {
        "status": (
            {"type": "string", "enum": [status.value for status in statuses]},
            f"Only {what} of this status.",
        ),
        "limit": (
            {"type": "integer", "minimum": 1, "maximum": limit_max, "default": limit},
            "At most so many.",
        ),
        "cursor": ({"type": "string"}, "The `nextCursor` of the page before."),
    }
    return [
        {"name": name, "in": "query", "required": False, "schema": schema, "description": text}
        for name, (schema, text) in schemas.items()
    ]


def read(request: Request) -> dict[str, str]:
    """The parameters by name. Raises `InvalidParameter` for unknown and repeated ones."""
    sent: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        shown = name[:_SHOWN_LENGTH]
        if name not in ("status", "limit", "cursor"):
            raise InvalidParameter(shown, f"{shown}: unknown; there are status, limit and cursor")
        if name in sent:
            raise InvalidParameter(name, f"{name}: must be given once")
        sent[name] = value
    return sent


def status_of(sent: dict[str, str], statuses: type[S]) -> S | None:
    """Raises `InvalidParameter`."""
    if "status" not in sent:
        return None
    try:
        return statuses(sent["status"])
    except ValueError:
        raise InvalidParameter("status", f"status: must be one of {', '.join(statuses)}") from None


def limit_of(sent: dict[str, str], *, default: int, limit_max: int) -> int:
    """Raises `InvalidParameter`."""
    if "limit" not in sent:
        return default
    text = sent["limit"]
    if not re.fullmatch("[0-9]{1,4}", text) or not 1 <= int(text) <= limit_max:
        raise InvalidParameter("limit", f"limit: must be a whole number from 1 to {limit_max}")
    return int(text)
