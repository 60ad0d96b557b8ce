"""Hands submitted calls to workers: the queue and the duration model under one lock."""

import logging
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

from ml.backend import Progress, ToolAnswer, ToolCall
from ml.errors import Cancelled, Overloaded, TimedOut, TooSlow
from ml.runtime import duration_model
from ml.runtime.queue import QueuedCall, QueueFull, WeightedQueue
from ml.statistics import Statistics

log = logging.getLogger(__name__)

#: Assumed duration of a call before the first of its kind was measured. Low, because refusing calls for a
#: long wait should be based on measurements.
UNKNOWN_SECONDS = 0.5
MAX_RETRY_AFTER_SECONDS = 60
#: A call that was stopped at its time limit is recorded with this multiple of the limit.
BEYOND_LIMIT = 1.2


def shutting_down() -> Overloaded:
    """The error of calls that this process will not run any more."""
    return Overloaded("The server is shutting down. Please try again.", 5)


def _pending_answer() -> Future[ToolAnswer]:
    future: Future[ToolAnswer] = Future()
    # Only `Ticket.cancel` may stop a call. Without this, cancelling an asyncio task that awaits the answer
    # would cancel the future itself.
    future.set_running_or_notify_cancel()
    return future


@dataclass(eq=False)
class Submission(QueuedCall):
    """A submitted call: waiting, running or finished."""

    call: ToolCall = field(kw_only=True)
    on_progress: Callable[[Progress], None] | None = field(kw_only=True, default=None)
    answer: Future[ToolAnswer] = field(kw_only=True, default_factory=_pending_answer)
    cancel_requested: bool = field(kw_only=True, default=False)
    was_preempted: bool = field(
        kw_only=True, default=False
    )  # cancelled in favour of a billed call, not by its caller
    losses: int = field(kw_only=True, default=0)  # workers that were lost while they had it
    work: float | None = field(
        kw_only=True, default=None
    )  # of `ml.runtime.duration_model`; known from the header
    is_trial: bool = field(kw_only=True, default=False)  # runs although its estimate would have it refused
    reached: float = field(kw_only=True, default=0.0)  # the largest fraction of its work so far
    was_withdrawn: bool = field(kw_only=True, default=False)  # once, for a more important call
    last_reported: Progress | None = field(kw_only=True, default=None)  # last progress passed to the caller


