"""Event streams, which only end when the client disconnects. A shutdown must not wait for them.

Those of agents are not counted: each ends with the answer to one call.
"""

from collections.abc import Mapping
from typing import Any

from starlette.types import Message, Scope

from api.http.mcp.paths import MCP_PATH

_KEY = "bgeraser.is_endless"
_EVENT_STREAM = b"text/event-stream"


def mark_endless(scope: Scope, start: Message) -> None:
    """Mark the request's scope if the answer that begins with `start` is an event stream."""
    if scope.get("path") == MCP_PATH:
        return
    for name, value in start.get("headers", []):
        if name.lower() == b"content-type" and value.lower().startswith(_EVENT_STREAM):
            scope[_KEY] = True


def is_endless(scope: Mapping[str, Any]) -> bool:
    return bool(scope.get(_KEY))
