"""The database: one transaction a request phase, off the event loop.

Work functions take a session and never commit. They are repeatable: each attempt gets a fresh session, and
what a work function returns or raises reaches its caller only after COMMIT succeeded. A work function lets
database errors pass.

Writes stand in one first-in-first-out queue. On SQLite one thread serves it and commits what waits there
together, each work in a savepoint of its own; on PostgreSQL several threads serve it, one transaction a work.
"""

import asyncio
import queue
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from sqlmodel import Session

from api import connections
from api.errors import ServiceUnavailable

T = TypeVar("T")
Work = Callable[[Session], T]

_GROUP_SIZE = 64  # works that may share one SQLite transaction
_ATTEMPTS = 6
_READ_THREADS = 4
_UNAVAILABLE = "The database cannot be used at the moment. Nothing was charged; please try again."


@dataclass
class _Job:
    work: Work[Any]
    future: Future[Any] = field(default_factory=Future)


class _GroupLost(Exception):
    """SQLite rolled the whole transaction back on its own."""


class Database:
    """One process's access to the database at `url`; nothing is opened before it is needed.

    Every method raises ServiceUnavailable when the database is locked, full or gone; it works again as soon
    as the database does.
    """

    def __init__(self, url: str, *, postgres_threads: int = 8, queue_size: int = 10_000) -> None:
        address = connections.parse(url)
        self._path = connections.sqlite_path(address)
        self._file_identity: tuple[int, int] | None = None
        self.is_sqlite = self._path is not None
        threads = 1 if self.is_sqlite else postgres_threads
        self.engine = connections.open_engine(address, connections=threads + 4)
        self._read_engine = connections.open_engine(address, connections=_READ_THREADS, read_only=True)
        self._readers = ThreadPoolExecutor(_READ_THREADS, thread_name_prefix="database-read")
        self._jobs: queue.Queue[_Job | None] = queue.Queue(queue_size)
        self._closed = False
        self._threads = [
            threading.Thread(target=self._serve, name=f"database-write-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    async def run(self, work: Work[T]) -> T:
        """`work` in one write transaction; returns or raises what it did once that is committed.

        A caller that is cancelled before its work began drops it; later the work is committed all the same.
        """
        return await asyncio.wrap_future(self.submit(work))

    async def read(self, work: Work[T]) -> T:
        """`work` on one consistent snapshot, waiting for no writer; writing is refused."""
        if self._closed:
            raise ServiceUnavailable("The server is shutting down.")
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, work)

    def submit(self, work: Work[T]) -> Future[T]:
        """As `run`, for threads: `database.submit(work).result()`."""
        if self._closed:
            raise ServiceUnavailable("The server is shutting down.")
        job = _Job(work)
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            raise ServiceUnavailable(_UNAVAILABLE, retry_after_seconds=1) from None
        return job.future

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A write transaction in the calling thread, committed at the end; for the command line and tests.

        It is not retried, because its body cannot be run twice: PostgreSQL may refuse it with a conflict.
        """
        with self._outages(), Session(self.engine, expire_on_commit=False) as session:
            yield session
            session.commit()

    def close(self) -> None:
        """Finishes the works that wait, then closes every connection."""
        if self._closed:
            return
        self._closed = True
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()
        self._readers.shutdown()
        self.engine.dispose()
        self._read_engine.dispose()

    def _read(self, work: Work[T]) -> T:
        with self._outages(), Session(self._read_engine, expire_on_commit=False) as session:
            return work(session)

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            group = [job]
            closing = False
            while self.is_sqlite and len(group) < _GROUP_SIZE and not closing:
                try:
                    following = self._jobs.get_nowait()
                except queue.Empty:
                    break
                if following is None:
                    closing = True
                else:
                    group.append(following)
            self._perform_group([one for one in group if one.future.set_running_or_notify_cancel()])
            if closing:
                return

    def _perform_group(self, group: list[_Job]) -> None:
        if len(group) > 1:
            try:
                with self._outages(), self.engine.begin() as connection:
                    outcomes = [_in_savepoint(connection, job.work) for job in group]
            except _GroupLost:
                pass  # Which work did it is unknown, so each is tried alone.
            except Exception as error:
                outcomes = [error] * len(group)
                _resolve(group, outcomes)
                return
            else:
                _resolve(group, outcomes)
                return
        for job in group:
            try:
                job.future.set_result(self._perform(job.work))
            except Exception as error:
                job.future.set_exception(error)

    def _perform(self, work: Work[T]) -> T:
        """`work` in a transaction of its own: the one place where conflicts are retried."""
        for attempt in range(_ATTEMPTS):
            try:
                with self.transaction() as session:
                    return work(session)
            except DBAPIError as error:
                if not connections.is_conflict(error):
                    raise
            time.sleep(random.uniform(0, 0.01 * 2**attempt))  # noqa: S311 - spreads rivals, hides nothing
        raise ServiceUnavailable(_UNAVAILABLE, retry_after_seconds=1)

    @contextmanager
    def _outages(self) -> Iterator[None]:
        try:
            self._notice_a_replaced_file()
            yield
        except DBAPIError as error:
            if connections.is_outage(error):
                raise ServiceUnavailable(_UNAVAILABLE) from error
            raise
        except (PoolExhausted, FileNotFoundError) as error:
            raise ServiceUnavailable(_UNAVAILABLE) from error

    def _notice_a_replaced_file(self) -> None:
        """An open SQLite file that was deleted or replaced would take writes that nobody sees again."""
        if self._path is None:
            return
        stat = self._path.stat()
        identity = (stat.st_dev, stat.st_ino)
        if identity != self._file_identity:
            self.engine.dispose()
            self._read_engine.dispose()
            self._file_identity = identity


class _Raised:
    def __init__(self, error: Exception) -> None:
        self.error = error


def _in_savepoint(connection: Connection, work: Work[Any]) -> Any:
    try:
        with Session(connection, join_transaction_mode="create_savepoint", expire_on_commit=False) as session:
            result = work(session)
            session.commit()
            return result
    except Exception as error:
        if not connection.connection.driver_connection.in_transaction:  # type: ignore[union-attr]
            raise _GroupLost from error
        return _Raised(error)


def _resolve(group: list[_Job], outcomes: list[Any]) -> None:
    for job, outcome in zip(group, outcomes, strict=True):
        if isinstance(outcome, _Raised):
            job.future.set_exception(outcome.error)
        elif isinstance(outcome, Exception):
            job.future.set_exception(outcome)
        else:
            job.future.set_result(outcome)
