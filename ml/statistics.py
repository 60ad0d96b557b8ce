"""What a backend has counted since it started, for the operator's metrics."""

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

#: Upper bounds of the buckets of durations, in seconds; a last bucket has no bound.
BOUNDS_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 25, 60, 300)


class WorkerEnd(StrEnum):
    """Why a worker process was replaced."""

    WORN = "worn"  # as planned, after many calls or with much memory left in use
    MEMORY = "memory"  # its call needed more than a worker may
    TIMEOUT = "timeout"  # its call took longer than it may
    CANCELLED = "cancelled"  # its call did not stop when it was asked to
    LOST = "lost"  # it crashed, or was killed from outside
    START = "start"  # it died before it was ready


@dataclass
class Durations:
    """A histogram. `counts` has one more element than `BOUNDS_SECONDS`."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_SECONDS) + 1))
    seconds: float = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS_SECONDS, seconds)] += 1
        self.seconds += seconds

    def copy(self) -> "Durations":
        return Durations(list(self.counts), self.seconds)


@dataclass(frozen=True)
class Snapshot:
    """`waits`: in the queue, by priority. `stages`: by tool, and decode, run or encode."""

    waits: Mapping[str, Durations]
    stages: Mapping[tuple[str, str], Durations]
    worker_ends: Mapping[WorkerEnd, int]
    worker_memory_bytes: Mapping[str, int]
    engine_memory_bytes: Mapping[tuple[str, str], int]  # by worker and engine


class Statistics:
    """Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waits: dict[str, Durations] = {}
        self._stages: dict[tuple[str, str], Durations] = {}
        self._worker_ends: Counter[WorkerEnd] = Counter()

    def waited(self, priority: str, seconds: float) -> None:
        with self._lock:
            self._waits.setdefault(priority, Durations()).add(seconds)

    def took(self, tool: str, stage: str, seconds: float) -> None:
        with self._lock:
            self._stages.setdefault((tool, stage), Durations()).add(seconds)

    def worker_ended(self, why: WorkerEnd) -> None:
        with self._lock:
            self._worker_ends[why] += 1

    def snapshot(
        self,
        worker_memory_bytes: Mapping[str, int],
        engine_memory_bytes: Mapping[tuple[str, str], int],
    ) -> Snapshot:
        with self._lock:
            return Snapshot(
                {key: each.copy() for key, each in self._waits.items()},
                {key: each.copy() for key, each in self._stages.items()},
                dict(self._worker_ends),
                worker_memory_bytes,
                engine_memory_bytes,
            )
