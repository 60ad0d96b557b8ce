"""Running jobs: waiting for a turn and a slot, then the call itself, which settles the job with its credit.

A job waits twice. In this process, jobs of paid and of free accounts each submit at most as many calls as
there are workers, so that calls of waiting clients are never behind many jobs. In its account, jobs leave one
of the plan's concurrent calls to calls that are not jobs.
"""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

import structlog
from pydantic import ValidationError
from sqlmodel import Session, col, select, update

from api.calls import admission, call_holds, call_log, call_spans, execution, idempotency
from api.calls.admission import LEASE_SECONDS, Admitted
from api.calls.in_flight import CallWaiter
from api.calls.types import CallFailed, CallRequest, priority_of
from api.durable.tasks import Task, TaskKind, TaskQueue
from api.errors import InvalidParameter, ServiceUnavailable, is_retryable, status_and_code
from api.images import service as images
from api.jobs import inputs, transitions
from api.jobs.inputs import Inputs
from api.jobs.models import Job, JobStatus
from api.services import Services
from billing.errors import AccountClosed, LeaseLost
from billing.ledger import ledger
from billing.ledger.models import Account, Hold
from billing.ledger.plans import PLANS, PlanName
from ml.backend import Chaining, Priority, Progress
from ml.catalogue import TOOLS
from ml.errors import OutOfMemory, TimedOut, WorkerLost

KIND = "job"
_PAID_QUEUE, _FREE_QUEUE, _TEST_QUEUE = "jobs-paid", "jobs-free", "jobs-test"

_PROGRESS_EVERY_SECONDS = 1.0
_SLOT_POLL_SECONDS = 0.5
_OUTAGE_PAUSE_SECONDS = 5.0
_PAUSE_SECONDS_MAX = 10.0
#: A job starts so much later at most.
_POLL_SECONDS = 0.2
#: A call that lost its worker is tried so often, one that reached its time limit twice.
_LOSSES_MAX = 3
_TIMEOUTS_MAX = 2
#: Larger intermediates are compressed: 16 megapixels with transparency.
_RAW_BYTES_MAX = 64 << 20
#: A job whose process died so often may be what kills it.
_PROCESS_LOSSES_MAX = 10

log = structlog.get_logger()


@dataclass(frozen=True)
class _Ended:
    """Nothing is left to do."""


@dataclass(frozen=True)
class _Pause:
    """Try again later."""

    seconds: float


@dataclass(frozen=True)
class _Claimed:
    """This process runs the job now: the values of its row, which has been detached."""

    job: Job
    admitted: Admitted
    plan: PlanName


def queue_of(plan: PlanName, *, is_test: bool) -> str:
    """Jobs of test keys have a queue of their own, so that none of them is before anybody's billed job."""
    if is_test:
        return _TEST_QUEUE
    return _PAID_QUEUE if PLANS[plan].paid else _FREE_QUEUE


def register(services: Services) -> None:
    """Let the engine of this process run jobs."""
    runner = JobRunner(services)
    workers = max(1, services.backend.worker_count)
    # More than the workers take, so that jobs whose account has no slot do not keep others from them. A free
    # account runs one job at a time anyway.
    claims = 2 * workers + 4
    services.engine.register(
        TaskKind(KIND, runner.run, unfinished),
        TaskQueue(
            _PAID_QUEUE, concurrency=claims, partition_concurrency=workers + 1, poll_seconds=_POLL_SECONDS
        ),
        TaskQueue(_FREE_QUEUE, concurrency=claims, partition_concurrency=1, poll_seconds=_POLL_SECONDS),
        TaskQueue(_TEST_QUEUE, concurrency=claims, partition_concurrency=1, poll_seconds=_POLL_SECONDS),
    )


def unfinished(session: Session, after: str, limit: int) -> list[Task]:
    """See `TaskKind`."""
    open_statuses = (JobStatus.QUEUED.value, JobStatus.RUNNING.value)
    statement = (
        select(Job.id, Job.account_id, Account.plan, Job.is_test)
        .join(Account, col(Account.id) == col(Job.account_id))
        .where(col(Job.status).in_(open_statuses), col(Job.id) > after)
        .order_by(col(Job.id))
        .limit(limit)
    )
    return [
        Task(job_id, queue_of(PlanName(plan), is_test=is_test), account_id)
        for job_id, account_id, plan, is_test in session.exec(statement)
    ]


