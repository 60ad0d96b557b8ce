"""Whether this process can read and write its database and store images, as reported by `/readyz`."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from api.db import probe
from api.db.database import Database
from api.errors import ServiceUnavailable
from api.images.storage import Storage

#: `/readyz` needs no key, so its writes are bounded: a result is reused for this time.
KEPT_SECONDS = 2.0


class PartState(StrEnum):
    OK = "ok"
    READ_ONLY = "read-only"  # a full disk, a standby server, or a lock that is never released
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True)
class PartStates:
    database: PartState
    storage: PartState


class Readiness:
    """Tries the database and the storage, one attempt at a time, however many callers ask."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = asyncio.Lock()
        self._checked_at = float("-inf")
        self._states = PartStates(PartState.UNAVAILABLE, PartState.UNAVAILABLE)
        #: Whether the server is about to end, and proxies should leave it.
        self.is_draining = False

    async def check(self, database: Database, storage: Storage) -> PartStates:
        async with self._lock:
            if self._clock() >= self._checked_at + KEPT_SECONDS:
                database_state, storage_state = await asyncio.gather(
                    _database_state(database), _storage_state(storage)
                )
                self._states = PartStates(database_state, storage_state)
                self._checked_at = self._clock()
            return self._states


async def _database_state(database: Database) -> PartState:
    try:
        await database.read(probe.read)
    except ServiceUnavailable:
        return PartState.UNAVAILABLE
    try:
        await database.run(probe.write)
    except ServiceUnavailable:
        return PartState.READ_ONLY
    return PartState.OK


async def _storage_state(storage: Storage) -> PartState:
    try:
        await asyncio.to_thread(storage.check_writable)
    except ServiceUnavailable:
        return PartState.UNAVAILABLE
    return PartState.OK
