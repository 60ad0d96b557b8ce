"""Unbilled work: without hold or idempotency row, but on the same workers and in the same queue.

Billed calls go through `api.calls.service`. `api.editor.pricing` decides what is unbilled, and
`api.calls.unbilled_admission` limits how much of it runs.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from api.calls.tool_runner import OnProgress, run_tool
from api.images import service as images
from api.services import Services
from ml.backend import Priority, Ticket, ToolAnswer, ToolCall
from ml.params import Params
from ml.tool import Tool


@dataclass(frozen=True)
class UnbilledCall:
    """One tool on one stored image, whose bytes are `files["image"]`."""

    tool: Tool
    params: Params
    files: Mapping[str, bytes]
    source_id: str
    priority: Priority


async def run(
    services: Services,
    call: UnbilledCall,
    on_progress: OnProgress | None = None,
    on_ticket: Callable[[Ticket], None] | None = None,
) -> ToolAnswer:
    """Run the call. Cancelling this, or the ticket, stops the work. Raises any `MlError`."""
    artefacts = await images.read_artefacts(services, call.source_id, call.tool)
    tool_call = ToolCall(
        call.tool.name,
        call.params,
        {**call.files, **artefacts},
        call.priority,
        services.call_timeout_seconds,
        is_billed=False,
    )
    answer = await run_tool(services, tool_call, on_progress, on_ticket)
    room_bytes = services.guests_storage_bytes if call.priority is Priority.GUEST else None
    await images.keep_announced_artefacts(services, call.source_id, call.tool, answer, room_bytes=room_bytes)
    return answer
