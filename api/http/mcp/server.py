"""The SDK's server: which tools there are, and the calls that stand behind them.

A call runs through `calls.service` as those of the REST routes do: the same admission, credit, retries,
limits and call log.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack, suppress
from typing import Any

from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.server.session import ServerSession
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.exceptions import MCPError
from mcp.types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    CancelledNotificationParams,
    ListToolsResult,
    PaginatedRequestParams,
    ToolAnnotations,
)
from mcp.types import (
    Tool as OfferedTool,
)
from mcp.types.version import HANDSHAKE_PROTOCOL_VERSIONS
from sse_starlette.sse import AppStatus
from starlette.requests import ClientDisconnect

from api.calls import service as calls
from api.calls.in_flight import CallWaiter
from api.calls.types import CallRequest, CallResult
from api.http import dependencies, refusals, remote_sources, responses
from api.http.mcp import arguments, results, tools
from api.http.mcp.exchange import Exchange, exchange_of
from api.http.mcp.tools import Offer
from api.http.routes import account, images
from api.http.schemas import CatalogueData, ToolEntry
from api.services import Services
from ml.backend import Progress
from ml.catalogue import TOOLS
from ml.tool import Tool

_Context = ServerRequestContext[Any, Any]


def new_manager(services: Services, version: str) -> StreamableHTTPSessionManager:
    """The manager of a server that offers `tools.offers()`."""
    # A shutdown lets running calls finish; the library would cut off their answers at its first signal.
    AppStatus.disable_automatic_graceful_drain()  # type: ignore[no-untyped-call]  # it has no annotations
    offers = tools.offers()
    listed = ListToolsResult(tools=[_listed(offer) for offer in offers])
    arguments_by_name = {offer.name: offer.arguments for offer in offers}

    async def list_tools(_context: _Context, _params: PaginatedRequestParams | None) -> ListToolsResult:
        return listed

    server = Server(
        "bgeraser",
        version=version,
        title="bgeraser",
        website_url=services.public_url,
        instructions=tools.INSTRUCTIONS,
        get_tool_input_schema=arguments_by_name.get,
        on_list_tools=list_tools,
        on_call_tool=_call_tool,
    )
    server.add_notification_handler("notifications/cancelled", CancelledNotificationParams, _cancel_call)
    return StreamableHTTPSessionManager(server, stateless=True)


def _listed(offer: Offer) -> OfferedTool:
    hints = ToolAnnotations(
        read_only_hint=offer.is_read_only, destructive_hint=False, idempotent_hint=True, open_world_hint=False
    )
    return OfferedTool(
        name=offer.name,
        title=offer.title,
        description=offer.description,
        input_schema=offer.arguments,
        output_schema=offer.answer,
        annotations=hints,
    )


async def _call_tool(context: _Context, params: CallToolRequestParams) -> CallToolResult:
    assert context.request is not None
    exchange = exchange_of(context.request.scope)
    sent = params.arguments or {}
    run = _FREE_TOOLS.get(params.name)
    tool = TOOLS.get(params.name)
    if run is None and tool is None:
        raise MCPError(INVALID_PARAMS, f"Unknown tool. The tools are: {', '.join([*TOOLS, *_FREE_TOOLS])}.")
    try:
        if tool is not None:
            waiter = CallWaiter(leaving_cancels=context.protocol_version not in HANDSHAKE_PROTOCOL_VERSIONS)
            edit = _edit(exchange, tool, sent, context.session, waiter)
            return await exchange.calls.run(exchange.call_name(context.request_id), edit, waiter.stop)
        assert run is not None
        return await run(exchange, sent)
    except ClientDisconnect:
        return CallToolResult(content=[], is_error=True)  # Nobody reads it.
    except Exception as error:
        return results.refusal(exchange, error)


async def _cancel_call(context: _Context, params: CancelledNotificationParams) -> None:
    assert context.request is not None
    exchange = exchange_of(context.request.scope)
    name = exchange.call_name(params.request_id)
    if name is not None:
        exchange.calls.cancel(name)


async def _edit(
    exchange: Exchange,
    tool: Tool,
    sent: Mapping[str, Any],
    session: ServerSession,
    waiter: CallWaiter,
) -> CallToolResult:
    with ExitStack() as claims:
        with refusals.logged(exchange.request, exchange.services, exchange.caller, tool):
            call = await _read_call(exchange, tool, sent, claims)
        if isinstance(call, CallResult):  # a replay
            return await results.success(exchange, call)
        result = await _run(exchange, call, session, waiter)
    if call.is_random and not waiter.has_left:
        exchange.random_results.append(result)
    return await results.success(exchange, result)


async def _read_call(
    exchange: Exchange, tool: Tool, sent: Mapping[str, Any], claims: ExitStack
) -> CallRequest | CallResult:
    """The call, or the stored answer to its idempotency key if its files would have to be fetched."""
    services, caller, request = exchange.services, exchange.caller, exchange.request
    caller.require_tool(tool.name)
    read = await arguments.read_edit(exchange, tool, sent)
    call = CallRequest(
        request_id=responses.request_id_of(request),
        account_id=caller.account_id,
        priority=caller.priority,
        tool=tool,
        params=read.params,
        files=read.files,
        base_url=dependencies.public_base_url(request),
        idempotency_key=caller.scoped(read.idempotency_key),
        key_id=caller.key_id,
        person_id=caller.person_id,
        budget_id=caller.budget_id,
        is_test=caller.is_test,
        source_id=read.stored_ids.get(tools.IMAGE),
    )
    return await remote_sources.with_files(request, services, caller, call, read.urls, claims)


async def _run(
    exchange: Exchange, call: CallRequest, session: ServerSession, waiter: CallWaiter
) -> CallResult:
    """Run the call, and report its progress meanwhile."""
    reporter = _ProgressReporter(session)
    reporting = asyncio.create_task(reporter.report())
    try:
        return await calls.run(exchange.services, call, on_progress=reporter.update, waiter=waiter)
    finally:
        reporting.cancel()
        # Retrieve the exception of an agent that has left, so that asyncio does not warn.
        reporting.add_done_callback(lambda done: done.cancelled() or done.exception())


class _ProgressReporter:
    """Sends a call's progress to the agent. Values that it had no time to send are skipped."""

    def __init__(self, session: ServerSession) -> None:
        self._session = session
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._latest: Progress | None = None

    def update(self, progress: Progress) -> None:
        """Take over `progress`. For any thread."""
        with suppress(RuntimeError):  # The loop was closed: nobody waits for the call any more.
            self._loop.call_soon_threadsafe(self._take_over, progress)

    def _take_over(self, progress: Progress) -> None:
        self._latest = progress
        self._changed.set()

    async def report(self) -> None:
        """Send until cancelled. The protocol demands that each value is greater than the last."""
        sent = -1.0
        while True:
            await self._changed.wait()
            self._changed.clear()
            progress = self._latest
            if progress is not None and progress.fraction > sent:
                sent = progress.fraction
                await self._session.report_progress(sent, 1.0, progress.stage)


