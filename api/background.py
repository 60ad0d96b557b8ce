"""Background tasks of a server process."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import structlog

from api import cleanup
from api.auth import key_endings
from api.auth.email import alert_runs
from api.batches import runs as batches
from api.calls import admission, call_log
from api.db import leader
from api.errors import ServiceUnavailable
from api.images import service as images
from api.jobs import runs as jobs
from api.payments import sync
from api.services import Services
from api.webhooks import runs as webhooks

_STRAYS_EVERY = timedelta(hours=1)
_STRAYS_CHECKED_EVERY_SECONDS = 60.0
_KEYS_CHECKED_EVERY_SECONDS = 60.0

log = structlog.get_logger()


@asynccontextmanager
async def running(services: Services) -> AsyncIterator[None]:
    """Run the background tasks until the block ends."""
    tasks = [
        _start(renew_leases(services), "leases"),
        _start(_clean_up(services), "cleanup"),
        _start(_delete_strays(services), "strays"),
        _start(_write_log(services), "call log"),
        _start(services.engine.run_forever(), "tasks"),
        _start(batches.wake_blocked_forever(services), "blocked batches"),
        _start(_announce_key_endings(services), "ending keys"),
    ]
    if services.stripe is not None:
        tasks.append(_start(sync.run_forever(services, services.stripe), "payments"))
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await _write_log_once(services)


def register_tasks(services: Services) -> None:
    """Declare every kind of durable task, also in processes that leave them to others."""
    jobs.register(services)
    batches.register(services)
    webhooks.register(services)
    alert_runs.register(services)


def begin_shutdown(services: Services) -> None:
    """Refuse new and queued calls at once; running ones get `shutdown_seconds`.

    Jobs are left to other processes, or to the next start.
    """
    services.engine.begin_stop()
    services.backend.stop(services.shutdown_seconds)


async def finish_work(services: Services) -> None:
    """Wait for running work, as long as it may take, and leave durable tasks to other processes."""
    services.engine.begin_stop()
    await services.running.settle_all(services.shutdown_seconds)
    await services.engine.close()


async def close(services: Services) -> None:
    """End the workers and close the database. Call it after the last call was settled."""
    await asyncio.to_thread(services.backend.close)
    await services.authenticator.close()
    services.remote_files.close()
    services.webhook_sender.close()
    if services.mailer is not None:
        await asyncio.to_thread(services.mailer.close)
    await asyncio.to_thread(services.database.close)
    if services.tracer is not None:
        await asyncio.to_thread(services.tracer.close)


async def renew_leases(services: Services) -> None:
    """Keep the holds of running calls open; work whose hold was lost is stopped."""
    while True:
        await asyncio.sleep(admission.RENEW_EVERY_SECONDS)
        try:
            await renew_leases_once(services)
        except ServiceUnavailable:
            log.warning("leases could not be renewed", calls=len(services.running.hold_ids()))


async def renew_leases_once(services: Services) -> None:
    held = services.running.hold_ids()
    if not held:
        return
    renewed = await services.database.run(
        lambda session: admission.renew(session, services.lease_owner, held, services.clock())
    )
    # A call may have been settled meanwhile; `cancel_work` only affects calls that still run.
    services.running.cancel_work(set(held) - renewed)


async def _clean_up(services: Services) -> None:
    await cleanup.run_forever(services.database, services.storage.delete, clock=services.clock)


async def _delete_strays(services: Services) -> None:
    while True:
        try:
            # Listing every file takes long, so only one process does it.
            if await leader.try_claim(services.database, "stray files", _STRAYS_EVERY, services.clock()):
                await images.delete_strays(services)
        except (ServiceUnavailable, OSError):
            log.warning("stray files could not be deleted; the next run tries again", exc_info=True)
        await asyncio.sleep(_STRAYS_CHECKED_EVERY_SECONDS)


async def _announce_key_endings(services: Services) -> None:
    while True:
        try:
            now = services.clock()
            if await leader.try_claim(services.database, "ending keys", key_endings.LOOKED_FOR_EVERY, now):
                await key_endings.announce_due(services.database, services.alerts, now)
        except ServiceUnavailable:
            log.warning("ending keys are announced later, when the database responds")
        except Exception:
            # Without this the loop would end silently.
            log.exception("ending keys could not be announced; it is tried again")
        await asyncio.sleep(_KEYS_CHECKED_EVERY_SECONDS)


async def _write_log(services: Services) -> None:
    while True:
        await asyncio.sleep(call_log.WRITE_EVERY_SECONDS)
        await _write_log_once(services)


async def _write_log_once(services: Services) -> None:
    try:
        await services.call_log.write(services.database)
    except ServiceUnavailable:
        log.warning("the log of calls is written later")


def _start(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_log_failure)
    return task


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("a background task ended with an error", task=task.get_name(), exc_info=error)
