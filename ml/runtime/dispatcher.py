"""Where callers leave calls and workers fetch them: the queue and the speeds, under one lock."""

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

log = logging.getLogger(__name__)

#: What a call is taken to need before the first of its kind was measured. Low, since a refusal for a long
#: wait should rest on a measurement.
UNKNOWN_SECONDS = 0.5
MAX_RETRY_AFTER_SECONDS = 60


def shutting_down() -> Overloaded:
    """What calls fail with that this process will not run: another one may, or the next."""
    return Overloaded("The server is shutting down. Please try again.", 5)


def _unanswered() -> Future[ToolAnswer]:
    future: Future[ToolAnswer] = Future()
    # Only `Ticket.cancel` stops a call. Without this, a cancelled asyncio task that awaits the answer would
    # cancel the future behind the backend's back.
    future.set_running_or_notify_cancel()
    return future


@dataclass(eq=False)
class Submission(QueuedCall):
    """A call on its way: waiting, running or over, as `ml.runtime.dispatcher` has it."""

    call: ToolCall = field(kw_only=True)
    on_progress: Callable[[Progress], None] | None = field(kw_only=True, default=None)
    answer: Future[ToolAnswer] = field(kw_only=True, default_factory=_unanswered)
    cancel_requested: bool = field(kw_only=True, default=False)
    made_way: bool = field(kw_only=True, default=False)  # stopped for a billed call, not by its caller
    was_lost_before: bool = field(kw_only=True, default=False)  # a worker died before it began with it
    work: float | None = field(
        kw_only=True, default=None
    )  # of `ml.runtime.duration_model`; known from the header
    is_trial: bool = field(kw_only=True, default=False)  # goes on though its estimate would refuse it
    told: Progress | None = field(kw_only=True, default=None)  # what the caller heard last


