"""A slot for one worker, and the thread that supervises it.

Only this thread uses the worker, so no lock is needed. It waits on the worker's socket and on a `Wakeup`,
which other threads trigger when there is a call to take or to stop.
"""

import logging
import select
import threading
import time
from collections.abc import Callable

from ml.errors import WorkerLost
from ml.runtime.call_monitor import CallMonitor, SlotLimits
from ml.runtime.dispatcher import Dispatcher
from ml.runtime.wakeup import Wakeup
from ml.runtime.wire import WireBroken
from ml.runtime.worker_interface import Worker
from ml.statistics import WorkerEnd

log = logging.getLogger(__name__)

#: A worker whose memory is large after this many calls in a row is replaced.
LARGE_IN_A_ROW = 5


class WorkerSlot:
    """`may_replace()`: whether the slot may restart its worker now. `on_failing()`: starts keep failing."""

    def __init__(
        self,
        name: str,
        start_worker: Callable[[], Worker],
        limits: SlotLimits,
        dispatcher: Dispatcher,
        may_replace: Callable[[], bool],
        on_failing: Callable[[], None],
    ) -> None:
        self._start_worker = start_worker
        self._limits = limits
        self._dispatcher = dispatcher
        self._may_replace = may_replace
        self._on_failing = on_failing
        self._wakeup = Wakeup()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._failures = 0  # consecutive failed starts
        self._calls = 0  # of the current worker
        self._large_in_a_row = 0  # consecutive calls after which its memory was large
        self._engine_bytes: dict[str, int] = {}
        self._child: Worker | None = None  # the current worker, once it has warmed up

    @property
    def is_ready(self) -> bool:
        """Whether its worker has warmed up and is running."""
        child = self._child
        return child is not None and child.is_up

    @property
    def memory_bytes(self) -> int:
        """Resident memory of its worker; 0 while there is none."""
        child = self._child
        return 0 if child is None or not child.is_up else child.rss_bytes()

    @property
    def engine_bytes(self) -> dict[str, int]:
        """What each engine in its worker counts for, as of its last answer."""
        return dict(self._engine_bytes)

    @property
    def is_failing(self) -> bool:
        """Whether several workers in a row failed to start and none is running."""
        return self._failures >= 3 and not self.is_ready

    def start(self) -> None:
        self._wakeup.open()
        self._thread.start()

    def wake(self) -> None:
        """Wake the thread: there is a call to take or to stop, or a shutdown. Thread-safe, does not block."""
        self._wakeup.wake()

    def join(self, timeout_seconds: float) -> bool:
        """Wait for the thread and its worker to end. True if ended or never started."""
        if self._thread.ident is not None:
            self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    # Methods below run in the slot's own thread.

    def _run(self) -> None:
        while self._dispatcher.stop_at is None:
            try:
                self._use_one_worker()
            except Exception:  # a defect must not disable the slot
                log.exception("A worker's supervisor failed")
                self._failures += 1
            if self._failures and self._dispatcher.stop_at is None:
                self._pause()
        self._wakeup.close()

    def _pause(self) -> None:
        """Wait before the next start, longer each time."""
        if self.is_failing:
            self._on_failing()
        ends_at = time.monotonic() + min(0.1 * 2**self._failures, self._limits.longest_pause_seconds)
        while self._dispatcher.stop_at is None and (left := ends_at - time.monotonic()) > 0:
            self._sleep(left)

    def _use_one_worker(self) -> None:
        child = self._start_worker()
        self._calls = self._large_in_a_row = 0
        try:
            if self._await_warm(child):
                self._child = child
                while self._serve(child):
                    pass
        finally:
            child.kill()
            self._child = None
            self._engine_bytes = {}

    def _await_warm(self, child: Worker) -> bool:
        ends_at = time.monotonic() + self._limits.start_seconds
        while self._dispatcher.stop_at is None:
            left = ends_at - time.monotonic()
            if left <= 0:
                log.error("%s was not ready after %.0f s", child.name, self._limits.start_seconds)
                break
            if not self._sleep(left, child):
                continue
            try:
                child.receive()  # its first message is "ready"
            except WireBroken:
                log.exception("%s died while starting (%s)", child.name, child.kill())
                break
            return True
        if self._dispatcher.stop_at is None:
            self._dispatcher.statistics.worker_ended(WorkerEnd.START)
        self._failures += 1
        return False

    def _serve(self, child: Worker) -> bool:
        """Run the next call, or wait for one. False if this worker must be replaced."""
        has_gone = self._sleep(0.0, child)  # an idle worker's socket is readable only if it ended
        # Check only after this sleep, which may have cleared the wakeup; a later wakeup ends the next sleep.
        if self._dispatcher.stop_at is not None:
            return False
        submission = None
        if not has_gone:
            submission = self._dispatcher.take()
            has_gone = submission is None and self._sleep(60.0, child)
        if has_gone:
            log.error("%s ended while idle (%s)", child.name, child.kill())
            self._dispatcher.statistics.worker_ended(WorkerEnd.LOST)
            self._failures += 1
            return False
        if submission is None:
            return True
        self._calls += 1
        try:
            monitor = CallMonitor(child, submission, self._dispatcher, self._limits, self._sleep)
            survives = monitor.run()
            if monitor.engine_bytes is not None:
                self._engine_bytes = monitor.engine_bytes
        except Exception:  # a defect must not leave a caller waiting
            child.kill()
            self._dispatcher.fail(submission, WorkerLost("The worker's supervisor failed."))
            raise
        self._failures = 0
        if not survives:
            return False
        is_worn = self._is_worn(child)
        if is_worn:
            self._dispatcher.statistics.worker_ended(WorkerEnd.WORN)
        return not is_worn

    def _is_worn(self, child: Worker) -> bool:
        limits = self._limits
        is_large = child.rss_bytes() > limits.idle_memory_share * limits.memory_bytes
        # Memory of one large picture may not have been freed yet, so a single large reading is not enough.
        self._large_in_a_row = self._large_in_a_row + 1 if is_large else 0
        is_worn = self._calls >= limits.calls_per_worker or self._large_in_a_row >= LARGE_IN_A_ROW
        return is_worn and self._may_replace()

    def _sleep(self, seconds: float, child: Worker | None = None) -> bool:
        """Wait until woken, until the worker sends a message (then True) or until `seconds` have passed."""
        poll = select.poll()
        poll.register(self._wakeup, select.POLLIN)
        if child is not None:
            poll.register(child, select.POLLIN)
        found = {descriptor for descriptor, _ in poll.poll(max(0.0, seconds) * 1000)}
        if self._wakeup.fileno() in found:
            self._wakeup.clear()
        return child is not None and child.fileno() in found
