"""The REST API as one FastAPI application, and its lifespan."""

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match, Route

from api import background
from api.calls.types import CallFailed
from api.errors import ApiError
from api.http import openapi, responses
from api.http.cors import Cors
from api.http.job_streams import JobStreams
from api.http.mcp import routes as mcp
from api.http.mcp.paths import MCP_PATH
from api.http.mcp.sessions import McpSessions
from api.http.middleware.body_gate import BodyGate
from api.http.middleware.body_limits import MEBIBYTE, UPLOAD_LIMIT_BYTES, BodyLimits
from api.http.middleware.error_limit import ErrorLimit
from api.http.middleware.hosts import Hosts
from api.http.middleware.request_context import RequestContext
from api.http.removebg import routes as removebg
from api.http.removebg.paths import REMOVE_PATH
from api.http.routes import account, batches, health, images, jobs, stripe, tools, usage, webhooks
from api.services import Services
from api.settings import Settings
from billing.errors import BillingError
from ml.catalogue import TOOLS
from ml.errors import MlError

VERSION = "0.1.0"
#: Bodies of any type: JSON and urlencoded forms carry the image as base64, a third larger than the file.
_BASE64_PATHS = {REMOVE_PATH: UPLOAD_LIMIT_BYTES, MCP_PATH: UPLOAD_LIMIT_BYTES}
_UPLOAD_PATHS = {"/api/tools/": UPLOAD_LIMIT_BYTES, "/api/images": UPLOAD_LIMIT_BYTES}
_BATCHES_PATH = "/api/batches"
#: How many of the largest batches may arrive at once.
_LARGEST_BATCHES = 4


def create_api(
    services: Services,
    settings: Settings,
    upload_paths: Mapping[str, int] | None = None,
    bound_host: str | None = None,
    session_cookies: Collection[str] = (),
) -> FastAPI:
    """The API over open `services`. `upload_paths`: more paths that accept large bodies, with their limits.

    `bound_host`: the host that the server listens on. None: there is no server, so any `Host` is accepted.
    `session_cookies`: the names of the cookies by which browsers are limited whose requests keep failing.
    The lifespan starts the workers; at its end running calls are settled and `services` is closed.
    """
    app = FastAPI(
        title="bgeraser",
        version=VERSION,
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan,
        redirect_slashes=False,
        # FastAPI's own traces have paths and queries, and so the signatures of URLs. Ours: `api.tracing`.
        telemetry={"auto_configure": False, "tracing": False, "metrics": False, "logs": False},
    )
    app.state.services = services
    app.state.settings = settings
    app.state.job_streams = JobStreams(services)
    background.register_tasks(services)
    app.state.mcp = McpSessions(services, VERSION)
    for routes in (tools, images, jobs, batches, webhooks, account, usage, removebg, mcp, stripe, health):
        routes.add_to(app)
    openapi.install(app, list(TOOLS.values()), services.public_url, settings.contact_email)
    for kind in (ApiError, BillingError, CallFailed, MlError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, _answer_error)
    app.state.body_gate = BodyGate(settings.body_memory_mb * MEBIBYTE, UPLOAD_LIMIT_BYTES)
    batch_limit_bytes = settings.batch_upload_mb * MEBIBYTE
    limits = {**_UPLOAD_PATHS, _BATCHES_PATH: batch_limit_bytes, **(upload_paths or {})}
    app.add_middleware(
        BodyLimits,
        limits=limits,
        gate=app.state.body_gate,
        limits_of_any_type=_BASE64_PATHS,
        limits_of_json=_UPLOAD_PATHS,
        spooled={_BATCHES_PATH},
        disk_gate=BodyGate(_LARGEST_BATCHES * batch_limit_bytes, batch_limit_bytes),
    )
    if bound_host is not None:
        app.add_middleware(Hosts, settings=settings, bound_host=bound_host)
    app.add_middleware(ErrorLimit, clock=services.clock, cookies=session_cookies)
    has_tls = services.public_url is not None and services.public_url.startswith("https://")
    cors = Cors(settings.cors_allowed_origins)
    app.add_middleware(
        RequestContext, metrics=services.metrics, has_tls=has_tls, cors=cors, tracer=services.tracer
    )
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    services: Services = app.state.services
    try:
        services.backend.start()
        async with background.running(services):
            yield
            services.engine.begin_stop()
            await app.state.job_streams.close()
            await background.finish_work(services)
            await app.state.mcp.close()
    finally:
        await background.close(services)


async def _answer_error(request: Request, error: Exception) -> Response:
    response = responses.error(request, error)
    if response.status_code == 405:
        response.headers["Allow"] = ", ".join(sorted(_allowed_methods(request)))
    return response


def _allowed_methods(request: Request) -> set[str]:
    """Every method of this path: Starlette itself only names those of the first matching route."""
    routes = [route for route in request.app.routes if isinstance(route, Route)]
    matching = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    return {method for route in matching for method in route.methods or ()}