class ProgressThread:
    """Calls `on_progress` on one thread, in order, so that a slow listener never holds up a worker.

    A listener that cannot keep up misses intermediate steps, never the order: only the newest is kept.
    """

    def __init__(self) -> None:
        self._news = threading.Condition()
        self._latest: dict[Submission, Progress] = {}
        self._is_open = True
        self._thread = threading.Thread(target=self._run, name="bgeraser-progress", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def tell(self, submission: Submission, progress: Progress) -> None:
        if submission.on_progress is None or progress == submission.told:
            return
        submission.told = progress
        with self._news:
            self._latest[submission] = progress
            self._news.notify()

    def close(self) -> None:
        with self._news:
            self._is_open = False
            self._news.notify()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout=1.0)

    def _run(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._latest or not self._is_open)
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
    """`ring()` wakes the workers' threads; they then ask `take`. Futures are resolved outside the lock."""

    def __init__(
        self,
        queue_size: int,
        slots: int,
        max_wait_seconds: float,
        long_seconds: float,
        ring: Callable[[], None],
    ) -> None:
        self._max_wait_seconds = max_wait_seconds
        self._long_seconds = long_seconds
        self._ring = ring
        self._lock = threading.Lock()
        self._queue: WeightedQueue[Submission] = WeightedQueue(queue_size, slots, long_seconds)
        self._speeds = duration_model.DurationModel()
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
            self._make_way(submission, now)
            self._tell_positions()
        self._ring()
        return submission

    def _expect(self, call: ToolCall) -> tuple[float, bool]:
        """Expected seconds before the picture's size is known, and whether it is a long call."""
        estimate = self._speeds.estimate(call)
        if estimate is None:
            return UNKNOWN_SECONDS, True  # it may be long, and must not hold every worker
        return estimate.mean_seconds, estimate.mean_seconds > self._long_seconds

    def _refuse_if_overloaded(self, submission: Submission, now: float) -> None:
        if self._stop_at is not None:
            raise shutting_down()
        seconds = self._queue.expected_wait_seconds(now, submission)
        retry_after = min(max(math.ceil(seconds - self._max_wait_seconds), 1), MAX_RETRY_AFTER_SECONDS)
        if seconds > self._max_wait_seconds:
            raise Overloaded(f"The expected wait is {seconds:.0f} seconds.", retry_after)
        try:
            self._queue.check_room(submission.priority)
        except QueueFull:
            raise Overloaded("The queue is full.", retry_after) from None

    def _make_way(self, billed: Submission, now: float) -> None:
        """Under the lock: stop a guest's long call that holds the place which `billed` waits for."""
        guest = self._queue.in_the_way(now, billed)
        if guest is not None and not guest.cancel_requested:
            guest.cancel_requested = guest.made_way = True

    def cancel(self, submission: Submission) -> None:
        if self.drop_if_queued(submission):
            return
        with self._lock:
            submission.cancel_requested = True
        self._ring()

    def drop_if_queued(self, submission: Submission) -> bool:
        with self._lock:
            if not self._queue.remove(submission):
                return False
            self._tell_positions()
        submission.answer.set_exception(Cancelled("The call was withdrawn before it began."))
        return True

    def fail_waiting(self, error: Exception) -> None:
        """Nobody will come for the waiting calls."""
        with self._lock:
            withdrawn = self._queue.drain()
        for submission in withdrawn:
            submission.answer.set_exception(error)

    def stop(self, grace_seconds: float) -> float:
        """Refuse new calls, withdraw the waiting; running ones are stopped at the monotonic time returned."""
        with self._lock:
            if self._stop_at is None:
                self._stop_at = time.monotonic() + grace_seconds
            stop_at = self._stop_at
        self.fail_waiting(shutting_down())
        self._ring()
        return stop_at

    def close(self) -> None:
        self._progress.close()

    def counts(self) -> tuple[int, int]:
        """Calls that wait, calls that run."""
        with self._lock:
            return len(self._queue), len(self._queue.running)

    def seconds_per_megapixel(self, tool: str) -> float | None:
        with self._lock:
            return self._speeds.seconds_per_megapixel(tool)

    def device(self, tool: str) -> str | None:
        """What the tool's last answer was made on; None before the first."""
        with self._lock:
            return self._devices.get(tool)

    # For workers' threads

    @property
    def stop_at(self) -> float | None:
        """Set while closing: no new call is taken, and running ones are stopped at this time."""
        return self._stop_at

    def take(self) -> Submission | None:
        """The next call, now running; None if there is none for one more worker."""
        with self._lock:
            if self._stop_at is not None:
                return None
            submission = self._queue.take(time.monotonic())
            if submission is not None:
                self._progress.tell(submission, Progress("starting", 0.0))
                self._tell_positions()
        return submission

    def estimate(self, submission: Submission) -> duration_model.DurationEstimate | None:
        with self._lock:
            estimate = self._speeds.estimate(submission.call, time.monotonic())
        if estimate is not None and submission.is_trial:
            return replace(estimate, may_refuse=False)
        return estimate

    def weigh(self, submission: Submission, work: float, seconds: float, is_trial: bool) -> None:
        """The call's header is read: it is `work`, and expected to take `seconds`.

        `is_trial`: it goes on though its estimate alone would have it refused.
        """
        with self._lock:
            submission.work = work
            submission.expected_seconds = seconds
            if is_trial and not submission.is_trial:
                submission.is_trial = True
                self._speeds.tried(submission.call, time.monotonic())

    def tell(self, submission: Submission, progress: Progress) -> None:
        self._progress.tell(submission, progress)

    def put_back(self, submission: Submission, is_long: bool) -> None:
        """The call did not begin: it waits again, where it stood, unless it is no longer wanted."""
        with self._lock:
            is_stopping = self._stop_at is not None
            is_wanted = not submission.cancel_requested and not is_stopping
            if is_wanted:
                submission.is_long = is_long
                self._queue.put_back(submission)
                self._make_way(submission, time.monotonic())
                self._tell_positions()
        if is_wanted:
            self._ring()
        else:
            stopped = Cancelled("The call was stopped before it began.")
            self.fail(submission, shutting_down() if is_stopping else stopped)

    def learn(self, call: ToolCall, work: float, seconds: float, *, is_cold: bool = False) -> None:
        """A call of `work` took `seconds`; see `ml.runtime.duration_model`."""
        with self._lock:
            is_first = self._speeds.estimate(call) is None
            self._speeds.learn(call, work, seconds, is_cold=is_cold)
            if not is_first:
                return
            # Those of its kind that wait are no longer taken for long ones unseen.
            for waiting in list(self._queue):
                if duration_model.kind(waiting.call) == duration_model.kind(call):
                    self._queue.remove(waiting)
                    waiting.expected_seconds, waiting.is_long = self._expect(waiting.call)
                    self._queue.put_back(waiting)

    def answer(self, submission: Submission, answer: ToolAnswer, is_cold: bool = False) -> None:
        with self._lock:
            self._queue.finish(submission)
            is_wanted = not submission.cancel_requested
            self._devices[submission.call.tool] = answer.device
        if submission.work is not None:
            self.learn(submission.call, submission.work, answer.processing_seconds, is_cold=is_cold)
        if is_wanted:
            submission.answer.set_result(answer)
        else:
            submission.answer.set_exception(_why_stopped(submission, Cancelled("The call was stopped.")))
        self._ring()

    def fail(self, submission: Submission, error: Exception) -> None:
        with self._lock:
            self._queue.finish(submission)
            if isinstance(error, TooSlow):
                self._speeds.refused(submission.call, time.monotonic())
        if isinstance(error, TimedOut) and submission.work is not None:
            # That it takes at least so long is known; else a trial that fails would teach nothing.
            self.learn(submission.call, submission.work, submission.call.timeout_seconds)
        if not submission.answer.done():
            submission.answer.set_exception(_why_stopped(submission, error))
        # Its end may be what a waiting long call needed.
        self._ring()

    def _tell_positions(self) -> None:
        """Under the lock, so that nobody hears of a place after hearing that the work began."""
        if all(submission.on_progress is None for submission in self._queue):
            return
        for position, (submission, _) in enumerate(self._queue.forecast(time.monotonic()), start=1):
            self._progress.tell(submission, Progress("queued", 0.0, position))


def _why_stopped(submission: Submission, error: Exception) -> Exception:
    if submission.made_way and isinstance(error, Cancelled):
        return Overloaded("The worker was needed for work that was paid for.", MAX_RETRY_AFTER_SECONDS)
    return error
