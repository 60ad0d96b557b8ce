"""Work that costs nothing: no hold, no idempotency row, but the same workers and the same queue.

`api.calls` is the way of everything that is paid. What may come here is decided by `api.editor.pricing`, and
how much of it by `api.calls.unbilled_admission`.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from api.images import service as images
from api.services import Services
from ml.backend import Priority, Progress, Ticket, ToolAnswer, ToolCall
from ml.params import Params
from ml.tool import ARTEFACT_PREFIX, Tool

OnProgress = Callable[[Progress], None]


@dataclass(frozen=True)
class UnbilledCall:
    """One tool on one stored picture. `files` has its bytes as `"image"`."""

    tool: Tool
    params: Params
    files: Mapping[str, bytes]
    source_id: str
    priority: Priority


async def run(
    services: Services,
    work: UnbilledCall,
    on_progress: OnProgress | None = None,
    on_ticket: Callable[[Ticket], None] = lambda _ticket: None,
) -> ToolAnswer:
    """What the worker made. Raises any `MlError`; `Cancelled` after the ticket was cancelled.

    It is stopped when the one who waits is cancelled.
    """
    kept = await images.read_artefacts(services, work.source_id, work.tool.artefacts)
    artefacts = {f"{ARTEFACT_PREFIX}{name}": content for name, content in kept.items()}
    call = ToolCall(
        work.tool.name,
        work.params,
        {**work.files, **artefacts},
        work.priority,
        services.call_timeout_seconds,
        is_billed=False,
    )
    ticket = services.backend.submit(call, on_progress)
    on_ticket(ticket)
    answer = asyncio.wrap_future(ticket.answer)
    try:
        made = await asyncio.shield(answer)
    except asyncio.CancelledError:
        answer.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        ticket.cancel()
        raise
    announced = {name: made.artefacts[name] for name in work.tool.artefacts if name in made.artefacts}
    if announced:
        room_bytes = services.guests_storage_bytes if work.priority is Priority.GUEST else None
        await images.keep_artefacts(services, work.source_id, announced, room_bytes=room_bytes)
    return made
