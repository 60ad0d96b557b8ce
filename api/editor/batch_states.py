"""Batches as the editor shows them: their state, and their pictures a page at a time."""

from dataclasses import dataclass

from sqlmodel import Session, col, func, select

from api.batches import descriptions, steps
from api.batches.models import Batch, BatchItem, ItemStatus
from api.images.models import Image
from api.services import Services
from billing.ledger.models import Account

PAGE_SIZE = 50


@dataclass(frozen=True)
class BatchState:
    """`retryable`: the failed pictures that a retry would run again."""

    batch: Batch
    tools: list[str]
    counts: dict[str, int]
    credits: int
    retryable: int
    account: Account


@dataclass(frozen=True)
class ShownItem:
    """`result` and `source` are None unless they can be read."""

    item: BatchItem
    result: Image | None
    source: Image | None

    @property
    def pictured(self) -> Image | None:
        """What a thumbnail is made of. What could not be read once is not tried again."""
        return self.result or (None if self.item.status == ItemStatus.FAILED else self.source)


def state_of(session: Session, batch: Batch) -> BatchState:
    counts = descriptions.counts(session, batch.id)
    of_batch = BatchItem.batch_id == batch.id
    charged = select(func.coalesce(func.sum(BatchItem.credits), 0)).where(of_batch)
    return BatchState(
        batch=batch,
        tools=steps.tool_names(batch.steps),
        counts={status.value: counts[status] for status in ItemStatus},
        credits=int(session.exec(charged).one()),
        retryable=descriptions.retryable(session, batch.id),
        account=session.get_one(Account, batch.account_id),
    )


def page(
    session: Session, services: Services, batch: Batch, *, after: int, status: ItemStatus | None
) -> list[ShownItem]:
    """The next pictures after position `after`, at most `PAGE_SIZE` and one more if there is another page."""
    statement = select(BatchItem).where(BatchItem.batch_id == batch.id, col(BatchItem.position) > after)
    if status is not None:
        statement = statement.where(BatchItem.status == status)
    found = session.exec(statement.order_by(col(BatchItem.position)).limit(PAGE_SIZE + 1)).all()
    ids = {image_id for item in found for image_id in (item.image_id, item.source_id) if image_id}
    readable = select(Image).where(col(Image.id).in_(ids), col(Image.expires_at) > services.clock())
    images = {image.id: image for image in session.exec(readable)}
    return [
        ShownItem(
            item,
            images.get(item.image_id or "") if item.status == ItemStatus.SUCCEEDED else None,
            images.get(item.source_id or ""),
        )
        for item in found
    ]


def item_at(session: Session, services: Services, batch: Batch, position: int) -> ShownItem | None:
    """The picture at this position, counted from 0."""
    if not 0 <= position < batch.item_count:
        return None
    return page(session, services, batch, after=position - 1, status=None)[0]
