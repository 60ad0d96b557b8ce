"""A call as a span of its trace, in servers that send traces."""

from collections.abc import Callable, Coroutine
from typing import Any

from api.calls.types import CallFailed, CallRequest, CallResult
from api.services import Services


async def traced(
    services: Services, request: CallRequest, work: Callable[[], Coroutine[Any, Any, CallResult]]
) -> CallResult:
    """The result of `work`, which is the call that `request` asks for."""
    tracer = services.tracer
    if tracer is None:
        return await work()
    with tracer.call(request.tool.name, request.priority.value, request_id=request.request_id) as span:
        try:
            result = await work()
        except BaseException as error:
            span.failed(error.error if isinstance(error, CallFailed) else error)
            raise
        span.settled(result.account_status.credits_charged, is_replay=result.is_replay)
        return result
