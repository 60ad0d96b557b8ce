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
    tracer = services.tracer
    if tracer is None:
        return await _run(services, call, on_progress, on_submitted)
    span = tracer.open_call()
    if span is not None:
        answer = await _run(services, call, on_progress, on_submitted)
        span.ran(answer)
        return answer
    # Not a call that is admitted, but a step of the editor, an upload or a preview.
    with tracer.call(call.tool, call.priority.value) as span:
        try:
            answer = await _run(services, call, on_progress, on_submitted)
        except BaseException as error:
            span.failed(error)
            raise
        span.ran(answer)
        span.settled(0, is_replay=False)
        return answer


async def _run(
    services: Services,
    call: ToolCall,
    on_progress: OnProgress | None,
    on_submitted: Callable[[Ticket], None] | None,
) -> ToolAnswer:
    ticket = services.backend.submit(call, on_progress)
    if on_submitted is not None:
        on_submitted(ticket)
    return await answer_of(ticket)