async def _upload_image(exchange: Exchange, sent: Mapping[str, Any]) -> CallToolResult:
    image, idempotency_key = await arguments.read_upload(exchange, sent)
    result = await images.store_image(
        exchange.request,
        exchange.services,
        exchange.caller,
        image,
        exchange.caller.scoped(idempotency_key),
    )
    data = json.loads(result.body)["data"]
    request_id = responses.request_id_of(exchange.request)
    return results.structured({**data, "requestId": request_id, "replayed": result.is_replay})


async def _show_account(exchange: Exchange, sent: Mapping[str, Any]) -> CallToolResult:
    arguments.refuse_all(exchange, sent)
    data = await account.read(exchange.services, exchange.caller)
    return results.structured(data.as_data())


async def _list_tools_and_models(exchange: Exchange, sent: Mapping[str, Any]) -> CallToolResult:
    arguments.refuse_all(exchange, sent)
    state = await asyncio.to_thread(exchange.services.backend.state)
    entries = (ToolEntry.of(tool, state) for tool in TOOLS.values())
    return results.structured(CatalogueData.of(entries).as_data())


_FREE_TOOLS: dict[str, Callable[[Exchange, Mapping[str, Any]], Awaitable[CallToolResult]]] = {
    tools.UPLOAD_IMAGE: _upload_image,
    tools.ACCOUNT: _show_account,
    tools.LIST_TOOLS: _list_tools_and_models,
}
