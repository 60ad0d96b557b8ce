"""The work of an admitted call, and its settlement after a success or a failure."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol

import structlog
from sqlmodel import Session

from api import response_bodies
from api.alerts import credits as credit_alerts
from api.calls import admission, call_log, idempotency
from api.calls.account_status import AccountStatus
from api.calls.admission import Admitted
from api.calls.in_flight import CallWaiter, CompletedCall, InFlightCall
from api.calls.tool_runner import OnProgress, run_tool
from api.calls.types import CallFailed, CallRequest, CallResult
from api.errors import ServiceUnavailable
from api.images import service as images
from api.services import Services
from billing.ledger import accounts
from billing.ledger.models import Account
from ml.backend import Delivery, ToolAnswer, ToolCall
from ml.errors import Cancelled

CREDITS_PER_CALL = 1
#: What a test key's result says about itself.
TEST_MARK = "Test · bgeraser"
TEST_SIDE = 512
TEST_WARNING = (
    f"This is a sandbox result: at most {TEST_SIDE} pixels a side, with a watermark. It cost nothing. Use a"
    " live key (bge_live_…) for results at full size."
)

log = structlog.get_logger()


class Settlement(Protocol):
    """What else the two settling transactions change, for work that is recorded elsewhere too."""

    def succeeded(self, session: Session) -> None:
        """The credit was captured in this transaction."""

    def failed(self, session: Session, error: Exception) -> bool:
        """Whether the hold is to be released. False keeps it, because the work will be done again."""


async def execute(
    services: Services,
    request: CallRequest,
    admitted: Admitted,
    waiter: CallWaiter,
    on_progress: OnProgress | None,
    settlement: Settlement | None = None,
) -> CallResult:
    """Run the admitted call. Its hold is captured when this returns, and released when it raises.

    Raises `CallFailed`.
    """
    started_at = services.clock()
    call = InFlightCall(admitted.replay_id, admitted.hold_id)
    services.running.add(call)
    waiter.wait_for(call)
    try:
        completed = await _work_and_charge(
            services, request, admitted, call, on_progress, started_at, settlement
        )
    except BaseException as raised:
        # Only a shutdown whose grace period has ended cancels this task.
        stopping = ServiceUnavailable("The server is shutting down. Nothing was charged.")
        error = raised if isinstance(raised, Exception) else stopping
        if (id_field := request.id_fields.get(getattr(error, "name", None) or "")) is not None:
            error.param = id_field  # type: ignore[attr-defined]  # the caller sent an id or URL
        credits_remaining = None
        try:
            credits_remaining = await _release(services, request, admitted, error, settlement)
        finally:
            call.failed(error)
        if raised is not error:
            raise
        raise CallFailed(error, AccountStatus(admitted.rate, credits_remaining)) from error
    finally:
        services.running.remove(call)
    call.succeeded(completed)
    account_status = AccountStatus(admitted.rate, completed.credits_remaining, _price(request))
    return completed.result(admitted.replay_id, account_status, is_replay=False)


async def _work_and_charge(
    services: Services,
    request: CallRequest,
    admitted: Admitted,
    call: InFlightCall,
    on_progress: OnProgress | None,
    started_at: datetime,
    settlement: Settlement | None,
) -> CompletedCall:
    if not request.goes_on:
        await images.require_room(services, request.account_id)
    picture = await _work(services, request, call, on_progress)
    if _uses_artefacts(request):
        assert request.source_id is not None
        await images.keep_announced_artefacts(services, request.source_id, request.tool, picture)
    image = await asyncio.to_thread(
        images.describe,
        services,
        request.account_id,
        images.result_kind(picture),
        picture.format,
        picture.content,
        picture.width,
        picture.height,
    )
    await asyncio.to_thread(services.storage.write, image.id, picture.content)
    address = images.address(services, request.base_url, image.id)

    def settle(session: Session) -> tuple[CompletedCall, bool]:
        data: dict[str, Any] = {}

        def build_body(credits_remaining: int) -> bytes:
            data.update(
                response_bodies.tool_data(
                    picture,
                    image_id=image.id,
                    image_url=address.url,
                    url_expires_at=address.expires_at,
                    credits_charged=_price(request),
                    credits_remaining=credits_remaining,
                )
            )
            return response_bodies.success(data, request.request_id)

        body = admission.settle_success(
            session,
            admitted,
            lease_owner=services.lease_owner,
            now=services.clock(),
            image=image.row(),
            build_body=build_body,
            record=call_log.succeeded(request, _price(request), started_at, services.clock()),
        )
        if settlement is not None:
            settlement.succeeded(session)
        is_alert = False
        if not request.is_test:
            account = session.get_one(Account, request.account_id)
            is_alert = credit_alerts.spent(
                session, account, request.request_id, services.clock(), outlet=services.alerts
            )
        return CompletedCall(data, body, image.id, picture, data["creditsRemaining"]), is_alert

    completed, is_alert = await services.database.run(settle)
    if is_alert:
        services.engine.wake()
    services.metrics.count_call(request.tool.name, 200, request.priority)
    services.metrics.count_credits(request.priority, _price(request))
    return completed


async def _work(
    services: Services, request: CallRequest, call: InFlightCall, on_progress: OnProgress | None
) -> ToolAnswer:
    if call.waiting == 0:
        raise Cancelled("The caller disconnected.")
    # Artefacts are not part of the request: whether one is stored does not make it another call.
    artefacts: Mapping[str, bytes] = {}
    if _uses_artefacts(request):
        assert request.source_id is not None
        artefacts = await images.read_artefacts(services, request.source_id, request.tool)
    tool_call = ToolCall(
        request.tool.name,
        request.params,
        {**request.files, **artefacts},
        request.priority,
        services.job_timeout_seconds if request.is_job else services.call_timeout_seconds,
        is_billed=not request.is_test,
        delivery=_delivery_of(request),
        chaining=request.chaining,
    )
    answer = await run_tool(services, tool_call, on_progress, call.submitted)
    return replace(answer, warnings=(*answer.warnings, TEST_WARNING)) if request.is_test else answer


def _price(request: CallRequest) -> int:
    """In credits."""
    return 0 if request.is_test else CREDITS_PER_CALL


def _uses_artefacts(request: CallRequest) -> bool:
    """Whether what was computed for a stored picture is used. A test key's call sees a smaller picture."""
    return request.source_id is not None and not request.is_test


def _delivery_of(request: CallRequest) -> Delivery | None:
    if not request.is_test:
        return request.delivery
    return replace(request.delivery or Delivery(), max_side=TEST_SIDE, mark=TEST_MARK)


async def _release(
    services: Services,
    request: CallRequest,
    admitted: Admitted,
    error: Exception,
    settlement: Settlement | None,
) -> int | None:
    """Release the hold, and store the answer if the tool itself raised the error. Returns the credits left.

    If the database is unreachable too, the lease lapses and any process's cleanup releases the hold.
    """
    stored = response_bodies.failure(error, request.request_id) if idempotency.is_kept(error) else None

    def settle(session: Session) -> int:
        # Locked first, so that nothing else settles the hold between the two.
        accounts.lock_even_closed(session, admitted.account_id)
        if settlement is None or settlement.failed(session, error):
            admission.settle_failure(session, admitted, now=services.clock(), stored_answer=stored)
        return session.get_one(Account, admitted.account_id, populate_existing=True).available

    try:
        return await services.database.run(settle)
    except Exception:
        log.exception("a hold could not be released, so its lease will lapse", hold_id=admitted.hold_id)
        return None
