"""`/api/batches`: accept a batch, follow it, control it, and download what it made."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request
from sqlmodel import Session
from starlette.responses import Response

from api.batches import acceptance
from api.batches import service as batches
from api.batches.acceptance import BatchRequest
from api.batches.descriptions import describe
from api.batches.models import BatchStatus, ItemStatus
from api.calls.types import CallResult
from api.errors import InvalidParameter
from api.http import (
    batch_downloads,
    batch_forms,
    dependencies,
    forms,
    openapi,
    openapi_examples,
    page_queries,
    responses,
)
from api.http.batch_schemas import (
    BatchData,
    BatchItemData,
    BatchItemPage,
    BatchItemPageSuccess,
    BatchPage,
    BatchPageSuccess,
    BatchSuccess,
)
from api.http.dependencies import KeyHolder, ServicesOf, ToolCaller
from api.http.middleware import body_limits
from api.http.routes.get_and_head import add_get
from api.images.spooling import Spool
from api.services import Services

_PATH = "/api/batches"
_ONE = f"{_PATH}/{{batch_id}}"
_DEFAULT_LIMIT = 20
_ITEMS_DEFAULT_LIMIT = 100
_TAGS = ["Batches"]
_PAGE_PARAMETERS = page_queries.described(
    BatchStatus, what="batches", limit=_DEFAULT_LIMIT, limit_max=batches.PAGE_MAX
)
_ITEMS_PARAMETERS = page_queries.described(
    ItemStatus, what="images", limit=_ITEMS_DEFAULT_LIMIT, limit_max=batches.ITEMS_PAGE_MAX
)
_DELETE_RESULTS = "delete_results"
_DELETE_RESULTS_PARAMETER = {
    "name": _DELETE_RESULTS,
    "in": "query",
    "required": False,
    "schema": {"type": "boolean", "default": False},
    "description": "Delete the batch and its results too, whether it has ended or not.",
}
_Control = Callable[[Services, str, str], Awaitable[dict[str, Any]]]


def add_to(app: FastAPI) -> None:
    of_one = openapi.error_responses(*openapi.WITH_KEY, 404)
    secured = {"security": openapi.SECURITY}
    one_batch = openapi.success_response("The batch.", BatchSuccess, openapi_examples.BATCH) | of_one
    app.add_api_route(
        _PATH,
        accept,
        methods=["POST"],
        status_code=202,
        operation_id="create-batch",
        summary="Run a tool, or several in turn, on up to 5,000 images",
        description="Answers at once. Each step of each image costs 1 credit when it succeeds."
        " An image may have 25 MiB, the whole form 1 GiB unless the server is set otherwise.",
        tags=_TAGS,  # type: ignore[arg-type]  # FastAPI's lists are invariant
        response_class=Response,
        responses=openapi.batch_accepted_response(BatchSuccess),
        openapi_extra=openapi.batch_operation(),
    )
    add_get(
        app,
        _PATH,
        show_page,
        operation_id="list-batches",
        summary="Your batches, newest first",
        tags=_TAGS,
        responses=openapi.success_response("The batches.", BatchPageSuccess, openapi_examples.BATCH_PAGE)
        | openapi.error_responses(*openapi.WITH_KEY, 422),
        openapi_extra={**secured, "parameters": _PAGE_PARAMETERS},
    )
    add_get(
        app,
        _ONE,
        show,
        operation_id="get-batch",
        summary="A batch's state",
        tags=_TAGS,
        responses=one_batch,
        openapi_extra=secured,
    )
    add_get(
        app,
        f"{_ONE}/items",
        show_items,
        operation_id="list-batch-items",
        summary="The images of a batch, with their state and results",
        tags=_TAGS,
        responses=openapi.success_response("The images.", BatchItemPageSuccess, openapi_examples.BATCH_ITEMS)
        | openapi.error_responses(*openapi.WITH_KEY, 404, 422),
        openapi_extra={**secured, "parameters": _ITEMS_PARAMETERS},
    )
    add_get(
        app,
        f"{_ONE}/results.zip",
        send_results,
        operation_id="batch-results",
        summary="The results so far as a ZIP",
        tags=_TAGS,
        responses=openapi.file_response("application/zip", "The images, named as they were sent.") | of_one,
        openapi_extra=secured,
    )
    add_get(
        app,
        f"{_ONE}/manifest.csv",
        send_manifest,
        operation_id="batch-manifest",
        summary="What became of each image, as CSV",
        tags=_TAGS,
        responses=openapi.file_response("text/csv", "A row for each image.") | of_one,
        openapi_extra=secured,
    )
    controls: tuple[tuple[str, str, _Control, str, str], ...] = (
        ("POST", "/pause", batches.pause, "pause-batch", "Start no more steps of a batch"),
        ("POST", "/resume", batches.resume, "resume-batch", "Go on with a paused or blocked batch"),
        ("POST", "/retry", batches.retry, "retry-batch", "Run the failed images of a batch again"),
    )
    app.add_api_route(
        _ONE,
        cancel,
        methods=["DELETE"],
        operation_id="cancel-batch",
        summary="Cancel a batch, keeping what has succeeded, or delete it with its results",
        tags=_TAGS,  # type: ignore[arg-type]
        response_class=Response,
        responses=one_batch | openapi.error_responses(*openapi.WITH_KEY, 422),
        openapi_extra={**secured, "parameters": [_DELETE_RESULTS_PARAMETER]},
    )
    for method, path, change, operation_id, summary in controls:
        app.add_api_route(
            f"{_ONE}{path}",
            _control(change),
            methods=[method],
            name=operation_id,
            operation_id=operation_id,
            summary=summary,
            tags=_TAGS,  # type: ignore[arg-type]
            response_class=Response,
            responses=one_batch,
            openapi_extra=secured,
        )


async def accept(request: Request, caller: ToolCaller, services: ServicesOf) -> Response:
    body_limits.refuse_declared_length(request.scope)
    caller.check_rate()
    idempotency_key = forms.idempotency_key(request)
    forms.refuse_query(request)
    await dependencies.admit_body(request, caller)
    spool = await asyncio.to_thread(services.storage.open_spool)
    try:
        form = await batch_forms.read_batch_form(request, services, caller.account_id, spool)
        for step in form.steps:
            caller.require_tool(step.tool.name)
        batch = BatchRequest(
            request_id=responses.request_id_of(request),
            account_id=caller.account_id,
            key_id=caller.key_id,
            person_id=caller.person_id,
            budget_id=caller.budget_id,
            is_test=caller.is_test,
            base_url=dependencies.public_base_url(request),
            steps=form.steps,
            sources=form.sources,
            retention=form.retention,
            callback_url=form.callback_url,
            idempotency_key=caller.scoped(idempotency_key),
        )
        # In a task of its own, so that a broken connection cannot leave files without their rows.
        accepting = services.running.start(_accept_and_close(services, batch, spool))
    except BaseException:
        spool.close()
        raise
    result = await asyncio.shield(accepting)
    responses.set_account_status(request, result.account_status)
    return responses.batch_accepted(request, result)


async def _accept_and_close(services: Services, batch: BatchRequest, spool: Spool) -> CallResult:
    with spool:
        return await acceptance.accept(services, batch)


async def show_page(request: Request, caller: KeyHolder, services: ServicesOf) -> Response:
    sent = page_queries.read(request)
    status = page_queries.status_of(sent, BatchStatus)
    limit = page_queries.limit_of(sent, default=_DEFAULT_LIMIT, limit_max=batches.PAGE_MAX)

    def read(session: Session) -> BatchPage:
        found, next_cursor = batches.page(
            session,
            caller.account_id,
            services.clock(),
            status=status,
            limit=limit,
            cursor=sent.get("cursor"),
        )
        shown = [BatchData.model_validate(describe(session, batch)) for batch in found]
        return BatchPage(batches=shown, next_cursor=next_cursor)

    return responses.success(request, (await services.database.read(read)).as_data())


async def show(request: Request, batch_id: str, caller: KeyHolder, services: ServicesOf) -> Response:
    data = await services.database.read(
        lambda session: describe(
            session, batches.find(session, caller.account_id, batch_id, services.clock())
        )
    )
    return responses.success(request, data)


async def show_items(request: Request, batch_id: str, caller: KeyHolder, services: ServicesOf) -> Response:
    sent = page_queries.read(request)
    status = page_queries.status_of(sent, ItemStatus)
    limit = page_queries.limit_of(sent, default=_ITEMS_DEFAULT_LIMIT, limit_max=batches.ITEMS_PAGE_MAX)

    def read(session: Session) -> BatchItemPage:
        batch = batches.find(session, caller.account_id, batch_id, services.clock())
        listed, next_cursor = batches.items(
            session, services, batch, status=status, limit=limit, cursor=sent.get("cursor")
        )
        shown = [BatchItemData.model_validate(each) for each in listed]
        return BatchItemPage(items=shown, next_cursor=next_cursor)

    return responses.success(request, (await services.database.read(read)).as_data())


async def send_results(request: Request, batch_id: str, caller: KeyHolder, services: ServicesOf) -> Response:
    return await batch_downloads.results(request, services, caller.account_id, batch_id)


async def send_manifest(batch_id: str, caller: KeyHolder, services: ServicesOf) -> Response:
    return await batch_downloads.manifest(services, caller.account_id, batch_id)


async def cancel(request: Request, batch_id: str, caller: KeyHolder, services: ServicesOf) -> Response:
    change = batches.delete if _deletes_results(request) else batches.cancel
    await batches.check_key(services, caller, batch_id)
    return responses.success(request, await change(services, caller.account_id, batch_id))


def _deletes_results(request: Request) -> bool:
    """Raises `InvalidParameter`."""
    sent = request.query_params.multi_items()
    for name, value in sent:
        if name != _DELETE_RESULTS:
            shown = name[:100]
            raise InvalidParameter(shown, f"{shown}: unknown; there is {_DELETE_RESULTS}")
        if value not in ("true", "false") or len(sent) > 1:
            raise InvalidParameter(name, f"{name}: must be given once, as true or false")
    return sent == [(_DELETE_RESULTS, "true")]


def _control(change: _Control) -> Callable[..., Awaitable[Response]]:
    async def run(request: Request, batch_id: str, caller: KeyHolder, services: ServicesOf) -> Response:
        await batches.check_key(services, caller, batch_id)
        return responses.success(request, await change(services, caller.account_id, batch_id))

    return run
