"""How a batch goes on: few jobs at a time, each with a credit, in whichever process and however often."""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import pytest
from sqlmodel import Session, col, delete, func, select

from api.batches import descriptions, progress
from api.batches import service as batches
from api.batches.models import Batch, BatchItem, BatchStatus, ItemStatus
from api.batches.progress import Advanced, Fetch
from api.batches.transitions import PATIENCE
from api.calls.models import Replay
from api.errors import NotFound
from api.images.models import EXPIRED_KEPT, Image, ImageKind
from api.jobs.inputs import Inputs
from api.jobs.models import Job
from billing.ledger import accounts, ledger
from billing.ledger.audit import audit
from billing.ledger.models import Account, Entry, EntryKind, GrantKind, Hold, HoldStatus
from billing.ledger.plans import PlanName
from billing.subscriptions import packs
from billing.subscriptions.types import CustomerFacts, PackFacts
from ml.errors import NothingFound, WorkerLost
from tests.support.apps import LocalApi, local_api
from tests.support.batch_rows import STEPS, end_job, make_batch, make_image
from tests.support.load import account_with

T = TypeVar("T")
HOUR = timedelta(hours=1)


class Work:
    """A batch of ten images of an account, whose jobs end when a test says so."""

    def __init__(self, api: LocalApi, credits: int = 20, plan: PlanName = PlanName.BUSINESS) -> None:
        self.api = api
        self.services = api.services
        api.call(api.services.engine.prepare)

        def create(session: Session) -> tuple[str, str]:
            account = account_with(session, credits, plan, api.clock())
            return account.id, make_batch(
                session, account.id, api.clock(), [f"{n}.png" for n in range(10)]
            ).id

        self.account_id, self.batch_id = self.run(create)

    def run(self, work: Callable[[Session], T]) -> T:
        return self.services.database.submit(work).result()

    def add_step(self) -> None:
        def add(session: Session) -> None:
            batch = session.get_one(Batch, self.batch_id)
            batch.steps, batch.step_count = STEPS[:-1] + b"," + STEPS[1:], 2

        self.run(add)

    def batch(self) -> Batch:
        return self.run(lambda session: session.get_one(Batch, self.batch_id))

    def advance(self, activation: int | None = None) -> Advanced:
        number = activation or self.batch().activation
        return self.run(lambda session: progress.advance(session, self.services, self.batch_id, number))

    def jobs(self) -> list[Job]:
        return self.run(
            lambda session: list(
                session.exec(select(Job).where(Job.batch_id == self.batch_id).order_by(Job.id))
            )
        )

    def end(self, job: Job, error: Exception | None = None) -> str | None:
        now = self.api.clock()
        return self.run(lambda session: end_job(session, session.get_one(Job, job.id), now, error))

    def end_all(self) -> None:
        for job in self.jobs():
            self.end(job)

    def counts(self) -> Counter[ItemStatus]:
        return self.run(lambda session: descriptions.counts(session, self.batch_id))

    def balance(self) -> tuple[int, int]:
        def read(session: Session) -> tuple[int, int]:
            assert audit(session) == []
            account = session.get_one(Account, self.account_id)
            return account.available, account.held

        return self.run(read)

    def give(self, credits: int) -> None:
        def grant(session: Session) -> None:
            account = session.get_one(Account, self.account_id)
            ledger.grant(
                session,
                account,
                kind=GrantKind.GOODWILL,
                amount=credits,
                reference=f"gift:{self.batch_id}:{credits}",
                expires_at=None,
                now=self.api.clock(),
            )

        self.run(grant)

    def due(self) -> list[str]:
        return self.run(lambda session: progress.due(session, self.api.clock(), 10))

    def unblock(self) -> bool:
        return self.run(lambda session: progress.unblock(session, self.services, self.batch_id))


@pytest.fixture
def api(tmp_path: Path, migrated_database_url: str) -> Iterator[LocalApi]:
    with local_api(tmp_path, database_url=migrated_database_url) as opened:
        yield opened


