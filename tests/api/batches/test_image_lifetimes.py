"""An image is kept as long as any batch or job needs it, whatever ends, is deleted or is retried before."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

import pytest
from sqlmodel import Session, col, select

from api.batches import progress
from api.batches import service as batches
from api.batches.acceptance import BatchRequest, BatchSource, accept
from api.batches.models import Batch, BatchItem, BatchStatus, BatchStepFile
from api.batches.steps import BatchStep
from api.batches.transitions import PATIENCE, RETENTION_MAX
from api.errors import StorageFull
from api.images.models import Image
from api.jobs.models import Job
from billing.identifiers import new_id
from ml.catalogue import TOOLS
from tests.support.apps import LocalApi, local_api
from tests.support.batch_rows import end_job, make_image
from tests.support.job_rows import make_job
from tests.support.load import account_with

T = TypeVar("T")
HOUR = timedelta(hours=1)
#: What a use of a stored image keeps it.
USED = 25 * HOUR


class Account:
    """An account whose batches are accepted as requests are, and whose jobs end when a test says so."""

    def __init__(self, api: LocalApi) -> None:
        self.api = api
        self.services = api.services
        api.call(api.services.engine.prepare)
        self.id = self.run(lambda session: account_with(session, 50, now=api.clock()).id)

    def run(self, work: Callable[[Session], T]) -> T:
        return self.services.database.submit(work).result()

    def image(self) -> str:
        """A stored image that expires in a day."""

        def make(session: Session) -> str:
            image = make_image(session, self.id, self.api.clock())
            image.expires_at = self.api.clock() + 24 * HOUR
            return image.id

        return self.run(make)

    def batch(self, source_id: str, mask_id: str | None = None, retention: timedelta = 24 * HOUR) -> str:
        """A batch of one image: `crop`, then `brush` with the mask if there is one."""
        crop, brush = TOOLS["crop"], TOOLS["brush"]
        steps = [BatchStep(crop, crop.params.model_validate({"flip": "h"}))]
        if mask_id is not None:
            steps.append(BatchStep(brush, brush.params.model_validate({"op": "blur"}), {"mask": mask_id}))
        return self.accept(steps, [source_id], retention)

    def accept(self, steps: list[BatchStep], source_ids: list[str], retention: timedelta) -> str:
        sources = [BatchSource(f"{number}.png", image_id=each) for number, each in enumerate(source_ids)]
        request = BatchRequest(
            new_id("req"), self.id, None, "http://test", steps, sources, retention, new_id("key")
        )
        accepted = self.api.call(accept, self.services, request)
        assert accepted.data is not None
        return str(accepted.data["batchId"])

    def pause(self, batch_id: str) -> None:
        self.api.call(batches.pause, self.services, self.id, batch_id)

    def resume(self, batch_id: str) -> None:
        self.api.call(batches.resume, self.services, self.id, batch_id)

    def finish(self, batch_id: str, error: Exception | None = None) -> None:
        """Run the batch to its end; its last step fails with `error`."""

        def advance(session: Session) -> bool:
            activation = session.get_one(Batch, batch_id).activation
            return progress.advance(session, self.services, batch_id, activation).is_over

        def end(session: Session) -> None:
            batch = session.get_one(Batch, batch_id)
            for job in session.exec(select(Job).where(Job.batch_id == batch_id)).all():
                item = session.get_one(BatchItem, job.batch_item_id)
                is_last = item.steps_done == batch.step_count - 1
                end_job(session, job, self.api.clock(), error if is_last else None)

        while not self.run(advance):
            self.run(end)
        assert self.run(lambda session: session.get_one(Batch, batch_id).status) == BatchStatus.COMPLETED

    def result(self, batch_id: str) -> str:
        statement = select(BatchItem.image_id).where(BatchItem.batch_id == batch_id)
        return str(self.run(lambda session: session.exec(statement).one()))

    def expires_at(self, image_id: str) -> datetime:
        return self.run(lambda session: session.get_one(Image, image_id).expires_at)

    def kept_for(self, image_id: str) -> timedelta:
        return self.expires_at(image_id) - self.api.clock()


@pytest.fixture
def account(tmp_path: Path, migrated_database_url: str) -> Iterator[Account]:
    with local_api(tmp_path, database_url=migrated_database_url) as api:
        yield Account(api)


@pytest.mark.parametrize("end", ["completed", "cancelled", "deleted"])
def test_the_mask_of_a_waiting_batch_stays_when_another_batch_with_it_ends(
    account: Account, end: str
) -> None:
    mask_id = account.image()
    waiting = account.batch(account.image(), mask_id)
    account.pause(waiting)
    account.api.clock.move(hours=1)
    other = account.batch(account.image(), mask_id)
    if end == "completed":
        account.finish(other)
    else:
        stop = batches.cancel if end == "cancelled" else batches.delete
        account.api.call(stop, account.services, account.id, other)
    assert account.kept_for(mask_id) > 900 * HOUR
    account.resume(waiting)
    account.finish(waiting)
    assert account.kept_for(mask_id) == USED


def test_the_mask_of_a_waiting_batch_stays_when_a_batch_with_it_as_an_image_ends(account: Account) -> None:
    mask_id = account.image()
    earlier = account.batch(mask_id)
    account.pause(earlier)
    waiting = account.batch(account.image(), mask_id)
    account.pause(waiting)
    account.resume(earlier)
    account.finish(earlier)
    assert account.kept_for(mask_id) > 900 * HOUR
    account.resume(waiting)
    account.finish(waiting)
    assert account.kept_for(mask_id) == USED


def test_an_image_of_a_waiting_batch_stays_when_a_batch_with_it_as_a_mask_ends(account: Account) -> None:
    image_id = account.image()
    waiting = account.batch(image_id)
    account.pause(waiting)
    account.finish(account.batch(account.image(), image_id))
    assert account.kept_for(image_id) > 900 * HOUR


@pytest.mark.parametrize("role", ["mask", "image"])
def test_a_deleted_result_stays_while_another_batch_waits_for_it_and_no_longer(
    account: Account, role: str
) -> None:
    made = account.batch(account.image(), retention=168 * HOUR)
    account.finish(made)
    result_id = account.result(made)
    waiting = account.batch(account.image(), result_id) if role == "mask" else account.batch(result_id)
    account.pause(waiting)
    account.api.call(batches.delete, account.services, account.id, made)
    assert account.kept_for(result_id) > 900 * HOUR
    account.resume(waiting)
    account.finish(waiting)
    assert account.kept_for(result_id) == USED


def test_a_result_that_waits_as_a_mask_is_not_shortened_by_the_end_of_its_own_batch(account: Account) -> None:
    crop = TOOLS["crop"]
    steps = [BatchStep(crop, crop.params.model_validate({"flip": "h"}))]
    making = account.accept(steps, [account.image(), account.image()], 2 * HOUR)

    def advance(session: Session) -> None:
        progress.advance(session, account.services, making, session.get_one(Batch, making).activation)

    def end_one(session: Session) -> str | None:
        job = session.exec(select(Job).where(Job.batch_id == making).order_by(col(Job.id))).first()
        assert job is not None
        return end_job(session, job, account.api.clock())

    account.run(advance)
    result_id = str(account.run(end_one))
    account.run(advance)
    waiting = account.batch(account.image(), result_id)
    account.pause(waiting)
    account.finish(making)
    assert account.kept_for(result_id) > 900 * HOUR
    account.resume(waiting)
    account.finish(waiting)
    assert account.kept_for(result_id) == USED


def test_a_used_mask_that_is_a_result_is_kept_as_long_as_its_batch_promised(account: Account) -> None:
    made = account.batch(account.image(), retention=168 * HOUR)
    account.finish(made)
    mask_id = account.result(made)
    for _ in range(2):
        account.finish(account.batch(account.image(), mask_id))
    assert account.kept_for(mask_id) == 168 * HOUR


def test_a_mask_is_kept_as_long_as_failed_images_may_be_retried(account: Account) -> None:
    mask_id, source_id = account.image(), account.image()
    failed = account.batch(source_id, mask_id, retention=168 * HOUR)
    account.finish(failed, StorageFull("full"))
    assert account.kept_for(mask_id) == 168 * HOUR
    # Nor does the end of another batch shorten that, whether it names the mask or the image.
    account.finish(account.batch(account.image(), mask_id))
    account.finish(account.batch(source_id))
    assert (account.kept_for(mask_id), account.kept_for(source_id)) == (168 * HOUR, 168 * HOUR)
    account.api.clock.move(hours=100)
    account.api.call(batches.retry, account.services, account.id, failed)
    assert account.kept_for(mask_id) > 800 * HOUR
    account.finish(failed)
    assert account.kept_for(mask_id) == USED


def test_the_mask_of_a_deleted_batch_is_not_kept_for_a_retry(account: Account) -> None:
    mask_id = account.image()
    failed = account.batch(account.image(), mask_id, retention=168 * HOUR)
    account.finish(failed, StorageFull("full"))
    account.api.call(batches.delete, account.services, account.id, failed)
    assert account.kept_for(mask_id) == USED
    assert account.run(lambda session: session.exec(select(BatchStepFile)).all()) == []


def test_a_deleted_result_stays_until_the_job_that_works_on_it_is_given_up(account: Account) -> None:
    made = account.batch(account.image())
    account.finish(made)
    result_id = account.result(made)

    def accept_job(session: Session) -> datetime:
        return make_job(session, account.id, account.api.clock(), image_id=result_id).expires_at

    given_up_at = account.run(accept_job)
    account.api.call(batches.delete, account.services, account.id, made)
    assert account.expires_at(result_id) == given_up_at + HOUR


def test_a_batch_that_is_retried_late_keeps_its_images_until_it_is_given_up(account: Account) -> None:
    mask_id, source_id = account.image(), account.image()
    batch_id = account.batch(source_id, mask_id, retention=168 * HOUR)
    account.pause(batch_id)
    account.api.clock.move(days=31)
    account.resume(batch_id)
    account.finish(batch_id, StorageFull("full"))
    handed_on = account.result(batch_id)
    account.api.clock.move(days=6)
    account.api.call(batches.retry, account.services, account.id, batch_id)
    kept = {account.kept_for(image_id) for image_id in (mask_id, source_id, handed_on)}
    assert kept == {PATIENCE + RETENTION_MAX}
    account.finish(batch_id)
    assert account.kept_for(account.result(batch_id)) == 168 * HOUR


def test_a_mask_leaves_no_rows_behind_its_batch_or_its_account(account: Account) -> None:
    def rows(session: Session) -> int:
        return len(session.exec(select(BatchStepFile)).all())

    mask_id = account.image()
    account.finish(account.batch(account.image(), mask_id))
    account.batch(account.image(), mask_id)
    assert account.run(rows) == 2
    account.api.clock.move(hours=24)
    account.run(lambda session: batches.delete_expired(session, account.api.clock(), limit=100))
    account.run(lambda session: batches.delete_expired(session, account.api.clock(), limit=100))
    assert account.run(rows) == 1
    account.run(lambda session: batches.delete_all(session, account.id, account.api.clock()))
    assert account.run(rows) == 0