class JobRunner:
    """Runs the jobs of one process."""

    def __init__(self, services: Services) -> None:
        self._services = services
        workers = max(1, services.backend.worker_count)
        self._turns = {queue: asyncio.Semaphore(workers) for queue in (_PAID_QUEUE, _FREE_QUEUE, _TEST_QUEUE)}

    async def run(self, job_id: str) -> None:
        """Return when the job has ended, by this run or another one. Cancelling this leaves it unfinished."""
        while True:
            try:
                outcome = await self._try(job_id)
            except ServiceUnavailable:
                outcome = _Pause(_OUTAGE_PAUSE_SECONDS)
            except Exception:
                log.exception("a job could not be run; it is tried again", job_id=job_id)
                outcome = _Pause(_PAUSE_SECONDS_MAX)
            if isinstance(outcome, _Ended):
                return
            await asyncio.sleep(outcome.seconds)

    async def _try(self, job_id: str) -> _Ended | _Pause:
        services = self._services
        queue = await services.database.read(lambda session: _queue_if_unfinished(session, job_id))
        if queue is None:
            return _Ended()
        async with self._turns[queue]:
            if services.engine.is_stopping:
                return _Pause(_PAUSE_SECONDS_MAX)
            outcome = await services.database.run(lambda session: _claim(session, services, job_id))
            if isinstance(outcome, _Claimed):
                return await self._trace_claimed(outcome)
            return outcome

    async def _trace_claimed(self, claimed: _Claimed) -> _Ended | _Pause:
        tracer, job = self._services.tracer, claimed.job
        if tracer is None:
            return await self._run_claimed(claimed)
        with tracer.job(
            job.tool,
            job_id=job.id,
            request_id=job.request_id,
            run=job.runs,
            batch_id=job.batch_id,
            batch_item_id=job.batch_item_id,
            age_seconds=(self._services.clock() - job.created_at).total_seconds(),
        ):
            return await self._run_claimed(claimed)

    async def _run_claimed(self, claimed: _Claimed) -> _Ended | _Pause:
        services, job = self._services, claimed.job
        settlement = _JobSettlement(services, job.id, job.runs)
        try:
            request = await _request_of(services, claimed)
        except Exception as error:
            await services.database.run(lambda session, why=error: settlement.give_up(session, why))  # type: ignore[misc]
            return self._after(claimed, settlement, error)
        reporter = _ProgressReporter(services, job)
        waiter = CallWaiter()
        call = services.running.start(
            call_spans.traced(
                services,
                request,
                lambda: execution.execute(
                    services, request, claimed.admitted, waiter, reporter.receive, settlement
                ),
            )
        )
        reporting = asyncio.create_task(reporter.run())
        try:
            await asyncio.shield(call)
        except CallFailed as failed:
            return self._after(claimed, settlement, failed.error)
        except asyncio.CancelledError:
            # The process ends. Stopping the call lets the job wait again.
            waiter.stop()
            await asyncio.wait({call})
            raise
        finally:
            reporting.cancel()
        return _Ended()

    def _after(self, claimed: _Claimed, settlement: "_JobSettlement", error: Exception) -> _Pause:
        """Look again, because the settling transaction may have been lost or overtaken."""
        if self._services.tracer is not None:
            self._services.tracer.failed(error)
        if settlement.waits_again:
            seconds = getattr(error, "retry_after_seconds", None) or 1
            return _Pause(min(seconds, _PAUSE_SECONDS_MAX))
        if settlement.has_failed:
            _log_failure(self._services, claimed, error)
        return _Pause(0.0)