def test_a_batch_has_few_jobs_at_a_time_and_each_image_is_charged_once(api: LocalApi) -> None:
    work = Work(api)
    limit = progress.jobs_at_once(api.services)
    assert limit == 8
    for _ in range(2):  # Twice is once.
        assert not work.advance().is_over
        assert len(work.jobs()) == limit
    assert work.balance() == (12, 8)
    first = work.jobs()[0]
    result = work.end(first)
    work.advance()
    assert len(work.jobs()) == limit
    assert work.counts() == {ItemStatus.SUCCEEDED: 1, ItemStatus.RUNNING: 8, ItemStatus.QUEUED: 1}
    work.end_all()
    assert not work.advance().is_over
    work.end_all()
    assert work.advance().is_over
    assert (work.batch().status, work.jobs()) == (BatchStatus.COMPLETED, [])
    assert work.balance() == (10, 0)

    def captures(session: Session) -> int:
        return session.exec(select(func.count()).where(Entry.kind == EntryKind.CAPTURE)).one()

    def left(session: Session) -> tuple[int, list[str]]:
        kept = select(Image.id).where(col(Image.expires_at) > api.clock())
        return len(session.exec(select(Replay.id)).all()), list(session.exec(kept))

    assert work.run(captures) == 10
    replays, images = work.run(left)
    # Nothing is left but the items and their results.
    assert (replays, len(images), result in images) == (0, 10, True)


def test_processes_that_go_on_with_a_batch_at_once_give_no_image_two_jobs(api: LocalApi) -> None:
    work = Work(api)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: work.advance(1), range(8)))
    jobs = work.jobs()
    assert len({job.batch_item_id for job in jobs}) == len(jobs) == 8
    assert work.balance() == (12, 8)


def test_only_the_latest_activation_acts(api: LocalApi) -> None:
    work = Work(api)
    assert work.advance(2).is_over
    assert work.jobs() == []
    tasks = work.run(lambda session: progress.unfinished(session, "", 10))
    assert [task.id for task in tasks] == [f"{work.batch_id}-1"]
    assert work.run(lambda session: progress.unfinished(session, tasks[0].id, 10)) == []


def test_a_turn_ends_with_another_task_for_the_same_batch(api: LocalApi) -> None:
    work = Work(api)
    for _ in range(2):  # Twice is once.
        work.run(lambda session: progress.take_turns(session, api.services, work.batch_id, 1))
    assert work.batch().activation == 2
    assert work.advance(1).is_over
    assert not work.advance(2).is_over


def test_a_stored_image_is_kept_while_any_item_waits_for_it_and_then_as_before(api: LocalApi) -> None:
    first, second = Work(api), Work(api)
    before = api.clock() + 48 * HOUR

    def share(session: Session) -> str:
        image = make_image(session, first.account_id, api.clock())
        for work in (first, second):
            for item in session.exec(select(BatchItem).where(BatchItem.batch_id == work.batch_id)):
                item.source_id, item.is_source_own, item.source_expires_at = image.id, False, before
        return image.id

    image_id = first.run(share)

    def expires_at() -> object:
        return first.run(lambda session: session.get_one(Image, image_id).expires_at)

    kept = expires_at()
    api.call(batches.cancel, api.services, first.account_id, first.batch_id)
    assert expires_at() == kept
    second.advance()
    second.end_all()
    second.advance()
    assert expires_at() == kept
    second.end_all()
    assert second.advance().is_over
    assert expires_at() == before


def test_a_stored_image_that_failed_is_kept_for_a_retry_and_not_for_weeks(api: LocalApi) -> None:
    work = Work(api)
    before = api.clock() + 48 * HOUR

    def share(session: Session) -> str:
        image = make_image(session, work.account_id, api.clock())
        for item in session.exec(select(BatchItem).where(BatchItem.batch_id == work.batch_id)):
            item.source_id, item.is_source_own, item.source_expires_at = image.id, False, before
        return image.id

    image_id = work.run(share)
    while not work.advance().is_over:
        for job in work.jobs():
            work.end(job, NothingFound("nothing was found"))
    assert work.run(lambda session: session.get_one(Image, image_id).expires_at) == before
    api.call(batches.retry, api.services, work.account_id, work.batch_id)
    assert work.run(lambda session: session.get_one(Image, image_id).expires_at) > before + 24 * HOUR


