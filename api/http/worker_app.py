"""The application of a process that only runs durable tasks: health, and metrics, without any other route."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from api import background
from api.errors import ApiError
from api.http import responses
from api.http.cors import Cors
from api.http.middleware.request_context import RequestContext
from api.http.routes import health
from api.services import Services
from api.settings import Settings


def create_worker(services: Services, settings: Settings) -> FastAPI:
    """The lifespan starts the workers and runs tasks until its end; then it closes `services`."""
    app = FastAPI(title="bgeraser worker", openapi_url=None, lifespan=_lifespan, redirect_slashes=False)
    app.state.services = services
    app.state.settings = settings
    background.register_tasks(services)
    health.add_to(app)
    for kind in (ApiError, HTTPException):
        app.add_exception_handler(kind, _answer_error)
    cors = Cors(frozenset())
    app.add_middleware(
        RequestContext, metrics=services.metrics, has_tls=False, cors=cors, tracer=services.tracer
    )
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    services: Services = app.state.services
    try:
        services.backend.start()
        async with background.running(services):
            yield
            await background.finish_work(services)
    finally:
        await background.close(services)


async def _answer_error(request: Request, error: Exception) -> Response:
    return responses.error(request, error)
