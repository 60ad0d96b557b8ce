"""Workers behind one queue: a dispatcher, and a slot for each of the workers that there are at the moment."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from ml.backend import EngineState, Progress, ToolAnswer, ToolCall
from ml.editing.engine_selection import EngineSelection
from ml.errors import Overloaded
from ml.runtime.call_monitor import SlotLimits
from ml.runtime.dispatcher import Dispatcher, Submission
from ml.runtime.slot import WorkerSlot
from ml.runtime.worker_interface import Worker
from ml.statistics import Statistics

log = logging.getLogger(__name__)

#: Time allowed for killing a worker.
END_SECONDS = 10.0


class PoolTicket:
    """`ml.backend.Ticket` of one submission."""

    def __init__(self, dispatcher: Dispatcher, submission: Submission) -> None:
        self._dispatcher = dispatcher
        self._submission = submission

    @property
    def answer(self) -> Future[ToolAnswer]:
        return self._submission.answer

    @property
    def expected_seconds(self) -> float | None:
        return None if self._submission.work is None else self._submission.expected_seconds

    def cancel(self) -> None:
        """Does not block: a running call is stopped by its slot's thread."""
        self._dispatcher.cancel(self._submission)

    def drop_if_queued(self) -> bool:
        return self._dispatcher.drop_if_queued(self._submission)


@dataclass(frozen=True)
class QueueLimits:
    """When calls are refused, and which count as long."""

    size: int  # waiting calls
    max_wait_seconds: float  # calls expected to wait longer are refused; math.inf: none
    full_speed_calls: int  # that may run at once without slowing each other down


class WorkerPool:
    """`start_worker()` starts a worker or raises OSError; it is called in the thread of a slot."""

    def __init__(
        self,
        name: str,
        start_worker: Callable[[], Worker],
        queue: QueueLimits,
        limits: SlotLimits,
        slots: int,
        statistics: Statistics | None = None,
    ) -> None:
        self.dispatcher = Dispatcher(
            queue.size,
            slots,
            queue.max_wait_seconds,
            limits.long_seconds,
            self._wake_all,
            full_speed_calls=queue.full_speed_calls,
            statistics=statistics,
        )
        self._name = name
        self._start_worker = start_worker
        self._limits = limits
        self._slots = [self._slot(number) for number in range(slots)]
        self._started = False

    def _slot(self, number: int) -> WorkerSlot:
        return WorkerSlot(
            f"{self._name}-{number}",
            self._start_worker,
            self._limits,
            self.dispatcher,
            self._may_replace,
            self._fail_waiting_calls,
        )

    @property
    def slots(self) -> list[WorkerSlot]:
        """One for each worker that there was at the most; fewer may be in use, see `resize`."""
        return list(self._slots)

    @property
    def is_started(self) -> bool:
        return self._started

    def start(self) -> None:
        """Start the workers. Returns at once; they warm up in the background. May be called once."""
        if self._started:
            raise RuntimeError("the pool was already started")
        self._started = True
        self.dispatcher.open()
        for slot in self._slots:
            slot.start()

    def memory_bytes(self, prefix: str = "") -> tuple[dict[str, int], dict[tuple[str, str], int]]:
        """Resident memory by worker, and what engines count for by worker and engine.

        Workers are numbered, after `prefix`.
        """
        named = {f"{prefix}{number}": slot for number, slot in enumerate(self._slots)}
        return (
            {name: slot.memory_bytes for name, slot in named.items()},
            {
                (name, engine): size
                for name, slot in named.items()
                for engine, size in slot.engine_bytes.items()
            },
        )

    def resize(self, slots: int, spare: int = 0) -> None:
        """Run at most `slots` calls at once from now on, and send `spare` more; running ones go on.

        Called by one thread.
        """
        added = [self._slot(number) for number in range(len(self._slots), slots + spare)]
        self._slots += added
        for slot in added if self._started else ():
            slot.start()
        self.dispatcher.resize(slots, spare)

    def submit(self, call: ToolCall, on_progress: Callable[[Progress], None] | None = None) -> PoolTicket:
        """Raises Overloaded: queue full, wait too long, no worker can start, or shutting down."""
        if self._is_failing():
            raise _none_starts()
        return PoolTicket(self.dispatcher, self.dispatcher.submit(call, on_progress))

    def stop(self, grace_seconds: float) -> float:
        """Refuse new calls, fail waiting ones. Returns the monotonic deadline of running ones."""
        return self.dispatcher.stop(grace_seconds)

    def close(self, stop_at: float) -> None:
        """Wait for the slots, whose calls end until `stop_at` (monotonic seconds)."""
        for slot in self._slots:
            if not slot.join(max(0.0, stop_at - time.monotonic()) + END_SECONDS):
                log.error("A worker did not end")  # not even by SIGKILL: it is stuck in the kernel
        self.dispatcher.close()

    def _wake_all(self) -> None:
        for slot in list(self._slots):
            slot.wake()

    def _may_replace(self) -> bool:
        return sum(slot.is_ready for slot in self._slots) >= min(2, len(self._slots))

    def _is_failing(self) -> bool:
        return bool(self._slots) and all(slot.is_failing for slot in self._slots)

    def _fail_waiting_calls(self) -> None:
        if self._is_failing():
            self.dispatcher.fail_waiting(_none_starts())


def engine_state(tool: str, found: EngineSelection, dispatcher: Dispatcher, device: str) -> EngineState:
    """What is installed for a tool, and how fast it was with `dispatcher`."""
    return EngineState(
        tool=tool,
        installed=found.installed,
        missing=found.missing,
        # Not every engine supports every device; the last result shows which one was used.
        device=dispatcher.device(tool) or device,
        seconds_per_megapixel=dispatcher.seconds_per_megapixel(tool),
        defaults=found.defaults,
    )


def _none_starts() -> Overloaded:
    return Overloaded("No worker process can be started; see the server's log.", 10)