def test_cancelling_keeps_nothing_that_steps_handed_on(api: LocalApi) -> None:
    work = Work(api)
    work.add_step()
    work.advance()
    work.end_all()
    work.advance()
    api.call(batches.cancel, api.services, work.account_id, work.batch_id)
    kept = (Image.account_id == work.account_id, col(Image.expires_at) > api.clock())
    assert work.run(lambda session: session.exec(select(Image.id).where(*kept)).all()) == []


@pytest.mark.parametrize(("error", "kept"), [(NothingFound("nothing"), 0), (WorkerLost("gone"), 10)])
def test_an_image_keeps_its_source_and_what_a_step_handed_on_if_the_next_is_worth_another_try(
    api: LocalApi, error: Exception, kept: int
) -> None:
    work = Work(api, credits=40)
    work.add_step()
    while not work.advance().is_over:
        for job in work.jobs():
            work.end(job, error if Inputs.from_json(job.inputs).goes_on else None)
    assert work.counts() == {ItemStatus.FAILED: 10}
    of_kinds = (
        select(Image.kind, func.count()).where(col(Image.expires_at) > api.clock()).group_by(Image.kind)
    )
    both = {ImageKind.UPLOAD: kept, ImageKind.RESULT: kept} if kept else {}
    assert work.run(lambda session: dict(session.exec(of_kinds).all())) == both
    assert work.run(lambda session: descriptions.retryable(session, work.batch_id)) == kept
    api.call(batches.retry, api.services, work.account_id, work.batch_id)
    assert work.counts()[ItemStatus.QUEUED] == kept


def test_credits_run_out_with_finished_images_and_not_with_half_done_ones(api: LocalApi) -> None:
    work = Work(api, credits=7)
    work.add_step()
    while not work.advance().is_over:
        work.end_all()
    assert work.batch().status == BatchStatus.BLOCKED
    # Six credits for three images, and one for the first step of another, as there was nothing else to do.
    assert work.counts() == {ItemStatus.SUCCEEDED: 3, ItemStatus.QUEUED: 7}
    work.give(13)
    assert work.unblock()
    while not work.advance().is_over:
        work.end_all()
    assert work.counts() == {ItemStatus.SUCCEEDED: 10}
    assert work.balance() == (0, 0)


def test_a_batch_that_is_over_is_not_started_again_while_its_rows_are_deleted(api: LocalApi) -> None:
    work = Work(api)
    while not work.advance().is_over:
        for job in work.jobs():
            work.end(job, NothingFound("nothing was found"))
    api.clock.move(hours=24)
    with pytest.raises(NotFound):
        api.call(batches.retry, api.services, work.account_id, work.batch_id)
    assert work.batch().status == BatchStatus.COMPLETED


def test_each_step_works_on_the_former_result_which_goes_then(api: LocalApi) -> None:
    work = Work(api)

    def keep_one(session: Session) -> None:
        later = col(BatchItem.position) > 0
        session.execute(delete(BatchItem).where(col(BatchItem.batch_id) == work.batch_id, later))

    work.add_step()
    work.run(keep_one)
    work.advance()
    (first,) = work.jobs()
    assert Inputs.from_json(first.inputs).steps_left == 1
    former = work.end(first)
    assert not work.advance().is_over
    (second,) = work.jobs()
    assert Inputs.from_json(second.inputs) == Inputs({"image": str(former)}, steps_left=0, goes_on=True)
    result = work.end(second)
    assert work.advance().is_over
    assert work.counts() == {ItemStatus.SUCCEEDED: 1}
    assert work.balance() == (18, 0)
    expiries = work.run(
        lambda session: [session.get_one(Image, image_id).expires_at for image_id in (former, result)]
    )
    assert expiries == [api.clock() - EXPIRED_KEPT, api.clock() + 24 * HOUR]


def test_a_paused_batch_starts_nothing_and_is_completed_once_nothing_is_left(api: LocalApi) -> None:
    work = Work(api)
    work.advance()
    api.call(batches.pause, api.services, work.account_id, work.batch_id)
    work.end_all()
    assert work.advance().is_over
    assert (work.batch().status, len(work.jobs())) == (BatchStatus.PAUSED, 0)
    api.call(batches.resume, api.services, work.account_id, work.batch_id)
    work.advance()
    api.call(batches.pause, api.services, work.account_id, work.batch_id)
    work.end_all()
    assert work.advance().is_over
    assert (work.batch().status, work.counts()) == (BatchStatus.COMPLETED, {ItemStatus.SUCCEEDED: 10})


