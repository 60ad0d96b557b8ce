"""The tasks of batches: they give items jobs a few at a time, and fetch images by URL meanwhile.

Neither the batch's task nor its jobs need to run in the same process. If this one ends, another one goes on
from the rows.
"""

import asyncio
import json
from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from functools import partial

import structlog
from sqlmodel import Session

from api import response_bodies
from api.batches import progress, transitions
from api.batches.progress import Advanced, Fetch
from api.durable.tasks import TaskKind
from api.errors import ApiError, RateLimited, ServerBusy, ServiceUnavailable, StorageFull
from api.images import service as images
from api.images.models import ImageKind
from api.services import Services
from billing.ledger.plans import PLANS

#: The form field whose URL an item's error is about.
URLS_FIELD = "image_urls"
_POLL_SECONDS = 0.25
#: A process looks after a limited number of batches, so that one that takes hours lets others have a turn.
TURN_SECONDS = 300.0
_OUTAGE_PAUSE_SECONDS = 5.0
_FETCH_PAUSE_SECONDS = 1.0
WAKE_EVERY_SECONDS = 10.0
_WOKEN_AT_ONCE = 100

log = structlog.get_logger()


def register(services: Services) -> None:
    """Let the engine of this process run batches."""
    services.engine.register(
        TaskKind(progress.KIND, BatchRunner(services).run, progress.unfinished), progress.QUEUE
    )


async def wake_blocked_forever(services: Services) -> None:
    """Go on with blocked batches once their accounts have credits, until cancelled."""
    while True:
        await asyncio.sleep(WAKE_EVERY_SECONDS)
        try:
            await wake_blocked(services)
        except ServiceUnavailable:
            log.warning("blocked batches wait for the database")
        except Exception:
            # Without this the loop would end silently.
            log.exception("blocked batches could not be looked for; it is tried again")


async def wake_blocked(services: Services) -> int:
    """One round of `wake_blocked_forever`; returns the number of batches that go on."""
    due = await services.database.read(
        lambda session: progress.due(session, services.clock(), _WOKEN_AT_ONCE)
    )
    if not due:
        return 0
    await services.engine.prepare()
    woken = 0
    for batch_id in due:
        woken += await services.database.run(partial(_unblock, services, batch_id))
    services.engine.wake()
    return woken


def _unblock(services: Services, batch_id: str, session: Session) -> bool:
    return progress.unblock(session, services, batch_id)


class BatchRunner:
    """Runs the tasks of batches in one process."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def run(self, task_id: str) -> None:
        """Return when the task's activation has nothing left to do. Cancelling this leaves it unfinished."""
        batch_id, _, activation = task_id.rpartition("-")
        fetching: dict[str, asyncio.Task[None]] = {}  # by the id of the item
        loop = asyncio.get_running_loop()
        turn_ends_at = loop.time() + TURN_SECONDS
        try:
            while True:
                try:
                    if loop.time() >= turn_ends_at:
                        await self._services.database.run(
                            lambda session: progress.take_turns(
                                session, self._services, batch_id, int(activation)
                            )
                        )
                        return
                    found = await self._services.database.run(
                        lambda session: progress.advance(session, self._services, batch_id, int(activation))
                    )
                    if found.is_over:
                        return
                    # Those that still run are among the next ones, so that a slow host holds up only its own.
                    for fetch in found.fetches:
                        if fetch.item_id not in fetching:
                            fetching[fetch.item_id] = asyncio.create_task(self._fetch(batch_id, found, fetch))
                    await self._wait(batch_id, int(activation), fetching.values())
                    fetching = {item_id: task for item_id, task in fetching.items() if not task.done()}
                except ServiceUnavailable:
                    await asyncio.sleep(_OUTAGE_PAUSE_SECONDS)
                except Exception:
                    log.exception("a batch could not go on; it is tried again", batch_id=batch_id)
                    await asyncio.sleep(_OUTAGE_PAUSE_SECONDS)
        finally:
            for task in fetching.values():
                task.cancel()
            await asyncio.gather(*fetching.values(), return_exceptions=True)

    async def _wait(self, batch_id: str, activation: int, fetching: Collection[asyncio.Task[None]]) -> None:
        """Until jobs have ended, the batch was changed, an image was fetched, or for some seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(progress.ADVANCE_EVERY_SECONDS):
                while True:
                    await asyncio.sleep(_POLL_SECONDS)
                    if any(task.done() for task in fetching):
                        return
                    if await self._services.database.read(
                        lambda session: progress.may_advance(session, batch_id, activation)
                    ):
                        return

    async def _fetch(self, batch_id: str, found: Advanced, fetch: Fetch) -> None:
        """Fetch and store the image of an item, or record why that is impossible."""
        services = self._services
        try:
            await self._fetch_and_store(batch_id, found, fetch)
        except (RateLimited, ServerBusy, ServiceUnavailable):
            await asyncio.sleep(_FETCH_PAUSE_SECONDS)  # The item still waits.
        except ApiError as error:
            why = json.dumps(response_bodies.error_fields(error))
            with suppress(ServiceUnavailable):
                await services.database.run(
                    lambda session: progress.record_failure(
                        session, batch_id, fetch.item_id, why, services.clock()
                    )
                )
        except Exception:
            log.exception("an image of a batch could not be fetched; it is tried again", batch_id=batch_id)
            await asyncio.sleep(_OUTAGE_PAUSE_SECONDS)

    async def _fetch_and_store(self, batch_id: str, found: Advanced, fetch: Fetch) -> None:
        services = self._services
        content = await services.remote_files.fetch(
            fetch.url,
            URLS_FIELD,
            account_id=found.account_id,
            # One download is left to the account's direct calls.
            concurrent=max(1, PLANS[found.plan].concurrent_calls - 1),
            limit_bytes=images.FILE_LIMIT_BYTES,
        )
        image = await asyncio.to_thread(
            images.describe,
            services,
            found.account_id,
            ImageKind.UPLOAD,
            images.sniff(content),
            content,
        )

        def record(session: Session) -> bool:
            batch = transitions.locked(session, batch_id)
            if batch is None:
                return False
            images.check_room(session, services, found.account_id, image.size_bytes)
            row = replace(image, expires_at=transitions.kept_until(batch)).row()
            return progress.record_source(session, batch_id, fetch.item_id, row)

        try:
            is_stored = await images.store_bytes_and_row(services, image.id, content, record)
        except StorageFull as error:
            error.param = URLS_FIELD
            raise
        if not is_stored:
            await asyncio.to_thread(services.storage.delete, image.id)
