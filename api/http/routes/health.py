"""`/healthz`: the process is alive. `/readyz`: it can do work. `/metrics`: Prometheus, with a token."""

import asyncio
import hmac

import structlog
from fastapi import FastAPI, Request
from starlette.responses import Response

from api.errors import InvalidApiKey, NotFound, ServiceUnavailable
from api.http import openapi, openapi_examples, responses
from api.http.dependencies import ServicesOf
from api.http.routes.get_and_head import add_get
from api.http.schemas import (
    AliveSuccess,
    Engines,
    EnginesOfTool,
    NotReady,
    QueueLength,
    ReadyData,
    ReadySuccess,
)
from api.readiness import PartState, PartStates
from api.settings import Settings

log = structlog.get_logger()


def add_to(app: FastAPI) -> None:
    errors = openapi.error_responses(*openapi.ANY_REQUEST)
    add_get(
        app,
        "/healthz",
        alive,
        operation_id="check-alive",
        summary="The process is alive",
        tags=["Health"],
        responses=openapi.success_response("It is alive.", AliveSuccess, openapi_examples.ALIVE) | errors,
    )
    add_get(
        app,
        "/readyz",
        ready,
        operation_id="check-ready",
        summary="Engines, device, database and queue",
        tags=["Health"],
        responses=openapi.success_response("It can work.", ReadySuccess, openapi_examples.READY)
        | errors
        | {503: errors[503] | {"model": NotReady}},
    )
    add_get(app, "/metrics", metrics, include_in_schema=False)


async def alive(request: Request) -> Response:
    return responses.success(request, {"status": "ok"})


async def ready(request: Request, services: ServicesOf) -> Response:
    backend = await asyncio.to_thread(services.backend.state)
    parts = await services.readiness.check(services.database, services.storage)
    failing = [text for is_failing, text in _failures(parts, backend.ready) if is_failing]
    if services.readiness.is_draining:
        failing.append("the server is about to end")
    data = ReadyData(
        ready=not failing,
        database=parts.database.value,
        storage=parts.storage.value,
        device=backend.device,
        workers=backend.workers,
        queue=QueueLength(waiting=backend.queued, running=backend.running),
        engines=[
            EnginesOfTool(tool=state.tool, **Engines.of(state).model_dump()) for state in backend.engines
        ],
    ).as_data()
    if data["ready"]:
        return responses.success(request, data)
    return responses.error(request, ServiceUnavailable(f"Not ready: {', '.join(failing)}."), data=data)


async def metrics(request: Request, services: ServicesOf) -> Response:
    settings: Settings = request.app.state.settings
    if settings.metrics_token is None or not settings.metrics_token.get_secret_value().strip():
        raise NotFound("There is nothing at this address.")
    expected = f"Bearer {settings.metrics_token.get_secret_value()}"
    given = request.headers.get("authorization", "")
    if not hmac.compare_digest(given.encode(), expected.encode()):
        raise InvalidApiKey("Metrics need the metrics token: Authorization: Bearer …")
    state = await asyncio.to_thread(services.backend.state)
    statistics = await asyncio.to_thread(services.backend.statistics)
    rendered = services.metrics.render(state, statistics)
    return Response(rendered, media_type="text/plain; version=0.0.4; charset=utf-8")


def _failures(parts: PartStates, are_workers_ready: bool) -> list[tuple[bool, str]]:
    return [
        (parts.database is PartState.UNAVAILABLE, "the database does not answer"),
        (parts.database is PartState.READ_ONLY, "the database takes no writes"),
        (parts.storage is not PartState.OK, "images cannot be stored"),
        (not are_workers_ready, "the workers have not started"),
    ]
