"""Read-only routes answer HEAD wherever they answer GET."""

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI
from starlette.responses import Response


def add_get(app: FastAPI, path: str, endpoint: Callable[..., Awaitable[Response]], **described: Any) -> None:
    """Declare `endpoint` for GET and HEAD; HEAD gets no entry of its own in the OpenAPI description."""
    app.add_api_route(path, endpoint, methods=["GET"], response_class=Response, **described)
    app.add_api_route(path, endpoint, methods=["HEAD"], response_class=Response, include_in_schema=False)
