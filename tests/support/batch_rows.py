"""Rows of batches, without a request."""

from datetime import datetime, timedelta

from sqlmodel import Session

from api.batches.models import Batch, BatchItem, BatchStepFile, ItemStatus
from api.batches.transitions import PATIENCE, kept_until
from api.calls import idempotency
from api.calls.idempotency import Answer
from api.images.models import Image
from api.jobs import transitions as jobs
from api.jobs.models import Job
from billing.identifiers import new_id
from billing.ledger import accounts, ledger
from tests.support.builders import OWNER

DAY_SECONDS = 24 * 3600
STEPS = b'[{"tool":"crop","params":{"flip":"h"},"storedIds":{}}]'
TWO_STEPS = STEPS[:-1] + b',{"tool":"brush","params":{"op":"blur"},"storedIds":{"mask":"%s"}}]'


def make_batch(session: Session, account_id: str, now: datetime, names: list[str]) -> Batch:
    """A batch of one step that waits, with an image of its own for each name."""
    batch = Batch(
        id=new_id("batch"),
        account_id=account_id,
        request_id=new_id("req"),
        base_url="http://test",
        steps=STEPS,
        step_count=1,
        item_count=len(names),
        retention_seconds=DAY_SECONDS,
        created_at=now,
        expires_at=now + PATIENCE,
    )
    session.add(batch)
    session.flush()
    for position, name in enumerate(names):
        image = make_image(session, account_id, now)
        session.add(
            BatchItem(
                id=new_id("item"),
                batch_id=batch.id,
                position=position,
                name=name,
                status=ItemStatus.QUEUED,
                source_id=image.id,
            )
        )
    session.flush()
    return batch


def make_image(session: Session, account_id: str, now: datetime, kind: str = "upload") -> Image:
    """An image without bytes."""
    image = Image(
        id=new_id("img"),
        account_id=account_id,
        kind=kind,
        format="png",
        size_bytes=1,
        sha256="0" * 64,
        width=3,
        height=2,
        created_at=now,
        expires_at=now + 2 * PATIENCE,
    )
    session.add(image)
    session.flush()
    return image


def name_in_steps(session: Session, batch: Batch, image: Image, now: datetime) -> None:
    """Add a step that names the image to the batch. Without it, the image would have expired in a day."""
    batch.steps = TWO_STEPS % image.id.encode()
    batch.step_count = 2
    session.add(BatchStepFile(batch_id=batch.id, image_id=image.id, image_expires_at=now + timedelta(days=1)))
    image.expires_at = kept_until(batch)
    session.flush()


def end_job(session: Session, job: Job, now: datetime, error: Exception | None = None) -> str | None:
    """End the job as its run does: with a result, whose id is returned, or with `error`."""
    accounts.lock(session, job.account_id)
    until = now + timedelta(seconds=30)
    assert ledger.take_up(session, job.hold_id, lease_owner=OWNER, lease_until=until, now=now)
    jobs.start(job, now)
    if error is not None:
        jobs.fail_and_release(session, job, error, now)
        session.flush()
        return None
    ledger.capture(session, job.hold_id, lease_owner=OWNER, now=now)
    image = make_image(session, job.account_id, now, "result")
    image.expires_at = now + timedelta(hours=25)
    session.flush()
    answer = Answer(200, b"{}", image.id)
    idempotency.store(session, job.replay_id, hold_id=job.hold_id, keyed=True, answer=answer, now=now)
    jobs.succeed(session, job, now)
    session.flush()
    return image.id
