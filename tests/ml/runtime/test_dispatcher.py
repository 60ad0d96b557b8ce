"""The dispatcher's estimates and answers, without workers."""

import pytest

from ml.backend import Priority
from ml.errors import Cancelled, Overloaded
from ml.runtime.dispatcher import Dispatcher
from tests.support.ml.backends import call


@pytest.fixture
def dispatcher() -> Dispatcher:
    return Dispatcher(queue_size=50, slots=3, max_wait_seconds=25.0, long_seconds=10.0, wake=lambda: None)


def test_the_first_measurement_reclassifies_waiting_calls_as_short(
    dispatcher: Dispatcher,
) -> None:
    for _ in range(5):
        dispatcher.submit(call("echo"), None)
    assert [dispatcher.take() is not None for _ in range(3)] == [True, True, False]
    dispatcher.record(call("echo"), work=1.0, seconds=0.5)
    assert dispatcher.take() is not None


def test_a_kind_measured_as_long_stays_long(dispatcher: Dispatcher) -> None:
    dispatcher.record(call("slow"), work=1.0, seconds=12.0)
    for _ in range(3):
        dispatcher.submit(call("slow"), None)
    assert [dispatcher.take() is not None for _ in range(3)] == [True, True, False]
    dispatcher.submit(call("slow"), None)
    dispatcher.record(call("quick"), work=1.0, seconds=1.0)
    dispatcher.submit(call("quick", priority=Priority.FREE), None)
    taken = dispatcher.take()
    assert taken is not None
    assert taken.call.tool == "quick"


def test_the_expected_wait_is_that_of_the_queue_of_the_call(dispatcher: Dispatcher) -> None:
    dispatcher.record(call("echo"), work=1.0, seconds=5.0)
    for _ in range(18):  # three workers, five seconds each: six rounds begin within 25 s
        dispatcher.submit(call("echo", priority=Priority.FREE), None)
    with pytest.raises(Overloaded, match="30 seconds") as refused:
        dispatcher.submit(call("echo", priority=Priority.FREE), None)
    assert refused.value.retry_after_seconds == 5
    for _ in range(15):  # paid calls do not stand behind them: of 18 places, three go to free ones
        dispatcher.submit(call("echo"), None)
    with pytest.raises(Overloaded):
        dispatcher.submit(call("echo"), None)


def test_a_cancelled_call_that_is_returned_unstarted_is_finished(dispatcher: Dispatcher) -> None:
    submission = dispatcher.submit(call("echo"), None)
    assert dispatcher.take() is submission
    dispatcher.cancel(submission)
    assert not submission.answer.done()
    dispatcher.requeue(submission, is_long=False)
    assert isinstance(submission.answer.exception(0), Cancelled)
    assert dispatcher.counts() == (0, 0)


def test_a_stopping_dispatcher_neither_hands_out_nor_accepts_calls(dispatcher: Dispatcher) -> None:
    waiting = dispatcher.submit(call("echo"), None)
    dispatcher.stop(grace_seconds=1.0)
    assert dispatcher.take() is None
    assert isinstance(waiting.answer.exception(0), Overloaded)
    with pytest.raises(Overloaded, match="shutting down"):
        dispatcher.submit(call("echo"), None)


def test_a_long_guest_call_yields_to_a_billed_long_one_and_may_be_retried() -> None:
    dispatcher = Dispatcher(
        queue_size=50, slots=2, max_wait_seconds=25.0, long_seconds=10.0, wake=lambda: None
    )
    dispatcher.record(call("slow"), work=1.0, seconds=100.0)
    guest = dispatcher.submit(call("slow", priority=Priority.GUEST, is_billed=False), None)
    assert dispatcher.take() is guest
    with pytest.raises(Overloaded):
        dispatcher.submit(call("slow", priority=Priority.PAID, is_billed=False), None)
    assert not guest.cancel_requested
    billed = dispatcher.submit(call("slow", priority=Priority.FREE), None)
    assert guest.cancel_requested
    assert dispatcher.take() is None
    dispatcher.fail(guest, Cancelled("The call was stopped."))
    assert dispatcher.take() is billed
    assert isinstance(guest.answer.exception(0), Overloaded)
