"""How a batch goes on: one short transaction at a time, each with at most a few jobs.

Functions take a session and never commit. An item's step becomes a job together with its credit and its
task, so that none exists without the others; what was counted twice by two processes is decided by the
account's lock.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, func, or_, select

from api.auth import api_keys
from api.auth.models import ApiKey
from api.batches import descriptions, steps, transitions
from api.batches.models import Batch, BatchItem, BatchStatus, ItemStatus
from api.batches.steps import StoredStep
from api.calls import call_holds, idempotency
from api.calls.idempotency import RetryKind
from api.durable.tasks import Task, TaskQueue
from api.images.models import Image
from api.jobs import runs
from api.jobs.inputs import Inputs
from api.jobs.models import Job
from api.jobs.transitions import PATIENCE as JOB_PATIENCE
from api.services import Services
from billing.errors import AddressUnverified, InsufficientCredits
from billing.identifiers import new_id
from billing.ledger import budgets, ledger
from billing.ledger.models import Account, Budget, BudgetMonth
from billing.ledger.plans import PlanName

KIND = "batch"
#: Of an account's batches, two are looked after at a time in each process. The others wait.
QUEUE = TaskQueue("batches", concurrency=128, partition_concurrency=2, poll_seconds=0.5)
#: The most jobs of one batch that wait or run, however many workers there are.
_JOBS_MAX = 64
_JOBS_MIN = 8
#: How long `advance` may be put off if nothing seems to have changed.
ADVANCE_EVERY_SECONDS = 5.0
_FETCHES = 8
#: As many credits as a batch that costs nothing seems to have.
_FREE_OF_CHARGE = 1_000_000


@dataclass(frozen=True)
class Fetch:
    """An item whose image is to be fetched."""

    item_id: str
    url: str


@dataclass(frozen=True)
class Advanced:
    """What `advance` left to do: nothing, or to fetch images and to come again once jobs have ended."""

    is_over: bool
    account_id: str = ""
    plan: PlanName = PlanName.FREE
    fetches: tuple[Fetch, ...] = ()


_OVER = Advanced(is_over=True)


def task_of(batch: Batch) -> Task:
    """The task of the batch's latest activation. A workflow's id cannot be used twice."""
    return Task(f"{batch.id}-{batch.activation}", QUEUE.name, batch.account_id)


def enqueue(session: Session, services: Services, batch: Batch) -> None:
    """Let the engine go on with the batch, after `engine.prepare`. Call `engine.wake` after the commit."""
    services.engine.enqueue(session, KIND, task_of(batch))


def advance(session: Session, services: Services, batch_id: str, activation: int) -> Advanced:
    """Record what has ended, and give the next items jobs."""
    now = services.clock()
    batch = transitions.locked(session, batch_id)
    if batch is None or batch.activation != activation or BatchStatus(batch.status).has_ended:
        return _OVER
    account = session.get_one(Account, batch.account_id)
    if account.closed_at is not None:
        transitions.cancel(session, batch, now)
        return _OVER
    transitions.harvest(session, batch, now)
    counts = descriptions.counts(session, batch_id)
    plan = PlanName(account.plan)
    if not counts[ItemStatus.QUEUED] + counts[ItemStatus.RUNNING]:
        # Also a paused one, whose last steps have ended: otherwise its end would never be announced.
        transitions.complete(session, batch, now, engine=services.engine)
        return _OVER
    if batch.status == BatchStatus.PAUSED:
        return Advanced(is_over=not counts[ItemStatus.RUNNING], account_id=account.id, plan=plan)
    if account.suspended_at is not None:
        if counts[ItemStatus.RUNNING]:
            return Advanced(False, account.id, plan)
        transitions.block(batch)
        return _OVER
    batch.status = BatchStatus.RUNNING
    batch.started_at = batch.started_at or now
    ledger.refresh(session, account, now)
    room = jobs_at_once(services) - counts[ItemStatus.RUNNING]
    started = _start_jobs(session, services, batch, account, room, now)
    credits = _credits_of(session, batch, account, now)
    if credits < 1 and not started and not counts[ItemStatus.RUNNING]:
        transitions.block(batch)
        return _OVER
    fetches = _next_fetches(session, services, batch) if credits > 0 else ()
    return Advanced(False, account.id, plan, fetches)


def take_turns(session: Session, services: Services, batch_id: str, activation: int) -> None:
    """Put an unfinished batch at the end of the queue, with a task of its own: others may wait for long."""
    batch = transitions.locked(session, batch_id)
    if batch is None or batch.activation != activation or BatchStatus(batch.status).has_ended:
        return
    batch.activation += 1
    enqueue(session, services, batch)


def unblock(session: Session, services: Services, batch_id: str) -> bool:
    """Go on with a blocked batch if its account has credits again and is not suspended."""
    batch = transitions.locked(session, batch_id)
    if batch is None or batch.status != BatchStatus.BLOCKED:
        return False
    account = session.get_one(Account, batch.account_id)
    if account.closed_at is not None or account.suspended_at is not None:
        return False
    now = services.clock()
    ledger.refresh(session, account, now)
    if _credits_of(session, batch, account, now) < 1:
        return False
    transitions.activate(batch, now)
    enqueue(session, services, batch)
    return True


def jobs_at_once(services: Services) -> int:
    """How many jobs a batch has at once: enough for every worker, and few beside another batch's."""
    return min(_JOBS_MAX, max(_JOBS_MIN, 4 * services.backend.worker_count))


