"""Submitting a tool to the backend and waiting for its answer."""

from collections.abc import Callable

from api.services import Services
from ml.backend import Progress, Ticket, ToolAnswer, ToolCall, answer_of

OnProgress = Callable[[Progress], None]


async def run_tool(
    services: Services,
    call: ToolCall,
    on_progress: OnProgress | None = None,
    on_submitted: Callable[[Ticket], None] | None = None,
) -> ToolAnswer:
    """Run `call` on a worker. Cancelling this cancels the work.

    `on_progress` is called from a thread of the backend. Raises any `MlError`.
    """
    ticket = services.backend.submit(call, on_progress)
    if on_submitted is not None:
        on_submitted(ticket)
    return await answer_of(ticket)
