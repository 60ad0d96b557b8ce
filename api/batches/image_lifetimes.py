"""Until when images are kept for the batches and jobs of their account.

What needs an image lets it expire later when it begins: a batch the images of its items and those that its
steps name, a job its inputs. Only `release` lets an image expire earlier, and not before everything else
that needs it: an unfinished batch, an ended one whose failed items may be retried, and an unfinished job.
What a step hands to the next one is an exception, because nothing else can name it.

The account must be locked. Functions take a session and never commit.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement
from sqlalchemy.orm import Mapped, aliased
from sqlmodel import Session, and_, col, func, or_, select, update
from sqlmodel.sql.expression import SelectOfScalar

from api.batches.models import Batch, BatchItem, BatchStepFile, ItemStatus
from api.images.models import Image
from api.jobs import inputs

#: How long an image that the account had stored before is kept after it was used.
_USE_KEEPS = timedelta(hours=25)
_OPEN = (ItemStatus.QUEUED.value, ItemStatus.RUNNING.value)

ImageIds = Sequence[str] | SelectOfScalar[Any]


def keep(session: Session, image_ids: ImageIds, until: datetime) -> None:
    """Let the images expire then at the earliest."""
    session.execute(
        update(Image)
        .where(col(Image.id).in_(image_ids), col(Image.expires_at) < until)
        .values(expires_at=until)
        .execution_options(synchronize_session=False)
    )


def release(session: Session, account_id: str, image_ids: ImageIds, until: datetime) -> None:
    """Let those of these images expire then that would expire later, or once nothing needs them.

    One that an unfinished batch needs stays as it is, because that batch releases it at its own end.
    """
    released = col(Image.id).in_(image_ids)
    session.execute(
        update(Image)
        .where(released, col(Image.expires_at) > until, ~_is_needed_by_unfinished())
        .values(expires_at=until)
        .execution_options(synchronize_session=False)
    )
    for retryable_until in _retryable_until():
        session.execute(
            update(Image)
            .where(released, col(Image.expires_at) < retryable_until)
            .values(expires_at=retryable_until)
            .execution_options(synchronize_session=False)
        )
    for image_id, job_until in inputs.needed_by_unfinished(session, account_id).items():
        session.execute(
            update(Image)
            .where(released, col(Image.id) == image_id, col(Image.expires_at) < job_until)
            .values(expires_at=job_until)
            .execution_options(synchronize_session=False)
        )


def release_sources(
    session: Session, account_id: str, items: Sequence[ColumnElement[bool]], now: datetime
) -> None:
    """These items need their images no more.

    Own ones expire. Those that the account had stored before get their former lifetime, as after a use.
    """
    own = select(BatchItem.source_id).where(*items, col(BatchItem.is_source_own).is_(True))
    release(session, account_id, own, now)
    release_stored_sources(session, account_id, items, now + _USE_KEEPS)


def release_stored_sources(
    session: Session, account_id: str, items: Sequence[ColumnElement[bool]], until: datetime
) -> None:
    """Let stored images of these items expire as without them, but not earlier than then."""
    stored = (*items, col(BatchItem.is_source_own).is_(False))
    source_ids = select(BatchItem.source_id).where(*stored)
    release(session, account_id, source_ids, until)
    session.execute(
        update(Image)
        .where(
            col(Image.id) == col(BatchItem.source_id),
            *stored,
            col(Image.expires_at) < col(BatchItem.source_expires_at),
        )
        .values(expires_at=BatchItem.source_expires_at)
        .execution_options(synchronize_session=False)
    )
    keep(session, source_ids, until)


def release_step_files(session: Session, batch: Batch, now: datetime) -> None:
    """Give the images that the steps of an ended batch name their former lifetime, as after a use."""
    of_batch = col(BatchStepFile.batch_id) == batch.id
    release(session, batch.account_id, step_files(batch), now + _USE_KEEPS)
    session.execute(
        update(Image)
        .where(
            col(Image.id) == col(BatchStepFile.image_id),
            of_batch,
            col(Image.expires_at) < col(BatchStepFile.image_expires_at),
        )
        .values(expires_at=BatchStepFile.image_expires_at)
        .execution_options(synchronize_session=False)
    )


def release_results(
    session: Session, account_id: str, image_ids: SelectOfScalar[Any], until: datetime
) -> None:
    """As `release`, also for the lifetime that batches which use these results would give back to them."""
    session.execute(
        update(BatchItem)
        .where(col(BatchItem.source_id).in_(image_ids), col(BatchItem.source_expires_at) > until)
        .values(source_expires_at=until)
        .execution_options(synchronize_session=False)
    )
    session.execute(
        update(BatchStepFile)
        .where(col(BatchStepFile.image_id).in_(image_ids), col(BatchStepFile.image_expires_at) > until)
        .values(image_expires_at=until)
        .execution_options(synchronize_session=False)
    )
    release(session, account_id, image_ids, until)


def step_files(batch: Batch) -> SelectOfScalar[str]:
    """The ids of the images that the steps of the batch name."""
    return select(BatchStepFile.image_id).where(BatchStepFile.batch_id == batch.id)


def former_expiries(session: Session, image_ids: Sequence[str]) -> dict[str, datetime]:
    """When those of the images that batches keep would have expired without them."""
    of_items = (
        select(BatchItem.source_id, func.min(BatchItem.source_expires_at))
        .where(
            col(BatchItem.source_id).in_(image_ids),
            col(BatchItem.is_source_own).is_(False),
            _may_run(BatchItem),
        )
        .group_by(col(BatchItem.source_id))
    )
    of_steps = (
        select(BatchStepFile.image_id, func.min(BatchStepFile.image_expires_at))
        .join(Batch, col(Batch.id) == col(BatchStepFile.batch_id))
        .where(
            col(BatchStepFile.image_id).in_(image_ids),
            or_(col(Batch.finished_at).is_(None), _may_be_retried(col(Batch.id))),
        )
        .group_by(col(BatchStepFile.image_id))
    )
    expiries: dict[str, datetime] = {}
    for image_id, expires_at in [*session.exec(of_items), *session.exec(of_steps)]:
        if image_id is not None and expires_at is not None:
            expiries[image_id] = min(expires_at, expiries.get(image_id, expires_at))
    return expiries


def _is_needed_by_unfinished() -> ColumnElement[bool]:
    """Whether an unfinished batch may still work on an image."""
    item, file, batch = aliased(BatchItem), aliased(BatchStepFile), aliased(Batch)
    as_source = (
        select(item.id)
        .join(batch, col(batch.id) == col(item.batch_id))
        .where(
            col(item.source_id) == col(Image.id),
            _may_run(item),
            col(batch.finished_at).is_(None),
        )
    )
    in_steps = (
        select(file.batch_id)
        .join(batch, col(batch.id) == col(file.batch_id))
        .where(col(file.image_id) == col(Image.id), col(batch.finished_at).is_(None))
    )
    return or_(as_source.exists(), in_steps.exists())


def _retryable_until() -> tuple[ColumnElement[datetime], ColumnElement[datetime]]:
    """Until when ended batches need an image for a retry: as the image of an item, and for their steps."""
    item, file, batch = aliased(BatchItem), aliased(BatchStepFile), aliased(Batch)
    until = select(func.max(batch.expires_at)).select_from(batch).where(col(batch.finished_at).is_not(None))
    as_source = until.join(item, col(item.batch_id) == col(batch.id)).where(
        col(item.source_id) == col(Image.id), *retryable(item)
    )
    in_steps = until.join(file, col(file.batch_id) == col(batch.id)).where(
        col(file.image_id) == col(Image.id), _may_be_retried(col(batch.id))
    )
    return as_source.correlate(Image).scalar_subquery(), in_steps.correlate(Image).scalar_subquery()


def _may_be_retried(batch_id: Mapped[str]) -> ColumnElement[bool]:
    """Whether a batch has failed items that a retry would run again."""
    item = aliased(BatchItem)
    return select(item.id).where(col(item.batch_id) == batch_id, *retryable(item)).exists()


def _may_run(item: type[BatchItem]) -> ColumnElement[bool]:
    """Whether an item is to be done, or a retry would run it again."""
    return or_(col(item.status).in_(_OPEN), and_(*retryable(item)))


def retryable(item: type[BatchItem]) -> tuple[ColumnElement[bool], ...]:
    """Whether an item has failed, has an image or a URL, and still has what its next step works on."""
    return (
        col(item.status) == ItemStatus.FAILED.value,
        or_(col(item.source_id).is_not(None), col(item.url).is_not(None)),
        or_(col(item.steps_done) == 0, col(item.image_id).is_not(None)),
    )
