"""Accepting a job: one transaction holds its credit, records it and enqueues its task.

The order is that of a call: retry key, rate, credits. Only concurrency is left out, because a job waits for
its turn. The answer is stored for retries at once, so that a repeated request gets the same job.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from sqlmodel import Session, col, func, select

from api import response_bodies
from api.calls import admission, call_holds, call_log, idempotency
from api.calls import service as calls
from api.calls.account_status import AccountStatus
from api.calls.admission import Refused, Replayed
from api.calls.idempotency import Answer, RetryKind
from api.calls.types import CallFailed, CallRequest, CallResult
from api.durable.tasks import Task
from api.errors import StorageFull
from api.images.models import Image
from api.images.service import NewImage
from api.jobs import inputs
from api.jobs.descriptions import status_url
from api.jobs.inputs import Inputs
from api.jobs.models import Job, JobStatus
from api.jobs.runs import KIND, queue_of
from api.jobs.transitions import PATIENCE
from api.memberships import roles
from api.rate_limit import RateState
from api.services import Services
from billing.errors import InsufficientCredits
from billing.identifiers import new_id
from billing.ledger import accounts, ledger
from billing.ledger.plans import PlanName

#: For the parameters of an account's unfinished jobs, which strokes can make long.
_PARAMS_BYTES_MAX = 64 * 1024**2
_SHORT_PARAMS_BYTES = 4 * 1024


@dataclass(frozen=True)
class Accepted:
    body: bytes
    answer_id: str
    rate: RateState
    available: int


async def accept(services: Services, request: CallRequest) -> CallResult:
    """Accept the call as a job: an answer with status 202, or the stored one to an identical request.

    Raises `CallFailed` with the refusal of `admission`, `StorageFull`, `NotFound`; `ServiceUnavailable`.
    """
    assert request.is_job
    started_at = services.clock()
    until = started_at + PATIENCE
    await services.engine.prepare()
    stored = await asyncio.to_thread(inputs.describe, services, request, until)
    if stored and not request.rate_taken:
        # Before the files are written, so that refused requests write none.
        checked = await calls.admit_fetch(services, request)
        if isinstance(checked, CallResult):
            return checked
        request = replace(request, rate_taken=True)
    accepting = _Accepting(
        services,
        request,
        await asyncio.to_thread(request.fingerprint),
        await asyncio.to_thread(request.params.stored),
        stored,
        started_at,
    )
    await inputs.write(services, request, stored)
    try:
        outcome = await services.database.run(accepting.record)
    except BaseException:
        await inputs.discard(services, stored)
        raise
    account_status = AccountStatus(outcome.rate, outcome.available)
    if isinstance(outcome, Accepted):
        services.engine.wake()
        return _result(outcome.body, outcome.answer_id, account_status, is_replay=False)
    await inputs.discard(services, stored)
    if isinstance(outcome, Refused):
        raise CallFailed(outcome.error, account_status)
    replay = call_log.replayed(request, outcome.answer.status_code, started_at, services.clock())
    services.call_log.enqueue(replay, request.priority)
    return _result(outcome.answer.body, outcome.replay_id, account_status, is_replay=True)


@dataclass(frozen=True)
class _Accepting:
    services: Services
    request: CallRequest
    fingerprint: str
    params: bytes
    stored: Mapping[str, NewImage]
    now: datetime

    def record(self, session: Session) -> Accepted | Replayed | Refused:
        request, now = self.request, self.now
        key = idempotency.retry_key(request.idempotency_key, self.fingerprint, random=request.is_random)
        rate = admission.check_retry_and_rate(
            session,
            account_id=request.account_id,
            key=key,
            fingerprint=self.fingerprint,
            now=now,
            rate_taken=request.rate_taken,
            test_rate=self.services.test_rate_of(request.is_test),
        )
        if not isinstance(rate, RateState):
            return rate
        account = accounts.lock(session, request.account_id)
        roles.require_member(session, request.account_id, request.person_id)
        ledger.refresh(session, account, now)
        job_id = new_id("job")
        try:
            held = call_holds.hold(
                session,
                account,
                request_id=request.request_id,
                lease_owner=ledger.WAITING,
                lease_seconds=PATIENCE.total_seconds(),
                now=now,
                budget_id=request.budget_id,
                is_test=request.is_test,
            )
        except InsufficientCredits as error:
            return Refused(error, rate, account.available)
        self._check_room(session)
        recorded = inputs.of(request, self.stored)
        inputs.record(session, self.services, recorded, self.stored, now + PATIENCE)
        job = self._job(session, job_id, held.id, key, recorded)
        session.add(job)
        session.flush()
        queue = queue_of(PlanName(account.plan), is_test=request.is_test)
        self.services.engine.enqueue(session, KIND, Task(job_id, queue, request.account_id))
        return Accepted(self._body(job_id), job.answer_id, rate, account.available)

    def _job(self, session: Session, job_id: str, hold_id: str, key: str, recorded: Inputs) -> Job:
        request, now = self.request, self.now
        replay_id = idempotency.begin(
            session,
            account_id=request.account_id,
            key=RetryKind.JOB + job_id,
            fingerprint=self.fingerprint,
            hold_id=hold_id,
            now=now,
        )
        answer_id = idempotency.insert_answer(
            session,
            account_id=request.account_id,
            key=key,
            fingerprint=self.fingerprint,
            answer=Answer(202, self._body(job_id), None),
            now=now,
        )
        return Job(
            id=job_id,
            account_id=request.account_id,
            key_id=request.key_id,
            person_id=request.person_id,
            is_test=request.is_test,
            request_id=request.request_id,
            tool=request.tool.name,
            params=self.params,
            params_bytes=len(self.params),
            inputs=recorded.as_json(),
            base_url=request.base_url,
            callback_url=request.callback_url,
            hold_id=hold_id,
            replay_id=replay_id,
            answer_id=answer_id,
            expected_seconds=self._expected_seconds(session, recorded),
            created_at=now,
            expires_at=now + PATIENCE,
        )

    def _expected_seconds(self, session: Session, recorded: Inputs) -> float | None:
        """As measured on this server; None if it is not known yet, or the picture's size is not."""
        if self.request.is_test:
            return None  # A smaller picture is worked on.
        source = session.get(Image, recorded.files["image"])
        if source is None or source.width is None or source.height is None:
            return None
        size = (source.width, source.height)
        return self.services.backend.expected_seconds(self.request.tool.name, self.request.params, size)

    def _body(self, job_id: str) -> bytes:
        data = {
            "jobId": job_id,
            "status": JobStatus.QUEUED.value,
            "statusUrl": status_url(self.request.base_url, job_id),
        }
        return response_bodies.success(data, self.request.request_id)

    def _check_room(self, session: Session) -> None:
        if len(self.params) <= _SHORT_PARAMS_BYTES:
            return  # Bounded by the credits that are held, so the others need not be summed up.
        total = func.coalesce(func.sum(Job.params_bytes), 0)
        unfinished = (col(Job.account_id) == self.request.account_id, col(Job.finished_at).is_(None))
        used = session.exec(select(total).where(*unfinished)).one()
        if used + len(self.params) > _PARAMS_BYTES_MAX:
            raise StorageFull("The parameters of your waiting jobs are too long. Wait until some have ended.")


def _result(body: bytes, replay_id: str, account_status: AccountStatus, *, is_replay: bool) -> CallResult:
    data = json.loads(body)["data"]
    return CallResult(202, data, None, body, account_status, replay_id, None, is_replay)
