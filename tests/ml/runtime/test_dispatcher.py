"""What the desk expects of calls and tells of them, without any worker."""

import pytest

from ml.backend import Priority
from ml.errors import Cancelled, Overloaded
from ml.runtime.dispatcher import Dispatcher
from tests.support.ml.backends import call


@pytest.fixture
def desk() -> Dispatcher:
    return Dispatcher(queue_size=50, slots=3, max_wait_seconds=25.0, long_seconds=10.0, ring=lambda: None)


def test_the_first_measurement_frees_those_that_wait_from_being_taken_for_long(desk: Dispatcher) -> None:
    for _ in range(5):
        desk.submit(call("echo"), None)
    assert [desk.take() is not None for _ in range(3)] == [True, True, False]
    desk.learn(call("echo"), work=1.0, seconds=0.5)
    assert desk.take() is not None


def test_a_kind_that_is_measured_to_be_long_stays_among_the_long_ones(desk: Dispatcher) -> None:
    desk.learn(call("slow"), work=1.0, seconds=12.0)
    for _ in range(3):
        desk.submit(call("slow"), None)
    assert [desk.take() is not None for _ in range(3)] == [True, True, False]
    desk.submit(call("slow"), None)
    desk.learn(call("quick"), work=1.0, seconds=1.0)
    desk.submit(call("quick", priority=Priority.FREE), None)
    taken = desk.take()
    assert taken is not None
    assert taken.call.tool == "quick"


def test_the_expected_wait_is_that_of_the_caller_s_own_queue(desk: Dispatcher) -> None:
    desk.learn(call("echo"), work=1.0, seconds=5.0)
    for _ in range(18):  # three workers, five seconds each: six rounds begin within 25 s
        desk.submit(call("echo", priority=Priority.FREE), None)
    with pytest.raises(Overloaded, match="30 seconds") as refused:
        desk.submit(call("echo", priority=Priority.FREE), None)
    assert refused.value.retry_after_seconds == 5
    for _ in range(15):  # paid calls do not stand behind them: of 18 places, three go to free ones
        desk.submit(call("echo"), None)
    with pytest.raises(Overloaded):
        desk.submit(call("echo"), None)


def test_a_call_that_was_to_stop_and_comes_back_unbegun_is_over(desk: Dispatcher) -> None:
    submission = desk.submit(call("echo"), None)
    assert desk.take() is submission
    desk.cancel(submission)
    assert not submission.answer.done()
    desk.put_back(submission, is_long=False)
    assert isinstance(submission.answer.exception(0), Cancelled)
    assert desk.counts() == (0, 0)


def test_a_stopping_desk_gives_no_calls_and_takes_none(desk: Dispatcher) -> None:
    waiting = desk.submit(call("echo"), None)
    desk.stop(grace_seconds=1.0)
    assert desk.take() is None
    assert isinstance(waiting.answer.exception(0), Overloaded)
    with pytest.raises(Overloaded, match="shutting down"):
        desk.submit(call("echo"), None)


def test_a_guests_long_call_makes_way_for_a_billed_long_one_and_its_caller_may_try_again() -> None:
    desk = Dispatcher(queue_size=50, slots=2, max_wait_seconds=25.0, long_seconds=10.0, ring=lambda: None)
    desk.learn(call("slow"), work=1.0, seconds=100.0)
    guest = desk.submit(call("slow", priority=Priority.GUEST, is_billed=False), None)
    assert desk.take() is guest
    with pytest.raises(Overloaded):
        desk.submit(call("slow", priority=Priority.PAID, is_billed=False), None)
    assert not guest.cancel_requested
    billed = desk.submit(call("slow", priority=Priority.FREE), None)
    assert guest.cancel_requested
    assert desk.take() is None
    desk.fail(guest, Cancelled("The call was stopped."))
    assert desk.take() is billed
    assert isinstance(guest.answer.exception(0), Overloaded)
