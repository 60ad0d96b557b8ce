"""One call in one real worker: retries, requeueing, and refusals by expected time."""

import os
import select
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml.backend import Priority, ToolCall
from ml.errors import Overloaded, TimedOut, TooSlow, WorkerLost
from ml.runtime.call_monitor import CallMonitor, SlotLimits
from ml.runtime.dispatcher import Dispatcher, Submission
from ml.runtime.messages import StartCall, WorkerConfig
from ml.runtime.process import WorkerProcess
from ml.runtime.wakeup import Wakeup
from ml.runtime.wire import WorkerGone
from ml.runtime.worker_interface import Worker
from tests.support.ml.backends import call
from tests.support.ml.photos import png_bytes
from tests.support.waiting import PATIENCE_SECONDS

LIMITS = SlotLimits(
    memory_bytes=1 << 30,
    idle_memory_share=0.75,
    calls_per_worker=100,
    long_seconds=10.0,
    cancel_grace_seconds=1.0,
    start_seconds=PATIENCE_SECONDS,
)

TENTH_MEGAPIXEL = png_bytes(np.zeros((250, 400), np.uint8))
FOUR_MEGAPIXELS = png_bytes(np.zeros((2000, 2000), np.uint8))


@pytest.fixture
def dispatcher() -> Dispatcher:
    """Without workers: a test takes and brings calls itself."""
    return Dispatcher(queue_size=50, slots=2, max_wait_seconds=1e9, long_seconds=10.0, wake=lambda: None)


@pytest.fixture
def start_child(tmp_path: Path) -> Iterator[Callable[[], WorkerProcess]]:
    children = []

    def start() -> WorkerProcess:
        config = WorkerConfig(
            tmp_path, tmp_path, "cpu", 2 << 30, 1, "tests.support.ml.workloads:perform", "", False
        )
        children.append(WorkerProcess(config))
        assert children[-1].receive()["kind"] == "ready"
        return children[-1]

    yield start
    for child in children:
        child.kill()


def taken(dispatcher: Dispatcher, tool_call: ToolCall) -> Submission:
    submission = dispatcher.submit(tool_call, None)
    assert dispatcher.take() is submission
    return submission


def until_said(seconds: float, child: Worker) -> bool:
    return bool(select.select([child], [], [], seconds)[0])


def test_a_call_is_retried_once_if_its_worker_dies_before_starting_it(
    dispatcher: Dispatcher, start_child: Callable[[], WorkerProcess]
) -> None:
    def kill_first(seconds: float, child: Worker) -> bool:
        assert isinstance(child, WorkerProcess)
        os.kill(child.pid, signal.SIGKILL)
        return until_said(PATIENCE_SECONDS, child)

    submission = taken(dispatcher, call("echo"))
    for is_over in (False, True):
        child = start_child()
        os.kill(child.pid, signal.SIGSTOP)  # it cannot begin
        assert not CallMonitor(child, submission, dispatcher, LIMITS, kill_first).run()
        assert submission.answer.done() is is_over
        assert dispatcher.take() is (None if is_over else submission)
    assert isinstance(submission.answer.exception(), WorkerLost)


def test_a_started_call_is_never_run_again(
    dispatcher: Dispatcher, start_child: Callable[[], WorkerProcess]
) -> None:
    submission = taken(dispatcher, call("exit"))
    assert not CallMonitor(start_child(), submission, dispatcher, LIMITS, until_said).run()
    assert isinstance(submission.answer.exception(), WorkerLost)
    assert dispatcher.take() is None


class GoneWorker:
    """A worker whose machine goes away with each call."""

    name = "A worker"
    is_up = True

    def __init__(self) -> None:
        self._wakeup = Wakeup()
        self._wakeup.open()
        self._wakeup.wake()

    def fileno(self) -> int:
        return self._wakeup.fileno()

    def send_work(self, work: StartCall, payloads: list[bytes]) -> None: ...

    def send_cancel(self, number: int) -> None: ...

    def receive(self) -> dict[str, Any]:
        raise WorkerGone("its machine is gone")

    def withdraw(self) -> bool:
        return False

    def rss_bytes(self) -> int:
        return 0

    def set_paused(self, is_paused: bool) -> bool:
        return False

    def kill(self) -> str:
        self._wakeup.close()
        return "gone"


def test_a_call_whose_machines_keep_going_away_is_refused_for_now(dispatcher: Dispatcher) -> None:
    submission = taken(dispatcher, call("echo"))
    for _ in range(3):
        assert not CallMonitor(GoneWorker(), submission, dispatcher, LIMITS, until_said).run()
        assert dispatcher.take() is submission
    assert not CallMonitor(GoneWorker(), submission, dispatcher, LIMITS, until_said).run()
    assert isinstance(submission.answer.exception(), Overloaded)


@pytest.fixture
def measured(dispatcher: Dispatcher) -> Dispatcher:
    """Short calls of two megapixels so far, and by them more than 10 s for four."""
    for _ in range(5):
        dispatcher.record(call("echo"), work=2.0, seconds=8.0)
    return dispatcher


