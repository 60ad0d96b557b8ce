"""Routes that only read answer HEAD wherever they answer GET."""

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI
from starlette.responses import Response


def add_get(app: FastAPI, path: str, endpoint: Callable[..., Awaitable[Response]], **described: Any) -> None:
    """Declare `endpoint` for GET, and for HEAD too, which needs no entry of its own on the OpenAPI page."""
    app.add_api_route(path, endpoint, methods=["GET"], response_class=Response, **described)
    app.add_api_route(path, endpoint, methods=["HEAD"], response_class=Response, include_in_schema=False)
