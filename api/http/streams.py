"""Answers that end only when their client leaves: event streams. A shutdown must not wait for them."""

from collections.abc import Mapping
from typing import Any

from starlette.types import Message, Scope

_KEY = "bgeraser.is_endless"
_EVENT_STREAM = b"text/event-stream"


def note(scope: Scope, start: Message) -> None:
    """Remember of the request's scope that the answer begun by `start` is such a stream, if it is."""
    for name, value in start.get("headers", []):
        if name.lower() == b"content-type" and value.lower().startswith(_EVENT_STREAM):
            scope[_KEY] = True


def is_endless(scope: Mapping[str, Any]) -> bool:
    return bool(scope.get(_KEY))
