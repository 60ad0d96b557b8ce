"""One call of a tool from admission to settlement: where credits meet pictures, with `api.calls.execution`.

Routes and the web editor both call `run`. Three phases: one transaction admits the call and holds a credit;
a worker does the work, outside of any transaction; one transaction stores the answer and captures the
credit, or releases it on any failure.
"""

import asyncio
from collections.abc import Callable

from sqlmodel import Session

from api.calls import admission, execution, idempotency
from api.calls.account_status import AccountStatus
from api.calls.admission import Admitted, Joined, Refused, Replayed
from api.calls.in_flight import CallWaiter
from api.calls.types import CallAnswer, CallRequest
from api.services import Services
from ml.backend import Progress
from ml.errors import Cancelled

#: How often a call that runs in another process is asked for.
_JOIN_POLL_SECONDS = 0.5


async def run(
    services: Services,
    request: CallRequest,
    standing: AccountStatus,
    on_progress: Callable[[Progress], None] | None = None,
    presence: CallWaiter | None = None,
) -> CallAnswer:
    """Do the call, or answer it from an identical one. `standing` is kept up to date for the headers.

    Cancel it when the caller has gone away: the call is withdrawn if it is still queued, else it is finished
    and charged, and a retry gets its answer. `presence.stop()` stops it half-way too; then it raises
    `Cancelled` and costs nothing. Raises what `admission.admit` refuses with, `StorageFull`,
    `ServiceUnavailable` and any `MlError` of the work. `on_progress` is called from a thread.
    """
    presence = presence or CallWaiter()
    task = services.running.start(_serve(services, request, standing, presence, on_progress))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        presence.leave()
        raise


async def mark_delivered(services: Services, answer: CallAnswer) -> None:
    """The answer reached its caller: one that would be another each time is not replayed any more."""
    await services.database.run(lambda session: idempotency.mark_delivered(session, answer.replay_id))


async def _serve(
    services: Services,
    request: CallRequest,
    standing: AccountStatus,
    presence: CallWaiter,
    on_progress: Callable[[Progress], None] | None,
) -> CallAnswer:
    fingerprint = await asyncio.to_thread(request.fingerprint)
    rate_taken = False
    while True:
        outcome = await _admit(services, request, fingerprint, rate_taken)
        standing.rate, standing.credits_remaining = outcome.rate, outcome.available
        match outcome:
            case Refused():
                raise outcome.error
            case Replayed():
                return _replay(outcome.replay_id, outcome.answer)
            case Admitted():
                return await execution.execute(services, request, outcome, standing, presence, on_progress)
            case Joined():
                try:
                    return await _join(services, outcome, presence)
                except idempotency.JoinedCallLost:
                    rate_taken = True  # Admitted once more, and its share of the rate was taken before.


async def _admit(
    services: Services, request: CallRequest, fingerprint: str, rate_taken: bool
) -> admission.AdmissionOutcome:
    def work(session: Session) -> admission.AdmissionOutcome:
        return admission.admit(
            session,
            account_id=request.account_id,
            request_id=request.request_id,
            idempotency_key=request.idempotency_key,
            fingerprint=fingerprint,
            lease_owner=services.lease_owner,
            now=services.clock(),
            random=request.is_random,
            rate_taken=rate_taken,
        )

    return await services.database.run(work)


async def _join(services: Services, joined: Joined, presence: CallWaiter) -> CallAnswer:
    """Wait for the identical call, which runs in this process or in another one; its failure is ours too."""
    call = services.running.find(joined.replay_id)
    if call is not None:
        presence.wait_for(call)
        finished = await asyncio.shield(call.result)
        return CallAnswer(200, finished.body, finished.image_id, joined.replay_id, True, finished.picture)
    while not presence.has_left:
        known = await services.database.read(
            lambda session: idempotency.joined_state(session, joined.replay_id, services.clock())
        )
        if known is not None:
            return _replay(joined.replay_id, known)
        await asyncio.sleep(_JOIN_POLL_SECONDS)
    raise Cancelled("The caller went away.")


def _replay(replay_id: str, stored: idempotency.Answer) -> CallAnswer:
    return CallAnswer(stored.status_code, stored.body, stored.image_id, replay_id, is_replay=True)