class ProgressThread:
    """Calls `on_progress` on one thread, in order, so that a slow listener never blocks a worker.

    Only the latest progress of each call is kept: a slow listener misses intermediate steps.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._latest: dict[Submission, Progress] = {}
        self._is_open = True
        self._thread = threading.Thread(target=self._run, name="bgeraser-progress", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def report(self, submission: Submission, progress: Progress) -> None:
        if submission.on_progress is None or progress == submission.last_reported:
            return
        submission.last_reported = progress
        with self._condition:
            self._latest[submission] = progress
            self._condition.notify()

    def close(self) -> None:
        with self._condition:
            self._is_open = False
            self._condition.notify()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout=1.0)

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._latest or not self._is_open)
                if not self._latest:
                    return
                latest, self._latest = self._latest, {}
            for submission, progress in latest.items():
                if submission.on_progress is None or submission.answer.done():
                    continue
                try:
                    submission.on_progress(progress)
                except Exception:
                    log.exception("A progress listener failed")


class Dispatcher:
    """`wake()` wakes the slots' threads, which then call `take`. Futures are resolved outside the lock."""

    def __init__(
        self,
        queue_size: int,
        slots: int,
        max_wait_seconds: float,
        long_seconds: float,
        wake: Callable[[], None],
        full_speed_calls: int = 1,
        statistics: Statistics | None = None,
    ) -> None:
        self.statistics = statistics or Statistics()
        self._max_wait_seconds = max_wait_seconds
        self._long_seconds = long_seconds
        self._wake = wake
        self._lock = threading.Lock()
        self._queue: WeightedQueue[Submission] = WeightedQueue(
            queue_size, slots, long_seconds, full_speed_calls
        )
        self._durations = duration_model.DurationModel()
        self._progress = ProgressThread()
        self._devices: dict[str, str] = {}  # by tool, of its last answer
        self._stop_at: float | None = None

    # For callers

    def open(self) -> None:
        self._progress.start()

    def submit(self, call: ToolCall, on_progress: Callable[[Progress], None] | None) -> Submission:
        """Raises Overloaded."""
        now = time.monotonic()
        with self._lock:
            expected_seconds, is_long = self._expect(call)
            submission = Submission(
                call.priority,
                expected_seconds,
                is_long,
                now,
                is_billed=call.is_billed,
                call=call,
                on_progress=on_progress,
            )
            self._refuse_if_overloaded(submission, now)
            self._queue.put(submission)
            self._preempt_guest(submission, now)
            self._report_positions()
        self._wake()
        return submission

    def _expect(self, call: ToolCall) -> tuple[float, bool]:
        """Expected seconds before the picture's size is known, and whether it is a long call."""
        estimate = self._durations.estimate(call)
        if estimate is None:
            # It may be long, and must not occupy every worker.
            return UNKNOWN_SECONDS, self._long_seconds < math.inf
        return estimate.mean_seconds, estimate.mean_seconds > self._long_seconds

    def _refuse_if_overloaded(self, submission: Submission, now: float) -> None:
        if self._stop_at is not None:
            raise shutting_down()
        seconds = self._queue.expected_wait_seconds(now, submission)
        beyond_seconds = min(max(seconds - self._max_wait_seconds, 1.0), MAX_RETRY_AFTER_SECONDS)
        retry_after = math.ceil(beyond_seconds)
        if seconds > self._max_wait_seconds:
            raise Overloaded(f"The expected wait is {seconds:.0f} seconds.", retry_after)
        try:
            self._queue.check_room(submission.priority)
        except QueueFull:
            raise Overloaded("The queue is full.", retry_after) from None

    def _preempt_guest(self, billed: Submission, now: float) -> None:
        """Cancel a guest's long call that occupies the worker `billed` waits for. The lock must be held."""
        guest = self._queue.find_preemptible(now, billed)
        if guest is not None and not guest.cancel_requested:
            guest.cancel_requested = guest.was_preempted = True

    def cancel(self, submission: Submission) -> None:
        if self.drop_if_queued(submission):
            return
        with self._lock:
            submission.cancel_requested = True
        self._wake()

    def drop_if_queued(self, submission: Submission) -> bool:
        with self._lock:
            if not self._queue.remove(submission):
                return False
            self._report_positions()
        submission.answer.set_exception(Cancelled("The call was withdrawn before it started."))
        return True

    def fail_waiting(self, error: Exception) -> None:
        """Fail all waiting calls: no worker will take them."""
        with self._lock:
            withdrawn = self._queue.drain()
        for submission in withdrawn:
            submission.answer.set_exception(error)

    def stop(self, grace_seconds: float) -> float:
        """Refuse new calls, fail waiting ones. Returns the monotonic deadline of running ones."""
        with self._lock:
            if self._stop_at is None:
                self._stop_at = time.monotonic() + grace_seconds
            stop_at = self._stop_at
        self.fail_waiting(shutting_down())
        self._wake()
        return stop_at

    def close(self) -> None:
        self._progress.close()

    def resize(self, slots: int, spare: int = 0) -> None:
        """Let `slots` calls run at once from now on, and take `spare` more."""
        with self._lock:
            self._queue.resize(slots, spare)
        self._wake()

    def counts(self) -> tuple[int, int]:
        """Numbers of waiting and running calls."""
        with self._lock:
            return len(self._queue), len(self._queue.running)

    def seconds_per_megapixel(self, tool: str) -> float | None:
        with self._lock:
            return self._durations.seconds_per_megapixel(tool)

    def expected_seconds(self, call: ToolCall, source: tuple[int, int]) -> float | None:
        with self._lock:
            return self._durations.expected_seconds(call, source)

    def device(self, tool: str) -> str | None:
        """The device of the tool's last result; None before the first."""
        with self._lock:
            return self._devices.get(tool)

    # For workers' threads

    @property
    def stop_at(self) -> float | None:
        """Set on shutdown: running calls are stopped at this monotonic time."""
        return self._stop_at

    def take(self) -> Submission | None:
        """The next call, which counts as running from now; None if no waiting call may start."""
        with self._lock:
            if self._stop_at is not None:
                return None
            submission = self._queue.take(time.monotonic())
            if submission is not None:
                self._progress.report(submission, Progress("starting", submission.reached))
                self._report_positions()
        if submission is not None and submission.is_billed:
            self._wake()  # a guest's running call may have to pause
        return submission

    def is_outranked(self, submission: Submission) -> bool:
        """Whether a call of a higher priority waits that came after this one was taken."""
        with self._lock:
            return self._queue.is_outranked(submission)

    def must_pause(self, submission: Submission) -> bool:
        """Whether the running call's worker must be suspended now."""
        if submission.cancel_requested or self._stop_at is not None:
            return False  # it can only stop if it runs
        with self._lock:
            return self._queue.must_pause(time.monotonic(), submission)

    def estimate(self, submission: Submission) -> duration_model.DurationEstimate | None:
        with self._lock:
            estimate = self._durations.estimate(submission.call, time.monotonic())
        if estimate is not None and submission.is_trial:
            return replace(estimate, may_refuse=False)
        return estimate

    def record_estimate(self, submission: Submission, work: float, seconds: float, is_trial: bool) -> None:
        """Record the worker's estimate, made from the picture's header: `work`, expected to take `seconds`.

        `is_trial`: it runs although its estimate alone would have it refused.
        """
        with self._lock:
            submission.work = work
            submission.expected_seconds = seconds
            if is_trial and not submission.is_trial:
                submission.is_trial = True
                self._durations.record_trial(submission.call, time.monotonic())

    def report(self, submission: Submission, progress: Progress) -> None:
        self._progress.report(submission, progress)

    def requeue(self, submission: Submission, is_long: bool) -> None:
        """Put a call that was not started back into its old place in the queue, unless it was cancelled."""
        with self._lock:
            is_stopping = self._stop_at is not None
            is_wanted = not submission.cancel_requested and not is_stopping
            if is_wanted:
                submission.is_long = is_long
                self._queue.requeue(submission)
                self._preempt_guest(submission, time.monotonic())
                self._report_positions()
        if is_wanted:
            self._wake()
        else:
            stopped = Cancelled("The call was stopped before it started.")
            self.fail(submission, shutting_down() if is_stopping else stopped)

    def record(self, call: ToolCall, work: float, seconds: float, *, is_cold: bool = False) -> None:
        """Record that a call of `work` took `seconds`; see `ml.runtime.duration_model`."""
        with self._lock:
            is_first = self._durations.estimate(call) is None
            self._durations.record(call, work, seconds, is_cold=is_cold)
            if not is_first:
                return
            # Waiting calls of this kind were assumed to be long; reclassify them by the measurement.
            for waiting in list(self._queue):
                if duration_model.kind(waiting.call) == duration_model.kind(call):
                    self._queue.remove(waiting)
                    waiting.expected_seconds, waiting.is_long = self._expect(waiting.call)
                    self._queue.requeue(waiting)

    def answer(self, submission: Submission, answer: ToolAnswer, is_cold: bool = False) -> None:
        with self._lock:
            self._queue.finish(submission)
            is_wanted = not submission.cancel_requested
            self._devices[submission.call.tool] = answer.device
        self._count(submission, answer)
        if submission.work is not None:
            self.record(submission.call, submission.work, answer.processing_seconds, is_cold=is_cold)
        if is_wanted:
            submission.answer.set_result(answer)
        else:
            submission.answer.set_exception(_stop_reason(submission, Cancelled("The call was stopped.")))
        self._wake()

    def fail(self, submission: Submission, error: Exception) -> None:
        with self._lock:
            self._queue.finish(submission)
            if isinstance(error, TooSlow):
                self._durations.record_refusal(submission.call, time.monotonic())
        if isinstance(error, TimedOut) and submission.work is not None:
            # It takes longer than the limit. Recorded at the limit itself, it would never count as too long.
            seconds = submission.call.timeout_seconds * BEYOND_LIMIT
            self.record(submission.call, submission.work, seconds)
        if not submission.answer.done():
            submission.answer.set_exception(_stop_reason(submission, error))
        # A waiting long call may be able to start now.
        self._wake()

    def _count(self, submission: Submission, answer: ToolAnswer) -> None:
        tool = submission.call.tool
        run_seconds = answer.processing_seconds - answer.decode_seconds - answer.encode_seconds
        self.statistics.waited(submission.call.priority.value, answer.queue_seconds)
        self.statistics.took(tool, "decode", answer.decode_seconds)
        self.statistics.took(tool, "run", max(0.0, run_seconds))
        self.statistics.took(tool, "encode", answer.encode_seconds)

    def _report_positions(self) -> None:
        """Report queue positions. The lock must be held, so that none is reported after the call started."""
        if all(submission.on_progress is None for submission in self._queue):
            return
        for position, (submission, _) in enumerate(self._queue.forecast(time.monotonic()), start=1):
            self._progress.report(submission, Progress("queued", submission.reached, position))


def _stop_reason(submission: Submission, error: Exception) -> Exception:
    if submission.was_preempted and isinstance(error, Cancelled):
        return Overloaded("The worker was needed for a paid call.", MAX_RETRY_AFTER_SECONDS)
    return error