def _credits_of(session: Session, batch: Batch, account: Account, now: datetime) -> int:
    """How many credits the batch could still hold: those of its account, within the limit of its key."""
    if batch.is_test:
        return _FREE_OF_CHARGE
    budget_id = api_keys.budget_id_of_id(session, batch.key_id)
    limit = None if budget_id is None else budgets.limit_of(session, budget_id)
    if budget_id is None or limit is None:
        return account.available
    return min(account.available, limit - budgets.used(session, budget_id, now))


def _start_jobs(
    session: Session, services: Services, batch: Batch, account: Account, room: int, now: datetime
) -> int:
    listed: list[StoredStep] = []
    started = 0
    budget_id = api_keys.budget_id_of_id(session, batch.key_id)
    for item in _next_items(session, batch, _credits_of(session, batch, account, now), room):
        listed = listed or steps.from_json(batch.steps)
        try:
            _start_job(session, services, batch, item, listed[item.steps_done], account, budget_id, now)
        except (InsufficientCredits, AddressUnverified):
            break
        started += 1
    return started


def _next_items(session: Session, batch: Batch, credits: int, room: int) -> list[BatchItem]:
    """The items that get the next jobs: up to `room`, those that have begun first.

    No more are begun than the credits suffice for, so that they do not run out with many items half done and
    none finished. If they suffice for none, one is begun once the others have ended.
    """
    has_image = or_(col(BatchItem.source_id).is_not(None), col(BatchItem.image_id).is_not(None))
    waiting = (
        select(BatchItem)
        .where(BatchItem.batch_id == batch.id, BatchItem.status == ItemStatus.QUEUED, has_image)
        .order_by(col(BatchItem.position))
        .execution_options(populate_existing=True)
    )
    if batch.step_count == 1:
        return list(session.exec(waiting.limit(max(0, room))))
    begun = list(session.exec(waiting.where(col(BatchItem.steps_done) > 0).limit(max(0, room))))
    left = func.coalesce(func.sum(batch.step_count - col(BatchItem.steps_done)), 0)
    of_batch = BatchItem.batch_id == batch.id
    running, needed_by_running = session.exec(
        select(func.count(), left - func.count()).where(of_batch, BatchItem.status == ItemStatus.RUNNING)
    ).one()
    needed_by_begun = session.exec(
        select(left).where(of_batch, BatchItem.status == ItemStatus.QUEUED, col(BatchItem.steps_done) > 0)
    ).one()
    affordable = (credits - needed_by_running - needed_by_begun) // batch.step_count
    if affordable < 1 and not begun and not running:
        affordable = 1
    new = waiting.where(BatchItem.steps_done == 0).limit(max(0, min(room - len(begun), affordable)))
    return begun + list(session.exec(new))


def _start_job(
    session: Session,
    services: Services,
    batch: Batch,
    item: BatchItem,
    step: StoredStep,
    account: Account,
    budget_id: str | None,
    now: datetime,
) -> None:
    request_id = new_id("req")
    held = call_holds.hold(
        session,
        account,
        request_id=request_id,
        lease_owner=ledger.WAITING,
        lease_seconds=JOB_PATIENCE.total_seconds(),
        now=now,
        budget_id=budget_id,
        is_test=batch.is_test,
    )
    job_id = new_id("job")
    replay_id = idempotency.begin(
        session,
        account_id=account.id,
        key=RetryKind.JOB + job_id,
        fingerprint=job_id,
        hold_id=held.id,
        now=now,
    )
    image_id = item.image_id or item.source_id
    assert image_id is not None
    files = {"image": image_id, **step.stored_ids}
    steps_left = None if batch.step_count == 1 else batch.step_count - item.steps_done - 1
    session.add(
        Job(
            id=job_id,
            account_id=account.id,
            key_id=batch.key_id,
            person_id=batch.person_id,
            is_test=batch.is_test,
            request_id=request_id,
            tool=step.tool,
            params=step.params,
            params_bytes=len(step.params),
            inputs=Inputs(files, steps_left=steps_left, goes_on=item.steps_done > 0).as_json(),
            base_url=batch.base_url,
            hold_id=held.id,
            replay_id=replay_id,
            answer_id=replay_id,  # no request waits for this job
            created_at=now,
            expires_at=now + JOB_PATIENCE,
            batch_id=batch.id,
            batch_item_id=item.id,
            result_kept_until=transitions.kept_until(batch),
        )
    )
    item.status = ItemStatus.RUNNING
    item.job_id = job_id
    session.flush()
    queue = runs.queue_of(PlanName(account.plan), is_test=batch.is_test)
    services.engine.enqueue(session, runs.KIND, Task(job_id, queue, account.id))


