"""The event streams of jobs, as server-sent events. An event's id is the version of the job that it shows.

A stream is resumed by `Last-Event-ID`: an event shows the whole job, so only the latest is ever missed.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

from sqlmodel import Session

from api import response_bodies
from api.errors import NotFound, RateLimited, ServiceUnavailable
from api.jobs import service as jobs
from api.jobs.descriptions import describe
from api.jobs.models import JobStatus
from api.jobs.watching import JobWatcher
from api.services import Services

_STREAMS_PER_ACCOUNT = 20
#: Proxies close connections on which nothing is sent for a minute.
_COMMENT_EVERY_SECONDS = 15.0
#: Clients resume then. A revoked key ends a stream no later.
_STREAM_SECONDS_MAX = 600.0
_COMMENT = b": the job has not changed\n\n"


class JobStreams:
    """The open streams of this process."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._watcher = JobWatcher(services.database)
        self._open: Counter[str] = Counter()

    async def events(self, account_id: str, job_id: str, after: int) -> AsyncIterator[bytes] | None:
        """The events of the job later than its version `after`; None if there will be none.

        Raises `NotFound`, `RateLimited` if the account has too many streams open, `ServiceUnavailable`.
        """
        version, data = await self._read(account_id, job_id)
        if _is_final(data) and version <= after:
            return None
        if self._open[account_id] >= _STREAMS_PER_ACCOUNT:
            raise RateLimited(f"At most {_STREAMS_PER_ACCOUNT} event streams of an account may be open.", 5)
        return self._stream(account_id, job_id, after, version, data)

    async def close(self) -> None:
        await self._watcher.close()

    async def _stream(
        self, account_id: str, job_id: str, sent: int, version: int, data: dict[str, Any]
    ) -> AsyncIterator[bytes]:
        ends_at = time.monotonic() + _STREAM_SECONDS_MAX
        with self._counted(account_id):
            while True:
                if version != sent:
                    yield _event(version, data)
                    sent = version
                if _is_final(data) or time.monotonic() > ends_at:
                    return
                if not await self._watcher.changed(job_id, sent, _COMMENT_EVERY_SECONDS):
                    yield _COMMENT
                try:
                    version, data = await self._read(account_id, job_id)
                except NotFound:
                    return  # It was deleted with its account.
                except ServiceUnavailable:
                    await asyncio.sleep(1.0)

    @contextmanager
    def _counted(self, account_id: str) -> Iterator[None]:
        self._open[account_id] += 1
        try:
            yield
        finally:
            self._open[account_id] -= 1
            if not self._open[account_id]:
                del self._open[account_id]

    async def _read(self, account_id: str, job_id: str) -> tuple[int, dict[str, Any]]:
        def read(session: Session) -> tuple[int, dict[str, Any]]:
            job = jobs.find(session, account_id, job_id)
            return job.version, describe(session, job)

        return await self._services.database.read(read)


def _is_final(data: dict[str, Any]) -> bool:
    return JobStatus(data["status"]).is_final


def _event(version: int, data: dict[str, Any]) -> bytes:
    # JSON without line breaks, so it is one line of data.
    return b"id: %d\nevent: job\ndata: %s\n\n" % (version, response_bodies.encode(data))
