"""Runs work functions in transactions, off the event loop.

Work functions take a session and never commit. They must be repeatable: each attempt gets a new session, and
their result or exception reaches the caller only after COMMIT. They do not catch database errors.

On SQLite one thread writes and commits all queued work functions together, each in its own savepoint: several
threads would only compete for the single write lock, which SQLite grants unfairly. On PostgreSQL several
threads write, one transaction per work function, and the database groups their commits.
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from sqlmodel import Session

from api.db import connections
from api.db.write_queue import Outcome, Raised, Returned, T, Work, WriteQueue
from api.errors import ServiceUnavailable
from api.outage_log import OutageLog

_SQLITE_GROUP_SIZE = 64
_WAITING_MAX = 10_000
_ATTEMPTS = 6
_READ_THREADS = 4
_CALLING_THREADS = 4  # that use `transaction` at the same time, besides those of the queue
_UNAVAILABLE = "The database cannot be used at the moment. Nothing was charged; please try again."


class Database:
    """One process's access to the database at `url`. Connections are opened on first use.

    Every method raises ServiceUnavailable while the database is locked, full or unreachable, and works again
    afterwards.
    """

    def __init__(
        self,
        url: str,
        *,
        postgres_threads: int = 8,
        lock_wait_seconds: float = connections.LOCK_WAIT_SECONDS,
    ) -> None:
        address = self._address = connections.parse(url)
        self._path = connections.sqlite_path(address)
        self._file_identity: tuple[int, int] | None = None
        self._outage_log = OutageLog("database")
        #: Gets "read" or "write", and the seconds that one took, waiting included.
        self.observe: Callable[[str, float], None] = lambda _kind, _seconds: None
        self.is_sqlite = self._path is not None
        threads = 1 if self.is_sqlite else postgres_threads
        self.engine = connections.open_engine(
            address, connections=threads + _CALLING_THREADS, lock_wait_seconds=lock_wait_seconds
        )
        self._read_engine = connections.open_engine(
            address, connections=_READ_THREADS, read_only=True, lock_wait_seconds=lock_wait_seconds
        )
        self._readers = ThreadPoolExecutor(_READ_THREADS, thread_name_prefix="database-read")
        self._queue = WriteQueue(
            self._run_group,
            threads=threads,
            group_size=_SQLITE_GROUP_SIZE if self.is_sqlite else 1,
            waiting_max=_WAITING_MAX,
        )

    async def run(self, work: Work[T]) -> T:
        """Run `work` in a write transaction; returns its result, or raises its exception, after COMMIT.

        Cancelling the caller drops work that has not begun. Work that has begun is committed nevertheless.
        """
        began = time.perf_counter()
        try:
            return await asyncio.wrap_future(self.submit(work))
        finally:
            self.observe("write", time.perf_counter() - began)

    def submit(self, work: Work[T]) -> Future[T]:
        """As `run`, for threads: `database.submit(work).result()`."""
        return self._queue.submit(work)

    async def read(self, work: Work[T]) -> T:
        """Run `work` in a read-only transaction, which does not wait for writers."""
        try:
            reading = asyncio.get_running_loop().run_in_executor(self._readers, self._read, work)
        except RuntimeError as error:  # Raised by an executor that was shut down.
            raise ServiceUnavailable("The server is shutting down.") from error
        began = time.perf_counter()
        try:
            return await reading
        finally:
            self.observe("read", time.perf_counter() - began)

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A write transaction in the calling thread, committed at the end; for the command line and tests.

        It is not retried, because its body cannot be run twice, so PostgreSQL may abort it with a conflict.
        """
        with self._translate_outages(), Session(self.engine, expire_on_commit=False) as session:
            yield session
            session.commit()

    def open_engine(self, connection_count: int) -> Engine:
        """Another engine for this database, for a library with threads of its own, which disposes of it."""
        return connections.open_engine(self._address, connections=connection_count)

    def close(self) -> None:
        """Finish the queued work, then close every connection."""
        self._queue.close()
        self._readers.shutdown()
        self.engine.dispose()
        self._read_engine.dispose()

    def _read(self, work: Work[T]) -> T:
        try:
            return self._read_once(work)
        except ServiceUnavailable as error:
            if not connections.is_lost(error.__cause__):
                raise
        return self._read_once(work)

    def _read_once(self, work: Work[T]) -> T:
        with (
            self._translate_outages(writing=False),
            Session(self._read_engine, expire_on_commit=False) as session,
        ):
            return work(session)

    def _run_group(self, works: list[Work[Any]]) -> list[Outcome]:
        if len(works) > 1:
            try:
                with self._translate_outages(), self.engine.begin() as connection:
                    return [_in_savepoint(connection, work) for work in works]
            except _TransactionLost:
                pass  # It is unknown which work function is at fault, so each runs alone.
        return [self._run_alone(work) for work in works]

    def _run_alone(self, work: Work[Any]) -> Outcome:
        """Run `work` in its own transaction. Only here are conflicts and lost connections retried."""
        for attempt in range(_ATTEMPTS):
            committing = False
            try:
                with self.transaction() as session:
                    value = work(session)
                    committing = True
                return Returned(value)
            except DBAPIError as error:
                if not connections.is_conflict(error):
                    return Raised(error)
            except ServiceUnavailable as error:
                # Once COMMIT was sent, it may have been done although its answer was lost.
                if committing or attempt > 0 or not connections.is_lost(error.__cause__):
                    return Raised(error)
            except Exception as error:
                return Raised(error)
            time.sleep(random.uniform(0, 0.01 * 2**attempt))  # noqa: S311 - jitter, not a secret
        return Raised(ServiceUnavailable(_UNAVAILABLE, retry_after_seconds=1))

    @contextmanager
    def _translate_outages(self, *, writing: bool = True) -> Iterator[None]:
        self._detect_replaced_file()
        try:
            yield
        except DBAPIError as error:
            if connections.is_outage(error, writing=writing):
                self._outage_log.report(error)
                raise ServiceUnavailable(_UNAVAILABLE) from error
            raise
        except PoolExhausted as error:
            self._outage_log.report(error)
            raise ServiceUnavailable(_UNAVAILABLE) from error

    def _detect_replaced_file(self) -> None:
        """Reconnect if the file was replaced: writes to a deleted file that is still open would be lost."""
        if self._path is None:
            return
        try:
            status = self._path.stat()
        except OSError as error:
            self._outage_log.report(error)
            raise ServiceUnavailable(_UNAVAILABLE) from error
        identity = (status.st_dev, status.st_ino)
        if identity != self._file_identity:
            self.engine.dispose()
            self._read_engine.dispose()
            self._file_identity = identity


class _TransactionLost(Exception):
    """SQLite rolled the whole transaction back by itself, for example because the disk is full."""


def _in_savepoint(connection: Connection, work: Work[Any]) -> Outcome:
    try:
        with (
            connections.savepoint(connection),
            Session(connection, join_transaction_mode="rollback_only", expire_on_commit=False) as session,
        ):
            value = work(session)
            session.flush()
        return Returned(value)
    except Exception as error:
        is_outage = isinstance(error, DBAPIError) and connections.is_outage(error, writing=True)
        if is_outage or not connections.in_transaction(connection):
            raise _TransactionLost from error
        return Raised(error)