class _JobSettlement:
    """What the settling of a job's call changes in the job. See `execution.Settlement`."""

    def __init__(self, services: Services, job_id: str, run: int) -> None:
        self._services = services
        self._job_id = job_id
        self._run = run
        self.waits_again = False
        self.has_failed = False

    def succeeded(self, session: Session) -> None:
        job = self._own_job(session)
        if job is None:
            raise LeaseLost("another run of the job has taken it over")
        transitions.succeed(session, job, self._services.clock(), engine=self._services.engine)

    def failed(self, session: Session, error: Exception) -> bool:
        self.waits_again = self.has_failed = False  # The transaction may be repeated.
        job = self._own_job(session)
        if job is None:
            return False  # It was cancelled or deleted, or another run has taken it over, with its hold.
        if not self._is_hopeless(job, error) and ledger.put_back(
            session,
            job.hold_id,
            lease_owner=self._services.lease_owner,
            lease_until=transitions.waits_until(job),
        ):
            transitions.wait_again(job, lost=_is_loss(error))
            self.waits_again = True
            return False
        transitions.fail(session, job, error, self._services.clock(), engine=self._services.engine)
        self.has_failed = True
        return True

    def give_up(self, session: Session, error: Exception) -> None:
        """Settle a job whose call could not even begin."""
        job = transitions.locked(session, self._job_id)
        if job is not None and self.failed(session, error):
            ledger.release(session, job.hold_id, now=self._services.clock())
            idempotency.forget_running(session, job.hold_id)

    def _own_job(self, session: Session) -> Job | None:
        job = session.get(Job, self._job_id, populate_existing=True)
        is_own = job is not None and job.status == JobStatus.RUNNING and job.runs == self._run
        return job if is_own else None

    def _is_hopeless(self, job: Job, error: Exception) -> bool:
        """Whether trying again would end the same way."""
        if self._services.engine.is_stopping:
            return not is_retryable(error)
        if not is_retryable(error):
            return True
        if isinstance(error, TimedOut):
            return job.losses + 1 >= _TIMEOUTS_MAX
        return _is_loss(error) and job.losses + 1 >= _LOSSES_MAX


class _ProgressReporter:
    """Writes a running job's progress into its row, at most once a second."""

    def __init__(self, services: Services, job: Job) -> None:
        self._services = services
        self._job = job
        self._latest: Progress | None = None

    def receive(self, progress: Progress) -> None:
        """Called from a thread of the backend."""
        self._latest = progress

    async def run(self) -> None:
        written: tuple[Progress | None, float | None] = (None, None)
        while True:
            await asyncio.sleep(_PROGRESS_EVERY_SECONDS)
            call = self._services.running.find(self._job.replay_id)
            current = (self._latest, None if call is None else call.expected_seconds)
            if current == written or current[0] is None:
                continue
            try:
                await self._services.database.run(lambda session, now=current: self._write(session, *now))  # type: ignore[misc]
            except ServiceUnavailable:
                continue
            written = current

    def _write(self, session: Session, progress: Progress, expected_seconds: float | None) -> None:
        running = (
            col(Job.id) == self._job.id,
            col(Job.runs) == self._job.runs,
            col(Job.status) == JobStatus.RUNNING,
        )
        values: dict[str, object] = {
            "stage": progress.stage,
            "fraction": progress.fraction,
            "version": col(Job.version) + 1,
        }
        if expected_seconds is not None:
            values["expected_seconds"] = expected_seconds
        session.execute(
            update(Job).where(*running).values(**values).execution_options(synchronize_session=False)
        )


def _queue_if_unfinished(session: Session, job_id: str) -> str | None:
    statement = (
        select(Account.plan, Job.is_test)
        .join(Job, col(Job.account_id) == col(Account.id))
        .where(Job.id == job_id, col(Job.finished_at).is_(None))
    )
    found = session.exec(statement).first()
    return None if found is None else queue_of(PlanName(found[0]), is_test=found[1])