def test_a_failed_image_does_not_stop_the_others_and_costs_nothing(api: LocalApi) -> None:
    work = Work(api)
    work.advance()
    work.end(work.jobs()[0], NothingFound("nothing was found"))
    work.advance()
    assert work.counts()[ItemStatus.FAILED] == 1
    assert work.counts()[ItemStatus.RUNNING] == 8
    assert work.balance() == (12, 8)


def test_a_batch_is_blocked_without_credits_until_there_are_some(api: LocalApi) -> None:
    work = Work(api, credits=3)
    assert not work.advance().is_over
    assert len(work.jobs()) == 3
    work.end_all()
    assert work.advance().is_over
    assert work.batch().status == BatchStatus.BLOCKED
    assert work.due() == []
    assert not work.unblock()
    assert work.run(lambda session: progress.unfinished(session, "", 10)) == []
    work.give(2)
    assert work.due() == [work.batch_id]
    assert work.unblock()
    assert not work.unblock()  # once
    assert not work.advance().is_over
    assert len(work.jobs()) == 2
    assert work.balance() == (0, 2)


def test_a_blocked_batch_goes_on_when_a_pack_was_bought(api: LocalApi) -> None:
    work = Work(api, credits=3)
    work.advance()
    work.end_all()
    assert work.advance().is_over
    assert work.batch().status == BatchStatus.BLOCKED
    now = api.clock()
    bought = PackFacts("cs_1", 2, 500, "usd", now, now)

    def grant(session: Session) -> list[str]:
        account = accounts.lock(session, work.account_id)
        return packs.apply(session, account, CustomerFacts("cus_1", (), (), (bought,)), 12, now)

    assert work.run(grant) == ["cs_1: 2 credits granted"]
    assert work.due() == [work.batch_id]
    assert work.unblock()
    assert not work.advance().is_over
    assert len(work.jobs()) == 2
    assert work.balance() == (0, 2)


def test_a_blocked_batch_goes_on_when_the_period_begins(api: LocalApi) -> None:
    work = Work(api, credits=1, plan=PlanName.FREE)
    work.advance()
    work.end_all()
    assert work.advance().is_over
    assert work.batch().status == BatchStatus.BLOCKED
    api.clock.move(days=31)
    assert work.due() == [work.batch_id]
    assert work.unblock()
    work.advance()
    assert len(work.jobs()) == 8
    assert work.balance() == (7, 8)


def test_cancelling_releases_every_credit_and_keeps_what_has_succeeded(api: LocalApi) -> None:
    work = Work(api)
    work.advance()
    result = work.end(work.jobs()[0])  # It has ended, but the batch does not know yet.
    data = api.call(batches.cancel, api.services, work.account_id, work.batch_id)
    assert (data["status"], data["counts"]["succeeded"], data["counts"]["cancelled"]) == ("cancelled", 1, 9)
    assert work.balance() == (19, 0)
    assert work.jobs() == []

    def read(session: Session) -> tuple[list[str], int]:
        kept = select(Image.id).where(col(Image.expires_at) > api.clock())
        open_holds = select(func.count()).where(Hold.status == HoldStatus.OPEN)
        return list(session.exec(kept)), session.exec(open_holds).one()

    assert work.run(read) == ([result], 0)


def test_deleting_ends_the_batch_and_keeps_only_what_others_wait_for(api: LocalApi) -> None:
    work, other = Work(api), Work(api)
    work.advance()
    shared = [work.end(job) for job in work.jobs()][1]
    work.advance()

    def wait_for_shared(session: Session) -> None:
        item = session.exec(select(BatchItem).where(BatchItem.batch_id == other.batch_id)).first()
        assert item is not None
        item.source_id, item.is_source_own = shared, False

    work.run(wait_for_shared)
    data = api.call(lambda: batches.delete(api.services, work.account_id, work.batch_id))
    assert (data["status"], data["counts"]["succeeded"]) == ("cancelled", 8)
    assert work.balance() == (12, 0)

    def left(session: Session) -> tuple[int, int, list[str]]:
        kept = select(Image.id).where(
            Image.account_id == work.account_id, col(Image.expires_at) > api.clock()
        )
        of_batch = select(func.count()).where(BatchItem.batch_id == work.batch_id)
        gone = session.get(Batch, work.batch_id)
        return int(gone is not None), session.exec(of_batch).one(), list(session.exec(kept))

    assert work.run(left) == (0, 0, [shared])
    assert work.jobs() == []
    with pytest.raises(NotFound):
        api.call(lambda: batches.delete(api.services, work.account_id, work.batch_id))


