"""An admitted call: its work, then its settlement, whichever way the work ends."""

import asyncio
from collections.abc import Callable
from datetime import datetime

import structlog
from sqlmodel import Session

from api import response_bodies
from api.calls import admission, call_log, idempotency
from api.calls.account_status import AccountStatus
from api.calls.admission import Admitted
from api.calls.in_flight import CallWaiter, CompletedCall, InFlightCall
from api.calls.types import CallAnswer, CallRequest
from api.errors import ServiceUnavailable
from api.images import service as images
from api.services import Services
from billing.ledger.models import Account
from ml.backend import Progress, ToolAnswer, ToolCall
from ml.errors import Cancelled
from ml.tool import ARTEFACT_PREFIX

CREDITS_A_CALL = 1

log = structlog.get_logger()
OnProgress = Callable[[Progress], None]


async def execute(
    services: Services,
    request: CallRequest,
    admitted: Admitted,
    standing: AccountStatus,
    presence: CallWaiter,
    on_progress: OnProgress | None,
) -> CallAnswer:
    """Run the admitted call; its hold is captured when this returns and released when it raises."""
    started_at = services.clock()
    call = InFlightCall(admitted.replay_id, admitted.hold_id)
    services.running.add(call)
    presence.wait_for(call)
    try:
        finished = await _work_and_charge(services, request, admitted, call, on_progress, started_at)
    except BaseException as raised:
        # Only a shutdown that ran out of patience cancels this task.
        stopping = ServiceUnavailable("The server is shutting down. Nothing was charged.")
        error = raised if isinstance(raised, Exception) else stopping
        try:
            standing.credits_remaining = await _release(services, request, admitted, error)
        finally:
            call.failed(error)
        raise
    finally:
        services.running.remove(call)
    call.succeeded(finished)
    standing.credits_charged = CREDITS_A_CALL
    standing.credits_remaining = finished.credits_remaining
    return CallAnswer(200, finished.body, finished.image_id, admitted.replay_id, False, finished.picture)


async def _work_and_charge(
    services: Services,
    request: CallRequest,
    admitted: Admitted,
    call: InFlightCall,
    on_progress: OnProgress | None,
    started_at: datetime,
) -> CompletedCall:
    await images.require_room(services, request.account_id)
    picture = await _work(services, request, call, on_progress)
    await _keep_artefacts(services, request, picture)
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

    def settle(session: Session) -> tuple[bytes, int]:
        remaining = -1

        def build_body(credits_remaining: int) -> bytes:
            nonlocal remaining
            remaining = credits_remaining
            data = response_bodies.tool_data(
                picture,
                image_id=image.id,
                image_url=address.url,
                url_expires_at=address.expires_at,
                credits_charged=CREDITS_A_CALL,
                credits_remaining=credits_remaining,
            )
            return response_bodies.success(data, request.request_id)

        body = admission.settle_success(
            session,
            admitted,
            lease_owner=services.lease_owner,
            now=services.clock(),
            image=image.row(),
            build_body=build_body,
        )
        call_log.add(session, call_log.succeeded(request, CREDITS_A_CALL, started_at, services.clock()))
        return body, remaining

    body, credits_remaining = await services.database.run(settle)
    return CompletedCall(body, image.id, picture, credits_remaining)


async def _work(
    services: Services, request: CallRequest, call: InFlightCall, on_progress: OnProgress | None
) -> ToolAnswer:
    if call.waiting == 0:
        raise Cancelled("The caller went away.")
    tool_call = ToolCall(
        request.tool.name,
        request.params,
        {**request.files, **await _artefacts(services, request)},
        request.priority,
        services.call_timeout_seconds,
    )
    ticket = services.backend.submit(tool_call, on_progress)
    call.submitted(ticket)
    answer = asyncio.wrap_future(ticket.answer)
    try:
        # Shielded, because cancelling the wrapper would cancel the backend's own future.
        return await asyncio.shield(answer)
    except asyncio.CancelledError:
        answer.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        ticket.cancel()
        raise


async def _artefacts(services: Services, request: CallRequest) -> dict[str, bytes]:
    """What earlier calls kept beside the picture, named as a worker expects it.

    Not part of the request: whether something is kept makes no other call of it.
    """
    if request.source_id is None or not request.tool.artefacts:
        return {}
    found = await images.read_artefacts(services, request.source_id, request.tool.artefacts)
    return {f"{ARTEFACT_PREFIX}{name}": content for name, content in found.items()}


async def _keep_artefacts(services: Services, request: CallRequest, answer: ToolAnswer) -> None:
    # A worker opens strangers' pictures: it keeps nothing under a name that its tool did not announce.
    announced = {
        name: content for name, content in answer.artefacts.items() if name in request.tool.artefacts
    }
    if request.source_id is not None and announced:
        await images.keep_artefacts(services, request.source_id, announced)


async def _release(
    services: Services, request: CallRequest, admitted: Admitted, error: Exception
) -> int | None:
    """Give the credit back, and keep the answer of an error that the work itself found; the credits left.

    If the database is gone too, the lease lapses and the sweeper of any process releases the hold.
    """
    stored = response_bodies.failure(error, request.request_id) if idempotency.is_kept(error) else None

    def settle(session: Session) -> int:
        admission.settle_failure(session, admitted, now=services.clock(), stored_answer=stored)
        return session.get_one(Account, admitted.account_id, populate_existing=True).available

    try:
        return await services.database.run(settle)
    except Exception:
        log.exception("a hold could not be released, so its lease will lapse", hold_id=admitted.hold_id)
        return None
