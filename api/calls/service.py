"""A billed tool call from admission to settlement; the REST routes and the web editor both call `run`.

There are three phases. One transaction admits the call and holds a credit. A worker does the work, outside
any transaction (`api.calls.execution`). A second transaction stores the answer and captures the credit, or
releases it after a failure.
"""

import asyncio
import json
from datetime import datetime

from sqlmodel import Session

from api.calls import admission, call_log, call_spans, execution, fetch_admission, idempotency
from api.calls.account_status import AccountStatus
from api.calls.admission import Admitted, Joined, Refused, Replayed
from api.calls.fetch_admission import MayFetch
from api.calls.in_flight import CallWaiter
from api.calls.tool_runner import OnProgress
from api.calls.types import CallFailed, CallRequest, CallResult
from api.errors import as_api_error
from api.services import Services
from ml.errors import Cancelled

#: How often the database is polled for a call that runs in another process.
_JOIN_POLL_SECONDS = 0.5


async def run(
    services: Services,
    request: CallRequest,
    on_progress: OnProgress | None = None,
    waiter: CallWaiter | None = None,
) -> CallResult:
    """Run the call, or answer it from an identical one; either way it gets a row in the call log.

    Cancel this when the caller disconnects: a queued call is dropped, a running one is finished and charged,
    and a retry gets its answer. `waiter.stop()` also stops running work, for 0 credits. `on_progress` is
    called from a thread. Raises `CallFailed` with the refusal of `admission.admit`, `StorageFull`,
    `Cancelled` or any other `MlError`; `ServiceUnavailable` if the database cannot be reached.
    """
    waiter = waiter or CallWaiter()
    started_at = services.clock()
    task = services.running.start(
        call_spans.traced(services, request, lambda: _serve(services, request, waiter, on_progress))
    )
    try:
        result = await asyncio.shield(task)
    except asyncio.CancelledError:
        waiter.leave()
        raise
    except Exception as error:
        if not waiter.has_left:
            _log_failure(services, request, error, started_at)
        raise
    if result.is_replay:
        replay = call_log.replayed(request, result.status, started_at, services.clock())
        services.call_log.enqueue(replay, request.priority)
    return result


async def admit_fetch(services: Services, request: CallRequest) -> AccountStatus | CallResult:
    """Check whether the URLs of `request`, whose files are missing, may be fetched, for a call of the rate.

    Returns the stored answer instead, if the request's idempotency key has one. Raises `CallFailed`.
    """
    started_at = services.clock()
    fingerprint = await asyncio.to_thread(request.fingerprint)

    def admit(session: Session) -> MayFetch | Replayed | Refused:
        return fetch_admission.admit(
            session,
            account_id=request.account_id,
            idempotency_key=request.idempotency_key,
            fingerprint=fingerprint,
            now=services.clock(),
            is_job=request.is_job,
            budget_id=request.budget_id,
            test_rate=services.test_rate_of(request.is_test),
        )

    outcome = await services.database.run(admit)
    account_status = AccountStatus(outcome.rate, outcome.available)
    if isinstance(outcome, Refused):
        raise CallFailed(outcome.error, account_status)
    if isinstance(outcome, MayFetch):
        return account_status
    result = await _replay(outcome.replay_id, outcome.answer, account_status)
    replay = call_log.replayed(request, result.status, started_at, services.clock())
    services.call_log.enqueue(replay, request.priority)
    return result


async def read_picture(services: Services, result: CallResult) -> bytes:
    """The bytes of a successful call's result. Raises `NotFound` if they were deleted meanwhile."""
    if result.picture is not None:
        return result.picture.content
    assert result.image_id is not None
    return await asyncio.to_thread(services.storage.read, result.image_id)


async def mark_delivered(services: Services, result: CallResult) -> None:
    """Record that the answer was sent in full, so that a random call's answer is not replayed."""
    await services.database.run(lambda session: idempotency.mark_delivered(session, result.replay_id))


def _log_failure(services: Services, request: CallRequest, error: Exception, started_at: datetime) -> None:
    record = call_log.refused(
        as_api_error(error.error if isinstance(error, CallFailed) else error),
        request_id=request.request_id,
        account_id=request.account_id,
        key_id=request.key_id,
        person_id=request.person_id,
        tool=request.tool.name,
        started_at=started_at,
        now=services.clock(),
    )
    services.call_log.enqueue(record, request.priority)


async def _serve(
    services: Services, request: CallRequest, waiter: CallWaiter, on_progress: OnProgress | None
) -> CallResult:
    fingerprint = await asyncio.to_thread(request.fingerprint)
    rate_taken = request.rate_taken
    while True:
        outcome = await _admit(services, request, fingerprint, rate_taken)
        account_status = AccountStatus(outcome.rate, outcome.available)
        match outcome:
            case Refused():
                raise CallFailed(outcome.error, account_status)
            case Replayed():
                return await _replay(outcome.replay_id, outcome.answer, account_status)
            case Admitted():
                return await execution.execute(services, request, outcome, waiter, on_progress)
            case Joined():
                try:
                    return await _join(services, outcome, waiter, account_status)
                except idempotency.JoinedCallLost:
                    rate_taken = True  # Admit the call again; its share of the rate has been taken.
                except Exception as error:
                    raise CallFailed(error, account_status) from error


async def _admit(
    services: Services, request: CallRequest, fingerprint: str, rate_taken: bool
) -> admission.AdmissionOutcome:
    def admit(session: Session) -> admission.AdmissionOutcome:
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
            budget_id=request.budget_id,
            test_rate=services.test_rate_of(request.is_test),
            person_id=request.person_id,
        )

    return await services.database.run(admit)


async def _join(
    services: Services, joined: Joined, waiter: CallWaiter, account_status: AccountStatus
) -> CallResult:
    """Wait for the identical call, in this process or another one. Raises the error it fails with."""
    call = services.running.find(joined.replay_id)
    if call is not None:
        waiter.wait_for(call)
        completed = await asyncio.shield(call.result)
        return completed.result(joined.replay_id, account_status, is_replay=True)
    while not waiter.has_left:
        answer = await services.database.read(
            lambda session: idempotency.joined_state(session, joined.replay_id, services.clock())
        )
        if answer is not None:
            return await _replay(joined.replay_id, answer, account_status)
        await asyncio.sleep(_JOIN_POLL_SECONDS)
    raise Cancelled("The caller disconnected.")


async def _replay(replay_id: str, answer: idempotency.Answer, account_status: AccountStatus) -> CallResult:
    body = await asyncio.to_thread(json.loads, answer.body)  # up to 1 MiB
    return CallResult(
        answer.status_code,
        body.get("data"),
        body.get("error"),
        answer.body,
        account_status,
        replay_id,
        answer.image_id,
        is_replay=True,
    )