def test_a_closed_account_ends_its_batches_and_a_deleted_one_leaves_no_rows(api: LocalApi) -> None:
    work = Work(api)
    other = Work(api)
    work.advance()
    other.advance()
    work.run(lambda session: batches.delete_all(session, work.account_id, api.clock()))
    assert work.balance() == (20, 0)

    def batch_ids(session: Session) -> set[str]:
        return {*session.exec(select(Batch.id)), *session.exec(select(BatchItem.batch_id))}

    assert work.run(batch_ids) == {other.batch_id}

    def close(session: Session) -> None:
        session.get_one(Account, other.account_id).closed_at = api.clock()

    other.run(close)
    assert other.advance().is_over
    assert other.batch().status == BatchStatus.CANCELLED
    assert other.balance() == (20, 0)


def test_results_and_rows_go_when_the_retention_is_over_and_old_batches_are_given_up(api: LocalApi) -> None:
    work = Work(api)
    work.advance()
    work.end_all()
    waiting = Work(api)
    api.call(batches.cancel, api.services, work.account_id, work.batch_id)

    def clean(session: Session) -> int:
        return batches.delete_expired(session, api.clock(), limit=100)

    def rows(session: Session) -> int:
        items = select(func.count()).where(BatchItem.batch_id == work.batch_id)
        return (
            session.exec(items).one()
            + session.exec(select(func.count()).where(Batch.id == work.batch_id)).one()
        )

    api.clock.move(hours=23, minutes=59)
    assert work.run(clean) == 0
    assert work.run(rows) == 11
    api.clock.move(minutes=1)
    while work.run(clean) >= 100:
        pass
    assert work.run(rows) == 0
    assert waiting.batch().status == BatchStatus.QUEUED
    api.clock.now += PATIENCE
    assert work.run(clean) == 100
    assert waiting.batch().status == BatchStatus.CANCELLED


def test_retrying_runs_failed_images_of_an_ended_batch_only(api: LocalApi) -> None:
    work = Work(api)
    work.advance()
    for job in work.jobs()[:2]:
        work.end(job, NothingFound("nothing was found"))
    for job in work.jobs():
        if job.finished_at is None:
            work.end(job)
    work.advance()
    work.end_all()
    assert work.advance().is_over
    before = work.batch()
    data = api.call(batches.retry, api.services, work.account_id, work.batch_id)
    assert (data["counts"]["succeeded"], data["counts"]["queued"]) == (8, 2)
    assert work.batch().activation == before.activation + 1
    work.advance()
    assert len(work.jobs()) == 2
    work.end_all()
    assert work.advance().is_over
    assert work.balance() == (10, 0)
    assert api.call(batches.retry, api.services, work.account_id, work.batch_id)["status"] == "completed"


def test_images_are_fetched_a_few_at_a_time_and_not_without_credits(api: LocalApi) -> None:
    work = Work(api)

    def name_urls(session: Session) -> None:
        for item in session.exec(select(BatchItem).where(BatchItem.batch_id == work.batch_id)):
            item.url, item.source_id = f"https://example.com/{item.position}.png", None

    work.run(name_urls)
    found = work.advance()
    assert [fetch.url[-5:] for fetch in found.fetches] == [f"{number}.png" for number in range(8)]
    first: Fetch = found.fetches[0]
    failure = '{"code":"INVALID_PARAMETER"}'
    work.run(lambda s: progress.record_failure(s, work.batch_id, first.item_id, failure, api.clock()))
    assert work.counts()[ItemStatus.FAILED] == 1
    assert work.advance().fetches[0].url.endswith("1.png")
