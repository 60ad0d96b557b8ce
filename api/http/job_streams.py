"""The event streams of jobs, as server-sent events. An event's id is the version of the job that it shows.

A stream is resumed by `Last-Event-ID`: an event shows the whole job, so only the latest is ever missed.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

from sqlmodel import Session

from api import response_bodies
from api.auth import api_keys
from api.auth.authenticator import Caller
from api.errors import InvalidApiKey, NotFound, RateLimited, ServiceUnavailable
from api.jobs import service as jobs
from api.jobs.descriptions import describe
from api.jobs.models import JobStatus
from api.jobs.watching import JobWatcher
from api.services import Services

_STREAMS_PER_ACCOUNT = 20
#: Proxies close connections on which nothing is sent for a minute.
_COMMENT_EVERY_SECONDS = 15.0
#: Clients resume then.
_STREAM_SECONDS_MAX = 600.0
_COMMENT = b": the job has not changed\n\n"


class JobStream:
    """The events of one stream, which counts as open until it is closed."""

    def __init__(self, events: AsyncIterator[bytes], close: Callable[[], None]) -> None:
        self.events = events
        self.close = close


class JobStreams:
    """The open streams of this process."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._watcher = JobWatcher(services.database)
        self._open: Counter[str] = Counter()

    async def open(self, caller: Caller, job_id: str, after: int) -> JobStream | None:
        """The events of the job later than its version `after`; None if there will be none.

        The stream ends when the caller's key does. Raises `NotFound`, `RateLimited` if the account has too
        many streams open, `ServiceUnavailable`.
        """
        version, data = await self._read(caller, job_id)
        if _is_final(data) and version <= after:
            return None
        # From here to the count nothing else runs, so that no stream is opened in between.
        if self._open[caller.account_id] >= _STREAMS_PER_ACCOUNT:
            raise RateLimited(f"At most {_STREAMS_PER_ACCOUNT} event streams of an account may be open.", 5)
        self._open[caller.account_id] += 1
        events = self._events(caller, job_id, after, version, data)
        return JobStream(events, lambda: self._forget(caller.account_id))

    async def close(self) -> None:
        await self._watcher.close()

    async def _events(
        self, caller: Caller, job_id: str, sent: int, version: int, data: dict[str, Any]
    ) -> AsyncIterator[bytes]:
        ends_at = time.monotonic() + _STREAM_SECONDS_MAX
        while True:
            if version != sent:
                yield _event(version, data)
                sent = version
            if _is_final(data) or time.monotonic() > ends_at:
                return
            has_changed = await self._watcher.changed(job_id, sent, _COMMENT_EVERY_SECONDS)
            try:
                version, data = await self._read(caller, job_id)
            except (NotFound, InvalidApiKey):
                return  # It was deleted with its account, or the key has ended.
            except ServiceUnavailable:
                await asyncio.sleep(1.0)
            if not has_changed:
                yield _COMMENT

    def _forget(self, account_id: str) -> None:
        self._open[account_id] -= 1
        if not self._open[account_id]:
            del self._open[account_id]

    async def _read(self, caller: Caller, job_id: str) -> tuple[int, dict[str, Any]]:
        def read(session: Session) -> tuple[int, dict[str, Any]]:
            api_keys.check(session, caller.key_id, self._services.clock())
            job = jobs.find(session, caller.account_id, job_id)
            return job.version, describe(session, job)

        return await self._services.database.read(read)


def _is_final(data: dict[str, Any]) -> bool:
    return JobStatus(data["status"]).is_final


def _event(version: int, data: dict[str, Any]) -> bytes:
    # JSON without line breaks, so it is one line of data.
    return b"id: %d\nevent: job\ndata: %s\n\n" % (version, response_bodies.encode(data))
