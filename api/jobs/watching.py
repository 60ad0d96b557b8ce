"""Waiting for changes of jobs, for event streams: one query for all streams of a process."""

import asyncio
from collections.abc import Collection
from contextlib import suppress

from sqlmodel import Session, col, select

from api.db.database import Database
from api.errors import ServiceUnavailable
from api.jobs.models import Job

_POLL_SECONDS = 0.5
_IDS_PER_QUERY = 500


class JobWatcher:
    """For one event loop. Polls only while somebody waits."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._known: dict[str, int] = {}
        self._polling: asyncio.Task[None] | None = None

    async def changed(self, job_id: str, version: int, timeout_seconds: float) -> bool:
        """Wait until the job is of another version than this, or was deleted. False after the timeout."""
        event = asyncio.Event()
        self._waiting.setdefault(job_id, set()).add(event)
        # Of several streams the oldest version counts: the others look once too often.
        self._known[job_id] = min(version, self._known.get(job_id, version))
        if self._polling is None or self._polling.done():
            self._polling = asyncio.create_task(self._poll(), name="job watcher")
        try:
            async with asyncio.timeout(timeout_seconds):
                await event.wait()
        except TimeoutError:
            return False
        finally:
            events = self._waiting.get(job_id, set())
            events.discard(event)
            if not events:
                self._waiting.pop(job_id, None)
                self._known.pop(job_id, None)
        return True

    async def close(self) -> None:
        if self._polling is not None:
            self._polling.cancel()
            with suppress(asyncio.CancelledError):
                await self._polling

    async def _poll(self) -> None:
        while self._waiting:
            await asyncio.sleep(_POLL_SECONDS)
            ids = list(self._waiting)
            for batch in (
                ids[start : start + _IDS_PER_QUERY] for start in range(0, len(ids), _IDS_PER_QUERY)
            ):
                try:
                    versions = await self._database.read(lambda session, ids=batch: _versions(session, ids))  # type: ignore[misc]
                except ServiceUnavailable:
                    continue
                for job_id in batch:
                    if versions.get(job_id) != self._known.get(job_id):
                        for event in self._waiting.get(job_id, ()):
                            event.set()


def _versions(session: Session, job_ids: Collection[str]) -> dict[str, int]:
    return dict(session.exec(select(Job.id, Job.version).where(col(Job.id).in_(job_ids))).all())
