"""`/api/jobs`: the state and result of calls that run as jobs, their cancellation and their events."""

import re
from collections.abc import Mapping

from fastapi import FastAPI, Request
from sqlmodel import Session
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from api.errors import InvalidParameter
from api.http import openapi, openapi_examples, page_queries, responses
from api.http.dependencies import KeyHolder, ServicesOf
from api.http.job_streams import JobStream
from api.http.routes.get_and_head import add_get
from api.http.schemas import JobPage, JobPageSuccess, JobSuccess, JobSummary
from api.jobs import service as jobs
from api.jobs.descriptions import describe, summarize
from api.jobs.models import JobStatus

_PATH = "/api/jobs/{job_id}"
_DEFAULT_LIMIT = 20
_LAST_EVENT_ID = "Last-Event-ID"
_PAGE_PARAMETERS = page_queries.described(
    JobStatus, what="jobs", limit=_DEFAULT_LIMIT, limit_max=jobs.PAGE_MAX
)
_EVENT_PARAMETERS = [
    {
        "name": _LAST_EVENT_ID,
        "in": "header",
        "required": False,
        "schema": {"type": "integer", "minimum": 0},
        "description": "The id of the last event received; only later ones are sent.",
    }
]
_NO_STORE = {"Cache-Control": "no-store"}


def add_to(app: FastAPI) -> None:
    add_get(
        app,
        "/api/jobs",
        show_page,
        operation_id="list-jobs",
        summary="Your jobs, newest first",
        tags=["Jobs"],
        responses=openapi.success_response("The jobs.", JobPageSuccess, openapi_examples.JOB_PAGE)
        | openapi.error_responses(*openapi.WITH_KEY, 422),
        openapi_extra={"security": openapi.SECURITY, "parameters": _PAGE_PARAMETERS},
    )
    add_get(
        app,
        _PATH,
        show,
        operation_id="get-job",
        summary="A job's state and result",
        tags=["Jobs"],
        responses=openapi.success_response("The job.", JobSuccess, openapi_examples.JOB)
        | openapi.error_responses(*openapi.WITH_KEY, 404),
        openapi_extra={"security": openapi.SECURITY},
    )
    app.add_api_route(
        _PATH,
        cancel,
        methods=["DELETE"],
        operation_id="cancel-job",
        summary="Cancel a job",
        description="Releases the held credit and stops the work. A job that has ended stays as it is.",
        tags=["Jobs"],
        response_class=Response,
        responses=openapi.success_response("The job.", JobSuccess, openapi_examples.JOB)
        | openapi.error_responses(*openapi.WITH_KEY, 404),
        openapi_extra={"security": openapi.SECURITY},
    )
    add_get(
        app,
        f"{_PATH}/events",
        events,
        operation_id="job-events",
        summary="A job's changes as server-sent events",
        tags=["Jobs"],
        responses=openapi.job_events_response() | openapi.error_responses(*openapi.WITH_KEY, 404, 422),
        openapi_extra={"security": openapi.SECURITY, "parameters": _EVENT_PARAMETERS},
    )


async def show_page(request: Request, caller: KeyHolder, services: ServicesOf) -> Response:
    sent = page_queries.read(request)
    status = page_queries.status_of(sent, JobStatus)
    limit = page_queries.limit_of(sent, default=_DEFAULT_LIMIT, limit_max=jobs.PAGE_MAX)

    def read(session: Session) -> JobPage:
        found, next_cursor = jobs.page(
            session, caller.account_id, status=status, limit=limit, cursor=sent.get("cursor")
        )
        shown = [JobSummary.model_validate(summarize(job)) for job in found]
        return JobPage(jobs=shown, next_cursor=next_cursor)

    page = await services.database.read(read)
    return responses.success(request, page.as_data())


async def show(request: Request, job_id: str, caller: KeyHolder, services: ServicesOf) -> Response:
    data = await services.database.read(
        lambda session: describe(session, jobs.find(session, caller.account_id, job_id))
    )
    return responses.success(request, data)


async def cancel(request: Request, job_id: str, caller: KeyHolder, services: ServicesOf) -> Response:
    return responses.success(request, await jobs.cancel(services, caller.account_id, job_id))


async def events(request: Request, job_id: str, caller: KeyHolder, services: ServicesOf) -> Response:
    after = _last_event_id(request)
    if request.method == "HEAD":
        await services.database.read(lambda session: jobs.find(session, caller.account_id, job_id))
        return responses.head_of_stream("text/event-stream", _NO_STORE)
    stream: JobStream | None = await request.app.state.job_streams.open(caller, job_id, after)
    if stream is None:
        # Tells a browser's EventSource not to connect again.
        return Response(status_code=204, headers=_NO_STORE)
    # Without buffering by nginx, which would hold events back.
    headers = {**_NO_STORE, "X-Accel-Buffering": "no"}
    return _Events(stream, headers)


class _Events(StreamingResponse):
    """Closes its stream also if the client has gone before the first event."""

    def __init__(self, stream: JobStream, headers: Mapping[str, str]) -> None:
        super().__init__(stream.events, media_type="text/event-stream", headers=headers)
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._stream.close()


def _last_event_id(request: Request) -> int:
    text = request.headers.get(_LAST_EVENT_ID, "")
    if not text:
        return 0
    if not re.fullmatch("[0-9]{1,9}", text):
        raise InvalidParameter(_LAST_EVENT_ID, f"{_LAST_EVENT_ID}: must be the id of an event of this job")
    return int(text)
