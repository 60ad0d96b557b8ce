"""Batches as their account sees them: one, pages of them and of their items, and their control."""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import ColumnElement
from sqlmodel import Session, and_, col, or_, select
from sqlmodel import delete as sql_delete

from api import page_cursors, response_bodies
from api.auth.authenticator import Caller
from api.batches import progress, steps, transitions
from api.batches.descriptions import describe
from api.batches.models import Batch, BatchItem, BatchStatus, BatchStepFile, ItemStatus
from api.errors import Forbidden, InvalidParameter, NotFound
from api.images import service as images
from api.images.models import Image
from api.services import Services
from billing.ledger import accounts

T = TypeVar("T")

PAGE_MAX = 100
ITEMS_PAGE_MAX = 500
_ITEMS_PER_DELETION = 1_000
_NO_SUCH_BATCH = "There is no such batch. Batches are forgotten when their results expire."


def find(session: Session, account_id: str, batch_id: str, now: datetime) -> Batch:
    """The account's batch. Raises `NotFound`, the same for an unknown batch and another account's.

    One that is over, whose rows may be half deleted, is unknown too.
    """
    batch = session.get(Batch, batch_id, populate_existing=True) if batch_id.isascii() else None
    if batch is None or batch.account_id != account_id or transitions.is_over(batch, now):
        raise NotFound(_NO_SUCH_BATCH)
    return batch


def page(
    session: Session,
    account_id: str,
    now: datetime,
    *,
    status: BatchStatus | None,
    limit: int,
    cursor: str | None,
) -> tuple[list[Batch], str | None]:
    """The account's batches, newest first, and the cursor of the next page; None after the last.

    Raises `InvalidParameter` for a cursor that no page gave.
    """
    is_known = or_(col(Batch.finished_at).is_(None), col(Batch.expires_at) > now)
    statement = select(Batch).where(Batch.account_id == account_id, is_known)
    if status is not None:
        statement = statement.where(Batch.status == status)
    if cursor is not None:
        created_at, batch_id = page_cursors.position_of(cursor)
        older = (
            col(Batch.created_at) < created_at,
            and_(col(Batch.created_at) == created_at, col(Batch.id) < batch_id),
        )
        statement = statement.where(or_(*older))
    newest_first = (col(Batch.created_at).desc(), col(Batch.id).desc())
    found = list(session.exec(statement.order_by(*newest_first).limit(limit + 1)))
    if len(found) <= limit:
        return found, None
    return found[:limit], page_cursors.after(found[limit - 1].created_at, found[limit - 1].id)


def items(
    session: Session,
    services: Services,
    batch: Batch,
    *,
    status: ItemStatus | None,
    limit: int,
    cursor: str | None,
) -> tuple[list[dict[str, Any]], str | None]:
    """The batch's items in order, and the cursor of the next page; None after the last.

    Raises `InvalidParameter` for a cursor that no page gave.
    """
    statement = (
        select(BatchItem, Image)
        .join(Image, col(Image.id) == col(BatchItem.image_id), isouter=True)
        .where(BatchItem.batch_id == batch.id)
    )
    if status is not None:
        statement = statement.where(BatchItem.status == status)
    if cursor is not None:
        if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= len(str(batch.item_count))):
            raise InvalidParameter("cursor", "cursor: is not the nextCursor of a page")
        statement = statement.where(col(BatchItem.position) >= int(cursor))
    found = session.exec(statement.order_by(col(BatchItem.position)).limit(limit + 1)).all()
    listed = [_describe_item(services, batch, item, image) for item, image in found[:limit]]
    return listed, str(found[limit][0].position) if len(found) > limit else None


async def check_key(services: Services, caller: Caller, batch_id: str) -> None:
    """Whether the caller's key may change the account's batch: its tools, and whether it may cost credits.

    Raises `Forbidden`, and `NotFound`.
    """

    def read(session: Session) -> tuple[bool, list[str]]:
        batch = find(session, caller.account_id, batch_id, services.clock())
        return batch.is_test, steps.tool_names(batch.steps)

    is_test, tools = await services.database.run(read)
    if caller.is_test and not is_test:
        raise Forbidden("This batch was made with a live key. A test key cannot change it.")
    for tool in tools:
        caller.require_tool(tool)


async def cancel(services: Services, account_id: str, batch_id: str) -> dict[str, Any]:
    """End the account's batch, keeping what has succeeded; one that has ended stays. Raises `NotFound`."""
    return await _cancel(services, account_id, batch_id, lambda _session, _batch: None)


async def _cancel(
    services: Services, account_id: str, batch_id: str, afterwards: Callable[[Session, Batch], None]
) -> dict[str, Any]:
    """As `cancel`; `afterwards` is part of the transaction."""

    def end(session: Session, batch: Batch) -> list[str]:
        stopped = transitions.cancel(session, batch, services.clock(), engine=services.engine)
        afterwards(session, batch)
        return stopped

    await services.engine.prepare()
    replay_ids, data = await _change(services, account_id, batch_id, end)
    services.engine.wake()
    for replay_id in replay_ids:
        call = services.running.find(replay_id)
        if call is not None:
            # In another process the call is stopped when its lease cannot be renewed.
            call.cancel()
    return data


