"""The first-in-first-out queue of write transactions, served by threads, off the event loop."""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlmodel import Session

from api.errors import ServiceUnavailable

T = TypeVar("T")
Work = Callable[[Session], T]


@dataclass(frozen=True)
class Returned:
    value: Any


@dataclass(frozen=True)
class Raised:
    error: Exception


Outcome = Returned | Raised


@dataclass(frozen=True)
class _Job:
    work: Work[Any]
    future: Future[Any] = field(default_factory=Future)


class WriteQueue:
    """Passes queued work functions to `run_group(works) -> outcomes`, up to `group_size` at a time.

    `threads` threads do so. A future is resolved when `run_group` has returned, which is after COMMIT.
    """

    def __init__(
        self,
        run_group: Callable[[list[Work[Any]]], list[Outcome]],
        *,
        threads: int,
        group_size: int,
        waiting_max: int,
    ) -> None:
        self._run_group = run_group
        self._group_size = group_size
        self._jobs: queue.Queue[_Job | None] = queue.Queue(waiting_max)
        # Held while submitting and while closing, so that no job is added after the end and never run.
        self._submit_lock = threading.Lock()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._run, name=f"database-write-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, work: Work[T]) -> Future[T]:
        """Queue `work`; returns the future of its result. Raises ServiceUnavailable when full or closed."""
        job = _Job(work)
        with self._submit_lock:
            if self._closed:
                raise ServiceUnavailable("The server is shutting down.")
            try:
                self._jobs.put_nowait(job)
            except queue.Full:
                raise ServiceUnavailable("Too many calls wait for the database.", 1) from None
        return job.future

    def close(self) -> None:
        """Refuse new work and wait until the queued work is done."""
        with self._submit_lock:
            self._closed = True
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        ended = False
        while not ended:
            group = [self._jobs.get()]
            while group[-1] is not None and len(group) < self._group_size and not self._jobs.empty():
                try:
                    group.append(self._jobs.get_nowait())
                except queue.Empty:  # Another thread took it.
                    break
            ended = group[-1] is None
            # Drop jobs whose callers were cancelled.
            jobs = [job for job in group if job is not None and job.future.set_running_or_notify_cancel()]
            if jobs:
                self._run_jobs(jobs)

    def _run_jobs(self, jobs: list[_Job]) -> None:
        try:
            outcomes = self._run_group([job.work for job in jobs])
        except Exception as error:
            outcomes = [Raised(error)] * len(jobs)
        for job, outcome in zip(jobs, outcomes, strict=True):
            if isinstance(outcome, Raised):
                job.future.set_exception(outcome.error)
            else:
                job.future.set_result(outcome.value)