def test_a_call_found_long_by_its_header_is_requeued_among_the_long_ones(
    measured: Dispatcher, start_child: Callable[[], WorkerProcess]
) -> None:
    child = start_child()
    submission = taken(measured, call("echo", image=FOUR_MEGAPIXELS))
    assert not submission.is_long
    assert CallMonitor(child, submission, measured, LIMITS, until_said).run()
    assert not submission.answer.done()
    assert submission.is_long
    assert submission.expected_seconds == pytest.approx(16.0)
    # Taken as a long call, it runs.
    assert measured.take() is submission
    assert CallMonitor(child, submission, measured, LIMITS, until_said).run()
    assert submission.answer.result(0).width == 3


def test_a_call_expected_to_exceed_its_limit_is_refused_with_the_estimate(
    measured: Dispatcher, start_child: Callable[[], WorkerProcess]
) -> None:
    child = start_child()
    too_slow = taken(measured, call("echo", image=FOUR_MEGAPIXELS, timeout_seconds=15.0))
    assert CallMonitor(child, too_slow, measured, LIMITS, until_said).run()
    with pytest.raises(TooSlow, match=r"about 16 seconds.* stopped after 15"):
        too_slow.answer.result(0)
    fine = taken(measured, call("echo", image=TENTH_MEGAPIXEL, timeout_seconds=15.0))
    assert CallMonitor(child, fine, measured, LIMITS, until_said).run()
    assert fine.answer.result(0).width == 3


def test_a_refused_kind_of_call_is_probed_periodically(
    measured: Dispatcher, start_child: Callable[[], WorkerProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    child = start_child()
    monkeypatch.setattr("ml.runtime.duration_model.TRIAL_SECONDS", 0.0)

    def outcome(limits: SlotLimits = LIMITS) -> Submission:
        submission = taken(measured, call("echo", image=FOUR_MEGAPIXELS, timeout_seconds=15.0))
        assert CallMonitor(child, submission, measured, limits, until_said).run()
        return submission

    assert isinstance(outcome().answer.exception(0), TooSlow)
    tried = outcome()
    # It waits among the long ones first, and is still the one to be tried when it is taken again.
    monkeypatch.setattr("ml.runtime.duration_model.TRIAL_SECONDS", 1e9)
    assert tried.is_long
    assert measured.take() is tried
    assert CallMonitor(child, tried, measured, LIMITS, until_said).run()
    assert tried.answer.result(0).width == 3


def test_a_timed_out_call_is_recorded_as_a_measurement(dispatcher: Dispatcher) -> None:
    submission = taken(dispatcher, call("echo", timeout_seconds=15.0))
    dispatcher.record_estimate(submission, work=4.0, seconds=1.0, is_trial=False)
    dispatcher.fail(submission, TimedOut("stopped"))
    estimate = dispatcher.estimate(taken(dispatcher, call("echo")))
    assert estimate is not None
    assert estimate.mean_seconds > 15.0  # so that enough of them are refused


def test_calls_that_time_out_repeatedly_are_refused(dispatcher: Dispatcher) -> None:
    for _ in range(8):
        submission = taken(dispatcher, call("echo", timeout_seconds=15.0))
        dispatcher.record_estimate(submission, work=4.0, seconds=1.0, is_trial=False)
        dispatcher.fail(submission, TimedOut("stopped"))
    estimate = dispatcher.estimate(taken(dispatcher, call("echo")))
    assert estimate is not None
    assert estimate.refuses(4.0, 15.0)


def test_the_first_call_of_a_kind_in_a_worker_is_cold(
    dispatcher: Dispatcher, start_child: Callable[[], WorkerProcess]
) -> None:
    child = start_child()
    counts = []
    for _ in range(3):
        submission = taken(dispatcher, call("echo", image=TENTH_MEGAPIXEL))
        assert CallMonitor(child, submission, dispatcher, LIMITS, until_said).run()
        estimate = dispatcher.estimate(submission)
        assert estimate is not None
        counts.append(estimate.calls)
    assert counts == [0, 1, 2]


def test_only_pauses_of_a_started_call_are_subtracted_from_its_time(
    dispatcher: Dispatcher, start_child: Callable[[], WorkerProcess]
) -> None:
    dispatcher.record(call("echo"), work=1.0, seconds=0.5)  # what was never measured counts as long
    guest = taken(dispatcher, call("echo", priority=Priority.GUEST, is_billed=False))
    billed = taken(dispatcher, call("echo"))

    def end_billed_call_once_nothing_happens(seconds: float, child: Worker) -> bool:
        if until_said(0.5, child):
            return True
        dispatcher.fail(billed, TimedOut("stopped"))
        return False

    assert CallMonitor(start_child(), guest, dispatcher, LIMITS, end_billed_call_once_nothing_happens).run()
    assert guest.answer.result(0).processing_seconds > 0.0