async def delete(services: Services, account_id: str, batch_id: str) -> dict[str, Any]:
    """End the account's batch and delete it with its results. Returns its last `data`. Raises `NotFound`."""
    now = services.clock()
    # In one transaction, so that no retry starts it again in between. From then on it is unknown.
    data = await _cancel(
        services, account_id, batch_id, lambda session, batch: transitions.forget(session, batch, now)
    )

    def delete_some(session: Session) -> int:
        accounts.lock_even_closed(session, account_id)
        return _delete_items(session, BatchItem.batch_id == batch_id)

    # A few at a time. If this is interrupted, the cleanup goes on, because the batch has expired.
    while await services.database.run(delete_some):
        pass
    await services.database.run(lambda session: _delete_rows(session, [batch_id]))
    return data


async def pause(services: Services, account_id: str, batch_id: str) -> dict[str, Any]:
    """Start no more steps of the account's batch. Raises `NotFound`."""
    _, data = await _change(services, account_id, batch_id, lambda _session, batch: transitions.pause(batch))
    return data


async def resume(services: Services, account_id: str, batch_id: str) -> dict[str, Any]:
    """Go on with the account's paused or blocked batch. Raises `NotFound`."""

    def go_on(session: Session, batch: Batch) -> None:
        if batch.status in (BatchStatus.PAUSED, BatchStatus.BLOCKED):
            transitions.activate(batch, services.clock())
            progress.enqueue(session, services, batch)

    return await _change_and_wake(services, account_id, batch_id, go_on)


async def retry(services: Services, account_id: str, batch_id: str) -> dict[str, Any]:
    """Let the failed items of the account's batch wait again. Raises `NotFound`."""

    def wait_again(session: Session, batch: Batch) -> None:
        has_ended = BatchStatus(batch.status).has_ended
        if transitions.retry_failed(session, batch, services.clock()) and has_ended:
            progress.enqueue(session, services, batch)

    return await _change_and_wake(services, account_id, batch_id, wait_again)


def delete_all(session: Session, account_id: str, now: datetime) -> None:
    """Cancel and delete the account's batches, because the account is deleted."""
    accounts.lock_even_closed(session, account_id)
    for batch in session.exec(select(Batch).where(Batch.account_id == account_id)).all():
        transitions.cancel(session, batch, now)
    session.flush()
    own = select(Batch.id).where(Batch.account_id == account_id)
    for table in (BatchItem, BatchStepFile):
        session.execute(sql_delete(table).where(col(table.batch_id).in_(own)))
    session.execute(sql_delete(Batch).where(col(Batch.account_id) == account_id))


def delete_expired(session: Session, now: datetime, *, limit: int) -> int:
    """Give up a batch that waited too long, or delete items and batches whose results have expired.

    Returns at least `limit` if more may be left.
    """
    over = col(Batch.expires_at) <= now
    unfinished = select(Batch.id).where(over, col(Batch.finished_at).is_(None))
    given_up = session.exec(unfinished.limit(1)).first()
    if given_up is not None:
        batch = transitions.locked(session, given_up)
        if batch is not None:
            transitions.cancel(session, batch, now)
        return limit
    expired = select(Batch.id).where(over, col(Batch.finished_at).is_not(None))
    if _delete_items(session, col(BatchItem.batch_id).in_(expired)):
        return limit
    return _delete_rows(session, list(session.exec(expired.limit(limit))))


def _delete_rows(session: Session, batch_ids: list[str]) -> int:
    """Delete batches that have no items left; returns their number."""
    session.execute(sql_delete(BatchStepFile).where(col(BatchStepFile.batch_id).in_(batch_ids)))
    gone = session.execute(sql_delete(Batch).where(col(Batch.id).in_(batch_ids)))
    return int(gone.rowcount)  # type: ignore[attr-defined]


def _delete_items(session: Session, which: ColumnElement[bool] | bool) -> int:
    """Delete some of these items; returns their number, 0 if none are left."""
    some = select(BatchItem.id).where(which).limit(_ITEMS_PER_DELETION)
    done = session.execute(sql_delete(BatchItem).where(col(BatchItem.id).in_(some)))
    return int(done.rowcount)  # type: ignore[attr-defined]


async def _change_and_wake(
    services: Services, account_id: str, batch_id: str, change: Callable[[Session, Batch], None]
) -> dict[str, Any]:
    await services.engine.prepare()
    _, data = await _change(services, account_id, batch_id, change)
    services.engine.wake()
    return data


async def _change(
    services: Services, account_id: str, batch_id: str, change: Callable[[Session, Batch], T]
) -> tuple[T, dict[str, Any]]:
    """What `change` returns for the locked batch, and the batch's `data` after it."""

    def run(session: Session) -> tuple[T, dict[str, Any]]:
        accounts.lock_even_closed(session, account_id)
        batch = find(session, account_id, batch_id, services.clock())
        result = change(session, batch)
        session.flush()
        return result, describe(session, batch)

    return await services.database.run(run)


def _describe_item(services: Services, batch: Batch, item: BatchItem, image: Image | None) -> dict[str, Any]:
    return {
        "position": item.position + 1,
        "name": item.name,
        "status": item.status,
        "stepsDone": item.steps_done,
        "creditsCharged": item.credits,
        "result": None if item.status != ItemStatus.SUCCEEDED else _result(services, batch, image),
        "error": None if item.error is None else json.loads(item.error),
    }


def _result(services: Services, batch: Batch, image: Image | None) -> dict[str, Any] | None:
    """The item's image; None once it was deleted or has expired."""
    if image is None or image.expires_at <= services.clock():
        return None
    address = images.address(services, batch.base_url, image.id)
    return {
        "imageId": image.id,
        "imageUrl": address.url,
        "width": image.width,
        "height": image.height,
        "format": image.format,
        "bytes": image.size_bytes,
        "expiresAt": response_bodies.timestamp(min(address.expires_at, image.expires_at)),
    }
