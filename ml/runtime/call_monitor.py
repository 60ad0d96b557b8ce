"""Supervision of one call in one worker: time, memory, pauses, cancellation, progress and result."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ml import errors
from ml.backend import Progress, ToolAnswer
from ml.runtime.dispatcher import Dispatcher, Submission, shutting_down
from ml.runtime.messages import StartCall
from ml.runtime.wire import WireBroken, WorkerGone
from ml.runtime.worker_interface import Worker
from ml.statistics import WorkerEnd

log = logging.getLogger(__name__)

_END_BY_PROBLEM: dict[type[Exception], WorkerEnd] = {
    errors.OutOfMemory: WorkerEnd.MEMORY,
    errors.TimedOut: WorkerEnd.TIMEOUT,
}
#: How many workers may go away during a call, with their machine or on the way to it, until it fails.
MAX_GONE = 3
#: More engines in a worker are not credible.
MAX_ENGINES = 100
FORMATS = ("png", "jpg", "webp", "avif", "zip", "raw")


@dataclass(frozen=True)
class SlotLimits:
    """When a worker is stopped or replaced."""

    memory_bytes: int  # resident memory of one worker, above which it is killed
    idle_memory_share: float  # of `memory_bytes`; a worker that stays above it between calls is replaced
    calls_per_worker: int  # then it is replaced: native allocators leak memory over time
    long_seconds: float  # a call expected to take longer is queued as a long one
    cancel_grace_seconds: float  # between asking a call to stop and killing its worker
    start_seconds: float  # for a worker to start and warm up
    watch_seconds: float = 0.25  # interval of memory checks
    longest_pause_seconds: float = 8.0  # between restarts while workers keep crashing


class CallMonitor:
    """`sleep(seconds, child)` returns early when a message arrives (then True) or the slot is woken."""

    def __init__(
        self,
        child: Worker,
        submission: Submission,
        dispatcher: Dispatcher,
        limits: SlotLimits,
        sleep: Callable[[float, Worker], bool],
    ) -> None:
        self._child = child
        self._submission = submission
        self._dispatcher = dispatcher
        self._limits = limits
        self._sleep = sleep
        self.engine_bytes: dict[str, int] | None = None  # of the worker's engines, once it has answered
        self._began = False
        self._stop_at: float | None = None  # deadline of a cancelled call
        self._checked_at = 0.0  # when memory was last checked
        self._paused_since: float | None = None
        self._paused_seconds = 0.0  # not counted as the call's own time

    def run(self) -> bool:
        """Supervise the call until it ends. False if its worker must be replaced."""
        self._dispatcher.report(self._submission, Progress("starting", self._submission.reached))
        try:
            self._send()
            ends_at = time.monotonic() + self._submission.call.timeout_seconds
            while True:
                now = time.monotonic()
                self._pass_on_cancel(now)
                if self._gives_way():
                    self._dispatcher.requeue(self._submission, self._submission.is_long)
                    return True
                ends_at += self._pause_or_continue(now)
                if (problem := self._problem(now, ends_at)) is not None:
                    return self._kill(problem)
                seconds = min(self._limits.watch_seconds, ends_at - now)
                if self._sleep(seconds, self._child):
                    survives = self._receive()
                    if survives is not None:
                        return survives
        except WireBroken as error:
            return self._lose(error)
        finally:
            self._child.set_paused(False)

    def _send(self) -> None:
        submission = self._submission
        call = submission.call
        work = StartCall(
            submission.sequence,
            replace(call, files={}),
            tuple(call.files),
            self._dispatcher.estimate(submission),
            None if submission.is_long else self._limits.long_seconds,
        )
        self._child.send_work(work, list(call.files.values()))

    def _gives_way(self) -> bool:
        """Withdraw the call for a more important one, but only once: it must not be held up for ever."""
        submission = self._submission
        if submission.was_withdrawn or not self._dispatcher.is_outranked(submission):
            return False
        submission.was_withdrawn = self._child.withdraw()
        return submission.was_withdrawn

    def _pass_on_cancel(self, now: float) -> None:
        if self._submission.cancel_requested and self._stop_at is None:
            self._stop_at = now + self._limits.cancel_grace_seconds
            self._child.send_cancel(self._submission.sequence)

    def _pause_or_continue(self, now: float) -> float:
        """Suspend or continue the worker. Returns how long it was suspended since the last time."""
        paused_seconds = 0.0 if self._paused_since is None else now - self._paused_since
        # Only a call that has begun counts the time of its worker, from which pauses are subtracted.
        must_pause = self._began and self._dispatcher.must_pause(self._submission)
        is_paused = self._child.set_paused(must_pause)
        self._paused_since = now if is_paused else None
        self._paused_seconds += paused_seconds
        return paused_seconds

    def _problem(self, now: float, ends_at: float) -> errors.MlError | None:
        """The reason to kill the call now, if there is one."""
        if self._stop_at is not None and now >= self._stop_at:
            return errors.Cancelled("The call was stopped.")
        if (stop_at := self._dispatcher.stop_at) is not None and now >= stop_at:
            return shutting_down()
        if now >= ends_at:
            seconds = self._submission.call.timeout_seconds
            return errors.TimedOut(f"The call was stopped at its limit of {seconds:g} seconds.")
        if now - self._checked_at >= self._limits.watch_seconds:
            self._checked_at = now
            if self._child.rss_bytes() > self._limits.memory_bytes:
                return memory_exceeded(self._limits.memory_bytes)
        return None

    def _kill(self, problem: Exception) -> bool:
        log.warning("%s killed: %s", self._child.name, problem)
        if self._dispatcher.stop_at is None:
            end = _END_BY_PROBLEM.get(type(problem), WorkerEnd.CANCELLED)
            self._dispatcher.statistics.worker_ended(end)
        self._child.kill()
        self._dispatcher.fail(self._submission, problem)
        return False

    def _lose(self, error: WireBroken) -> bool:
        submission = self._submission
        how = self._child.kill()
        self._dispatcher.statistics.worker_ended(WorkerEnd.LOST)
        log.error("%s lost during %s (%s): %s", self._child.name, submission.call.tool, how, error)
        # A call that was started may be the cause of a crash, but not of the end of a whole machine.
        is_gone = isinstance(error, WorkerGone)
        if is_gone and submission.losses >= MAX_GONE:
            self._dispatcher.fail(
                submission, errors.Overloaded("The machines that run the tools keep going away.", 10)
            )
        elif not is_gone and (self._began or submission.losses >= 1):
            self._dispatcher.fail(
                submission,
                errors.WorkerLost("The worker was lost while it ran this call; it has been replaced."),
            )
        else:
            submission.losses += 1
            self._dispatcher.requeue(submission, submission.is_long)
        return False

    def _receive(self) -> bool | None:
        """Handle a message. None if the call continues, else whether the worker can be kept."""
        message = self._child.receive()
        try:
            if message["number"] != self._submission.sequence:
                raise WireBroken("a message about another call")
            return self._act(message)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise WireBroken(f"an invalid message: {error!r}") from None

    def _act(self, message: dict[str, Any]) -> bool | None:
        submission = self._submission
        match message["kind"]:
            case "started":
                self._began = True
            case "estimated":
                self._dispatcher.record_estimate(
                    submission, float(message["work"]), float(message["seconds"]), bool(message["trial"])
                )
            case "step":
                submission.reached = max(submission.reached, min(max(float(message["fraction"]), 0.0), 1.0))
                self._dispatcher.report(submission, Progress(str(message["stage"])[:100], submission.reached))
            case "long":
                self._dispatcher.requeue(submission, is_long=True)
                return True
            case "done":
                self.engine_bytes = _engine_bytes(message["engines"])
                self._dispatcher.answer(submission, self._answer(message), bool(message["cold"]))
                return True
            case "failed":
                error = _error(message)
                is_refusal = isinstance(error, errors.NotEnoughMemory)
                if isinstance(error, errors.OutOfMemory) and not is_refusal:
                    return self._kill(error)  # its memory may still be in use
                self._dispatcher.fail(submission, error)
                return True
            case kind:
                raise WireBroken(f"an unknown message {kind!r}")
        return None

    def _answer(self, message: dict[str, Any]) -> ToolAnswer:
        seconds = max(0.0, float(message["seconds"]) - self._paused_seconds)
        return replace(_answer(message, self._submission), processing_seconds=seconds)


def memory_exceeded(limit_bytes: int) -> errors.OutOfMemory:
    """The error of a call whose worker has grown beyond the limit."""
    return errors.OutOfMemory(f"The call needed more than the {limit_bytes >> 20} MiB of memory it may use.")


def _answer(message: dict[str, Any], submission: Submission) -> ToolAnswer:
    found = message["answer"]
    answer = ToolAnswer(**{**found, "warnings": tuple(map(str, found["warnings"]))})
    # Check the fields that the server itself uses; the others are passed through.
    if not (
        isinstance(answer.content, bytes) and isinstance(answer.fields, dict) and answer.format in FORMATS
    ):
        raise TypeError("not an image")
    return replace(
        answer,
        width=int(answer.width),
        height=int(answer.height),
        queue_seconds=submission.began_at - submission.submitted_at,
    )


def _engine_bytes(found: dict[str, Any]) -> dict[str, int]:
    if len(found) > MAX_ENGINES:
        raise ValueError("too many engines")
    return {str(name)[:100]: int(size_bytes) for name, size_bytes in found.items()}


def _error(message: dict[str, Any]) -> Exception:
    """The `MlError` that a worker reported, or a RuntimeError with its traceback for a defect."""
    kind = getattr(errors, message["error"], None)
    if isinstance(kind, type) and issubclass(kind, errors.MlError):
        return kind(*message["args"])
    text = str(message["traceback"])
    defect = RuntimeError(f"The tool failed: {text.strip().splitlines()[-1]}")
    defect.add_note(text)
    return defect