def _next_fetches(session: Session, services: Services, batch: Batch) -> tuple[Fetch, ...]:
    """The next images to fetch; none while there are enough for the next jobs, so that few are stored."""
    queued = (BatchItem.batch_id == batch.id, BatchItem.status == ItemStatus.QUEUED)
    ready = select(BatchItem.id).where(*queued, col(BatchItem.source_id).is_not(None))
    if len(session.exec(ready.limit(jobs_at_once(services))).all()) >= jobs_at_once(services):
        return ()
    missing = (
        select(BatchItem.id, BatchItem.url)
        .where(*queued, col(BatchItem.source_id).is_(None), col(BatchItem.url).is_not(None))
        .order_by(col(BatchItem.position))
        .limit(_FETCHES)
    )
    return tuple(Fetch(item_id, url or "") for item_id, url in session.exec(missing))


def record_source(session: Session, batch_id: str, item_id: str, image: Image) -> bool:
    """Record the fetched image of an item that still waits for it."""
    item = _waiting_item(session, batch_id, item_id)
    if item is None:
        return False
    session.add(image)
    item.source_id = image.id
    return True


def record_failure(session: Session, batch_id: str, item_id: str, error: str, now: datetime) -> None:
    """Record that the image of an item could not be fetched."""
    item = _waiting_item(session, batch_id, item_id)
    if item is not None:
        transitions.fail_item(item, error, now)


def _waiting_item(session: Session, batch_id: str, item_id: str) -> BatchItem | None:
    if transitions.locked(session, batch_id) is None:
        return None
    item = session.get(BatchItem, item_id, populate_existing=True)
    is_waiting = item is not None and item.status == ItemStatus.QUEUED and item.source_id is None
    return item if is_waiting else None


def due(session: Session, now: datetime, limit: int) -> list[str]:
    """Blocked batches that may have credits again: of their account, within the limit of their key."""
    period_began = col(Account.subscription_id).is_(None) & (col(Account.period_ends_at) <= now)
    this_month = col(BudgetMonth.id) == col(Budget.id) + f":{budgets.month_of(now)}"
    has_room = or_(
        col(Budget.monthly_limit).is_(None),
        func.coalesce(BudgetMonth.used, 0) < col(Budget.monthly_limit),
    )
    statement = (
        select(Batch.id)
        .join(Account, col(Account.id) == col(Batch.account_id))
        .join(ApiKey, col(ApiKey.id) == col(Batch.key_id), isouter=True)
        .join(Budget, col(Budget.id) == col(ApiKey.family_id), isouter=True)
        .join(BudgetMonth, this_month, isouter=True)
        .where(
            Batch.status == BatchStatus.BLOCKED,
            col(Account.closed_at).is_(None),
            col(Account.suspended_at).is_(None),
            or_(col(Account.available) > 0, period_began),
            has_room,
        )
        .limit(limit)
    )
    return list(session.exec(statement))


def unfinished(session: Session, after: str, limit: int) -> list[Task]:
    """See `TaskKind`. Blocked batches are not due; paused ones are until their last job has ended."""
    has_job = (
        select(BatchItem.id)
        .where(BatchItem.batch_id == Batch.id, BatchItem.status == ItemStatus.RUNNING)
        .exists()
    )
    going_on = col(Batch.status).in_([BatchStatus.QUEUED.value, BatchStatus.RUNNING.value])
    statement = (
        select(Batch)
        .where(or_(going_on, (col(Batch.status) == BatchStatus.PAUSED.value) & has_job))
        .where(col(Batch.id) > after.partition("-")[0])
        .order_by(col(Batch.id))
        .limit(limit)
    )
    return [task_of(batch) for batch in session.exec(statement)]


def may_advance(session: Session, batch_id: str, activation: int) -> bool:
    """Whether `advance` would find something to do, besides what it left to be fetched."""
    ended = select(Job.id).where(Job.batch_id == batch_id, col(Job.finished_at).is_not(None)).limit(1)
    if session.exec(ended).first() is not None:
        return True
    found = session.exec(select(Batch.activation).where(Batch.id == batch_id)).first()
    return found != activation
