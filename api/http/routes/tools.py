"""`/api/tools`: the catalogue, and one route for each of its tools."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager

from fastapi import Depends, FastAPI, Request
from starlette.background import BackgroundTask
from starlette.responses import Response

from api.auth.authenticator import Caller
from api.calls import service as calls
from api.calls.types import CallFailed, CallRequest, CallResult
from api.errors import InvalidParameter, NotFound
from api.http import (
    dependencies,
    forms,
    openapi,
    openapi_examples,
    refusals,
    remote_sources,
    responses,
)
from api.http.dependencies import ServicesOf, ToolCaller
from api.http.middleware import body_limits
from api.http.remote_sources import RemoteSource
from api.http.routes.get_and_head import add_get
from api.http.schemas import ToolEntry, ToolsSuccess
from api.images import service as images
from api.jobs import acceptance
from api.services import Services
from ml.catalogue import TOOLS
from ml.errors import Overloaded, TimedOut, TooSlow
from ml.tool import Tool

_USE_A_JOB = "To run it as a job, which may take longer, send the header Prefer: respond-async."


def add_to(app: FastAPI) -> None:
    for tool in TOOLS.values():
        app.add_api_route(
            f"/api/tools/{tool.name}",
            _endpoint(tool),
            methods=["POST"],
            name=tool.name,
            operation_id=tool.name,
            summary=tool.title,
            description=tool.summary,
            tags=["Tools"],
            response_class=Response,
            responses=openapi.tool_responses(tool),
            openapi_extra=openapi.tool_operation(tool),
        )
    add_get(
        app,
        "/api/tools",
        catalogue,
        operation_id="list-tools",
        summary="The tools, their parameters and engines",
        tags=["Tools"],
        responses=openapi.success_response("The catalogue.", ToolsSuccess, openapi_examples.CATALOGUE)
        | openapi.error_responses(*openapi.ANY_REQUEST),
    )
    app.add_api_route(
        "/api/tools/{tool}",
        unknown_tool,
        methods=["POST"],
        include_in_schema=False,
        dependencies=[Depends(dependencies.authenticated_for_tools)],  # authenticate before answering 404
    )


async def catalogue(request: Request, services: ServicesOf) -> Response:
    state = await asyncio.to_thread(services.backend.state)
    return responses.success(request, [ToolEntry.of(tool, state).as_data() for tool in TOOLS.values()])


async def unknown_tool() -> Response:
    raise NotFound(f"There is no such tool. The tools are: {', '.join(TOOLS)}.")


def _endpoint(tool: Tool) -> Callable[..., Awaitable[Response]]:
    async def run_tool(request: Request, caller: ToolCaller, services: ServicesOf) -> Response:
        with ExitStack() as claims:
            call = await _read_and_log(request, services, caller, tool, claims)
            if isinstance(call, CallResult):
                result = call
            elif call.is_job:
                with refusals.logged(request, services, caller, tool):
                    result = await acceptance.accept(services, call)
            else:
                with _jobs_suggested():
                    result = await dependencies.while_connected(request, calls.run(services, call))
        responses.set_account_status(request, result.account_status)
        response = await _response(request, services, result)
        if isinstance(call, CallRequest) and call.is_random:
            # Runs after the answer was sent; a caller who disconnected gets the answer again on a retry.
            response.background = BackgroundTask(calls.mark_delivered, services, result)
        return response

    return run_tool


async def _read_and_log(
    request: Request, services: Services, caller: Caller, tool: Tool, claims: ExitStack
) -> CallRequest | CallResult:
    with refusals.logged(request, services, caller, tool):
        return await _read_call(request, services, caller, tool, claims)


async def _read_call(
    request: Request, services: Services, caller: Caller, tool: Tool, claims: ExitStack
) -> CallRequest | CallResult:
    """The call, or the stored answer to its idempotency key if its files would have to be fetched."""
    caller.require_tool(tool.name)
    body_limits.refuse_declared_length(request.scope)
    caller.check_rate()
    idempotency_key = forms.idempotency_key(request)
    forms.refuse_query(request)
    await dependencies.admit_body(request, caller)
    form = await forms.read_tool_form(request, tool)
    is_job = responses.prefers_job(request)
    _check_callback_url(services, form.callback_url, is_job)
    files = dict(form.files)
    for name, image_id in form.stored_ids.items():
        try:
            files[name] = await images.read_for_call(services, caller.account_id, image_id)
        except NotFound as error:
            raise forms.named(error, form.id_fields[name]) from None
    params = await images.with_mask_mode(services, caller.account_id, form.params, form.stored_ids)
    call = CallRequest(
        request_id=responses.request_id_of(request),
        account_id=caller.account_id,
        priority=caller.priority,
        tool=tool,
        params=params,
        files=files,
        base_url=dependencies.public_base_url(request),
        idempotency_key=caller.scoped(idempotency_key),
        key_id=caller.key_id,
        person_id=caller.person_id,
        budget_id=caller.budget_id,
        is_test=caller.is_test,
        source_id=form.stored_ids.get(forms.IMAGE),
        stored_ids=form.stored_ids,
        is_job=is_job,
        callback_url=form.callback_url,
        id_fields={name: form.id_fields[name] for name in form.stored_ids if name != forms.IMAGE},
    )
    sources = {file: RemoteSource(forms.url_field(file), url) for file, url in form.urls.items()}
    return await remote_sources.with_files(request, services, caller, call, sources, claims)


def _check_callback_url(services: Services, url: str | None, is_job: bool) -> None:
    if url is None:
        return
    if not is_job:
        raise InvalidParameter(
            forms.CALLBACK_URL,
            f"{forms.CALLBACK_URL}: only jobs are announced; send the header Prefer: respond-async too.",
        )
    services.webhook_sender.check_url(url, forms.CALLBACK_URL)


@contextmanager
def _jobs_suggested() -> Iterator[None]:
    """Let the errors of calls that take or wait too long say that a job may do so."""
    try:
        yield
    except CallFailed as failed:
        failed.error = _with_advice(failed.error)
        raise


def _with_advice(error: Exception) -> Exception:
    if isinstance(error, Overloaded):
        return Overloaded(f"{error.message} {_USE_A_JOB}", error.retry_after_seconds)
    if isinstance(error, TimedOut | TooSlow):
        return type(error)(f"{error} {_USE_A_JOB}")
    return error


async def _response(request: Request, services: Services, result: CallResult) -> Response:
    if result.status == 202:
        return responses.job_accepted(request, result)
    if result.image_id is None or not responses.wants_picture(request):
        return responses.call_result(request, result)
    content = await calls.read_picture(services, result)
    return responses.picture_result(request, result, content)