def _claim(session: Session, services: Services, job_id: str) -> _Claimed | _Ended | _Pause:
    """Take up the job, if it waits for that and its account has a slot."""
    now = services.clock()
    job = transitions.locked(session, job_id)
    if job is None or JobStatus(job.status).is_final:
        return _Ended()
    account = session.get_one(Account, job.account_id)
    held = session.get_one(Hold, job.hold_id, populate_existing=True)
    is_waiting = held.lease_owner == ledger.WAITING
    if not is_waiting and held.lease_until > now:
        # Another process runs it, or this one does, under a task that was claimed twice.
        return _Pause(LEASE_SECONDS / 3)
    if account.closed_at is not None:
        closed = AccountClosed("the account was closed")
        transitions.fail_and_release(session, job, closed, now, engine=services.engine)
        return _Ended()
    if account.suspended_at is not None:
        transitions.end_suspended(session, job, now, engine=services.engine)
        return _Ended()
    if not is_waiting:
        transitions.wait_again(job, lost=True)
    if now >= transitions.waits_until(job) or job.losses >= _PROCESS_LOSSES_MAX:
        error = WorkerLost("The job was interrupted too often. Nothing was charged.")
        transitions.fail_and_release(session, job, error, now, engine=services.engine)
        return _Ended()
    plan = PlanName(account.plan)
    jobs_at_once = max(1, PLANS[plan].concurrent_calls - 1)
    has_slot = (
        call_holds.has_test_slot(session, account.id, now)
        if job.is_test
        else call_holds.has_slot(session, account, jobs_at_once, now)
    )
    if not has_slot:
        return _Pause(_SLOT_POLL_SECONDS)
    lease_until = now + timedelta(seconds=LEASE_SECONDS)
    if not ledger.take_up(
        session, job.hold_id, lease_owner=services.lease_owner, lease_until=lease_until, now=now
    ):
        return _Pause(_SLOT_POLL_SECONDS)
    transitions.start(job, now)
    rate = admission.rate_of(account, now, services.test_rate_of(job.is_test))
    admitted = Admitted(job.account_id, job.hold_id, job.replay_id, True, rate, account.available)
    session.flush()
    return _Claimed(Job(**job.model_dump()), admitted, plan)


async def _request_of(services: Services, claimed: _Claimed) -> CallRequest:
    """The call of a job. Raises `NotFound` for a deleted image, `InvalidParameter`."""
    job = claimed.job
    recorded = Inputs.from_json(job.inputs)
    files = await inputs.read(services, job.account_id, recorded)
    tool = TOOLS[job.tool]
    assert job.params is not None
    try:
        params = await asyncio.to_thread(tool.params.model_validate_json, job.params)
    except ValidationError as error:
        # Accepted by a version of this program with other parameters.
        name = str((error.errors()[0]["loc"] or ("parameters",))[-1])
        raise InvalidParameter(name, f"{name}: this value is not supported any more.") from error
    return CallRequest(
        request_id=job.request_id,
        account_id=job.account_id,
        priority=_priority_of(claimed),
        tool=tool,
        params=params,
        files=files,
        base_url=job.base_url,
        idempotency_key=job.id,
        key_id=job.key_id,
        person_id=job.person_id,
        is_test=job.is_test,
        source_id=recorded.source_id,
        id_fields=recorded.id_fields,
        is_job=True,
        chaining=await _chaining_of(services, job.account_id, recorded),
        goes_on=recorded.goes_on,
    )


async def _chaining_of(services: Services, account_id: str, recorded: Inputs) -> Chaining | None:
    if recorded.steps_left is None:
        return None
    # Half of the account's storage is left to results, so that large pictures between steps cannot fill it.
    room = await images.room_bytes(services, account_id) - services.account_storage_bytes // 2
    room_for_each = max(0, room) // max(1, services.backend.worker_count)
    return Chaining(recorded.steps_left == 0, raw_bytes_max=min(_RAW_BYTES_MAX, room_for_each))


def _is_loss(error: Exception) -> bool:
    """Whether the call itself may be at fault."""
    return isinstance(error, WorkerLost | OutOfMemory | TimedOut) or status_and_code(error)[0] == 500


def _log_failure(services: Services, claimed: _Claimed, error: Exception) -> None:
    job = claimed.job
    record = call_log.refused(
        error,
        request_id=job.request_id,
        account_id=job.account_id,
        key_id=job.key_id,
        person_id=job.person_id,
        tool=job.tool,
        started_at=job.started_at or job.created_at,
        now=services.clock(),
    )
    services.call_log.enqueue(record, _priority_of(claimed))


def _priority_of(claimed: _Claimed) -> Priority:
    return Priority.GUEST if claimed.job.is_test else priority_of(claimed.plan)
