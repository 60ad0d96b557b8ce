"""`/api/tools`: the catalogue, and one route a tool, made from it."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime

from fastapi import Depends, FastAPI, Request
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from api.calls import admission, call_log
from api.calls import service as calls
from api.calls.types import CallAnswer, CallRequest
from api.errors import NotFound
from api.http import dependencies, forms, openapi, responses
from api.http.dependencies import Access, ServicesOf, ToolCaller
from api.http.middleware import body_limits
from api.http.routes.get_and_head import add_get
from api.http.schemas import ToolEntry
from api.images import service as images
from api.services import Services
from ml.catalogue import TOOLS
from ml.tool import Tool


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
        summary="The tools, their parameters and engines",
        tags=["Tools"],
        responses=openapi.error_responses(*openapi.ANY_REQUEST),
    )
    app.add_api_route(
        "/api/tools/{tool}",
        unknown_tool,
        methods=["POST"],
        include_in_schema=False,
        dependencies=[Depends(dependencies.tool_caller)],  # who has no key learns that first
    )


async def catalogue(request: Request, services: ServicesOf) -> Response:
    state = await asyncio.to_thread(services.backend.state)
    return responses.success(request, [ToolEntry.of(tool, state).as_data() for tool in TOOLS.values()])


async def unknown_tool() -> Response:
    raise NotFound(f"There is no such tool. There are: {', '.join(TOOLS)}.")


def _endpoint(tool: Tool) -> Callable[..., Awaitable[Response]]:
    async def run_tool(request: Request, access: ToolCaller, services: ServicesOf) -> Response:
        started_at = services.clock()
        try:
            return await serve(request, access, services, started_at)
        except ClientDisconnect:
            raise  # Nobody was answered; if the work was done, its own row says so.
        except Exception as error:
            services.call_log.note(
                call_log.refused(
                    responses.as_known_error(error),
                    request_id=responses.request_id_of(request),
                    account_id=access.account_id,
                    key_id=access.caller.key_id,
                    tool=tool.name,
                    started_at=started_at,
                    now=services.clock(),
                )
            )
            raise

    async def serve(request: Request, access: Access, services: Services, started_at: datetime) -> Response:
        body_limits.refuse_declared_length(request.scope)
        if access.standing.rate is not None:
            admission.check_rate(access.standing.rate)
        call = await _read_call(request, services, access, tool)
        answer = await dependencies.while_connected(request, calls.run(services, call, access.standing))
        if answer.is_replay:
            services.call_log.note(call_log.replayed(call, answer.status_code, started_at, services.clock()))
        response = await _response(request, services, answer)
        if call.is_random:
            # Runs after the answer was sent; a caller who was gone by then gets it again on a retry.
            response.background = BackgroundTask(calls.mark_delivered, services, answer)
        return response

    return run_tool


async def _read_call(request: Request, services: Services, access: Access, tool: Tool) -> CallRequest:
    idempotency_key = forms.idempotency_key(request)
    forms.refuse_query(request)
    await dependencies.admit_body(request, access)
    form = await forms.read_tool_form(request, tool)
    files = dict(form.files)
    for name, image_id in form.stored_ids.items():
        try:
            files[name] = await images.read_for_call(services, access.account_id, image_id)
        except NotFound as error:
            raise forms.named(error, form.id_fields[name]) from None
    params = await images.with_mask_mode(services, access.account_id, form.params, form.stored_ids)
    return CallRequest(
        request_id=responses.request_id_of(request),
        account_id=access.account_id,
        priority=access.priority,
        tool=tool,
        params=params,
        files=files,
        base_url=dependencies.base_url_of(request),
        idempotency_key=idempotency_key,
        key_id=access.caller.key_id,
        source_id=form.stored_ids.get(forms.IMAGE),
    )


async def _response(request: Request, services: Services, answer: CallAnswer) -> Response:
    if answer.image_id is None or not responses.wants_picture(request):
        return responses.call_answer(request, answer)
    if answer.picture is not None:
        content = answer.picture.content
    else:
        content = await asyncio.to_thread(services.storage.read, answer.image_id)
    return responses.picture_answer(request, answer, content)
