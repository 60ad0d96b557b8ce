"""The order of calls. The time is passed in, so nothing waits."""

import pytest

from ml.backend import Priority
from ml.runtime.queue import AGED_SECONDS, QueuedCall, QueueFull, WeightedQueue


def entry(
    priority: Priority,
    *,
    seconds: float = 1.0,
    is_long: bool = False,
    submitted_at: float = 0.0,
    is_billed: bool = True,
) -> QueuedCall:
    return QueuedCall(priority, seconds, is_long, submitted_at, is_billed)


def queue_of(
    paid: int = 0,
    free: int = 0,
    *,
    slots: int = 1,
    size: int = 1000,
    seconds: float = 1.0,
    is_long: bool = False,
) -> WeightedQueue[QueuedCall]:
    """Free calls came first, so that serving paid ones before them is the queue's doing."""
    queue = WeightedQueue[QueuedCall](size, slots, long_seconds=10.0)
    for priority, count in ((Priority.FREE, free), (Priority.PAID, paid)):
        for _ in range(count):
            queue.put(entry(priority, seconds=seconds, is_long=is_long))
    return queue


def served(queue: WeightedQueue[QueuedCall], count: int, now: float = 0.0) -> list[QueuedCall]:
    """The next calls on one slot, each over before the next is taken."""
    order = []
    for _ in range(count):
        taken = queue.take(now)
        assert taken is not None
        queue.finish(taken)
        order.append(taken)
    return order


def letters(entries: list[QueuedCall]) -> str:
    return "".join(found.priority.value[0] for found in entries)


def test_paid_calls_are_served_four_to_one() -> None:
    assert letters(served(queue_of(paid=20, free=20), 20)) == "ppppf" * 4


def test_as_many_calls_run_as_there_are_slots_and_spare_ones() -> None:
    queue = queue_of(paid=9, slots=1)
    queue.resize(2, spare=1)
    taken = [queue.take(0.0) for _ in range(4)]
    assert [each is not None for each in taken] == [True, True, True, False]
    queue.resize(1)
    for each in taken[:2]:
        assert each is not None
        queue.finish(each)
    assert queue.take(0.0) is None  # one still runs
    queue.resize(0)
    assert queue.expected_wait_seconds(0.0, entry(Priority.PAID)) > 0


def test_calls_of_one_priority_are_served_in_order_of_arrival() -> None:
    order = [found.sequence for found in served(queue_of(paid=9), 9)]
    assert order == sorted(order)


def test_a_free_call_waits_for_at_most_four_paid_ones_however_many_arrive() -> None:
    queue = queue_of(paid=8, free=3)
    waited, longest = 0, 0
    for _ in range(200):
        queue.put(entry(Priority.PAID))  # paid work never runs out
        queue.put(entry(Priority.FREE))
        (taken,) = served(queue, 1)
        waited = waited + 1 if taken.priority is Priority.PAID else 0
        longest = max(longest, waited)
    assert longest == 4


def test_a_priority_alone_gets_every_worker() -> None:
    assert letters(served(queue_of(free=5), 5)) == "fffff"
    assert letters(served(queue_of(paid=5), 5)) == "ppppp"


def test_an_idle_priority_accumulates_no_credit() -> None:
    queue = queue_of(free=50)
    served(queue, 40)
    for _ in range(40):
        queue.put(entry(Priority.PAID))
    # Paid calls had no work for forty turns; they get four of five from now on, not all of them.
    assert letters(served(queue, 10)).count("f") == 2


def test_shares_are_measured_in_seconds_so_that_slow_free_calls_get_no_more() -> None:
    queue = queue_of(free=20, seconds=8.0)
    for _ in range(200):
        queue.put(entry(Priority.PAID, seconds=1.0))
    order = served(queue, 100)
    seconds = {
        priority: sum(e.expected_seconds for e in order if e.priority is priority) for priority in Priority
    }
    assert seconds[Priority.PAID] / seconds[Priority.FREE] == pytest.approx(4.0, rel=0.1)


def test_an_aged_free_call_equals_a_new_paid_one() -> None:
    now = AGED_SECONDS + 1.0
    queue = queue_of(free=10)
    for _ in range(20):
        queue.put(entry(Priority.PAID, submitted_at=now))
    assert letters(served(queue, 10, now)).count("f") == 5


def test_ageing_raises_paid_calls_as_well() -> None:
    assert letters(served(queue_of(paid=20, free=20), 20, now=AGED_SECONDS)) == "ppppf" * 4


def test_long_calls_leave_one_worker_to_short_ones() -> None:
    queue = queue_of(paid=5, slots=3, is_long=True)
    assert [queue.take(0.0) is not None for _ in range(3)] == [True, True, False]
    queue.put(entry(Priority.FREE))
    taken = queue.take(0.0)
    assert taken is not None
    assert not taken.is_long


def test_a_waiting_long_call_starts_when_another_ends() -> None:
    queue = queue_of(paid=2, slots=2, is_long=True)
    first = queue.take(0.0)
    assert first is not None
    assert queue.take(0.0) is None
    queue.finish(first)
    assert queue.take(0.0) is not None


def test_one_worker_alone_serves_long_calls_too() -> None:
    assert queue_of(paid=1, slots=1, is_long=True).take(0.0) is not None


def test_a_call_that_overruns_counts_as_long() -> None:
    queue = queue_of(paid=1, slots=2)
    assert queue.take(0.0) is not None
    queue.put(entry(Priority.PAID, is_long=True))
    assert queue.take(11.0) is None


def test_free_long_calls_are_not_starved_by_paid_long_ones() -> None:
    queue = queue_of(paid=40, free=10, slots=2, is_long=True, seconds=20.0)
    assert letters(served(queue, 20)) == "ppppf" * 4


def test_the_queue_is_bounded() -> None:
    queue = queue_of(paid=6, free=2, size=8)
    with pytest.raises(QueueFull):
        queue.put(entry(Priority.PAID))
    assert len(queue) == 8


@pytest.mark.parametrize(("full", "other"), [(Priority.FREE, Priority.PAID), (Priority.PAID, Priority.FREE)])
def test_no_priority_can_fill_the_queue(full: Priority, other: Priority) -> None:
    queue = queue_of(size=8)
    for _ in range(6):
        queue.put(entry(full))
    with pytest.raises(QueueFull):
        queue.put(entry(full))
    queue.put(entry(other))
    queue.put(entry(other))


def test_a_withdrawn_call_is_never_served() -> None:
    queue = queue_of(paid=3)
    second = sorted(queue, key=lambda waiting: waiting.sequence)[1]
    assert queue.remove(second)
    assert not queue.remove(second)
    assert second not in served(queue, 2)
    assert queue.take(0.0) is None


def test_a_running_call_cannot_be_withdrawn() -> None:
    queue = queue_of(paid=1)
    taken = queue.take(0.0)
    assert taken is not None
    assert not queue.remove(taken)


def test_a_requeued_call_keeps_its_position() -> None:
    queue = queue_of(paid=3)
    first = queue.take(0.0)
    assert first is not None
    queue.requeue(first)
    assert queue.take(0.0) is first


def test_the_forecast_matches_the_order_of_service() -> None:
    queue = queue_of(paid=7, free=7)
    for _ in range(3):
        queue.put(entry(Priority.FREE, seconds=30.0, is_long=True))
    foreseen = [found for found, _ in queue.forecast(0.0)]
    assert foreseen == served(queue, 17)


def test_the_forecast_shares_the_work_among_the_workers() -> None:
    queue = queue_of(paid=6, slots=2, seconds=3.0)
    assert [seconds for _, seconds in queue.forecast(0.0)] == [0, 0, 3, 3, 6, 6]


def test_the_forecast_includes_running_calls_and_does_not_change_the_queue() -> None:
    queue = queue_of(paid=2, seconds=4.0)
    running = queue.take(100.0)
    assert running is not None
    newcomer = entry(Priority.PAID, seconds=4.0)
    foreseen = queue.forecast(101.0, newcomer)
    assert [seconds for _, seconds in foreseen] == [3.0, 7.0]
    assert foreseen[-1][0] is newcomer
    assert len(queue) == 1


def test_the_forecast_adjusts_for_a_call_that_overruns() -> None:
    queue = queue_of(paid=2, seconds=1.0)
    queue.take(0.0)
    ((_, seconds),) = queue.forecast(40.0)
    assert seconds == 10.0


def test_the_forecast_lets_long_calls_wait_for_their_share() -> None:
    queue = queue_of(paid=3, slots=2, seconds=20.0, is_long=True)
    assert [seconds for _, seconds in queue.forecast(0.0)] == [0, 20, 40]


def test_the_forecast_of_a_paid_call_is_not_that_of_the_free_queue() -> None:
    queue = queue_of(free=200, slots=2)
    waits = {}
    for priority in Priority:
        newcomer = entry(priority)
        waits[priority] = dict(queue.forecast(0.0, newcomer))[newcomer]
    assert waits[Priority.PAID] == 0.0
    assert waits[Priority.FREE] == 100.0


def guest_call(*, seconds: float = 5.0, is_long: bool = False) -> QueuedCall:
    return entry(Priority.GUEST, seconds=seconds, is_long=is_long, is_billed=False)


@pytest.mark.parametrize(("slots", "most"), [(1, 1), (2, 1), (3, 1), (4, 2), (8, 4)])
def test_unbilled_calls_hold_at_most_half_of_the_workers(slots: int, most: int) -> None:
    queue = queue_of(slots=slots)
    for priority in (Priority.GUEST, Priority.FREE, Priority.PAID):
        for _ in range(slots):
            queue.put(entry(priority, seconds=5.0, is_billed=False))
    taken = [queue.take(0.0) is not None for _ in range(slots)]
    assert taken == [True] * most + [False] * (slots - most)
    for _ in range(slots - most):
        queue.put(entry(Priority.FREE))
        billed = queue.take(0.0)
        assert billed is not None
        assert billed.is_billed


def test_unbilled_long_calls_leave_a_worker_for_a_billed_long_one() -> None:
    queue = queue_of(slots=3)
    for _ in range(3):
        queue.put(guest_call(seconds=60.0, is_long=True))
    assert queue.take(0.0) is not None
    queue.put(entry(Priority.FREE, seconds=60.0, is_long=True))
    taken = queue.take(0.0)
    assert taken is not None
    assert taken.is_billed


def test_a_short_unbilled_call_overtakes_a_long_guest_call_if_it_is_from_an_account() -> None:
    queue = queue_of(slots=2)
    queue.put(guest_call(seconds=60.0, is_long=True))
    assert queue.take(0.0) is not None
    queue.put(guest_call(seconds=0.5))
    assert queue.take(0.0) is None
    preview = entry(Priority.FREE, seconds=0.5, is_billed=False)
    queue.put(preview)
    assert queue.take(0.0) is preview


def test_a_short_unbilled_call_that_overruns_counts_as_long() -> None:
    queue = queue_of(slots=2)
    for _ in range(2):
        queue.put(entry(Priority.FREE, seconds=0.5, is_billed=False))
    assert queue.take(0.0) is not None
    queue.put(guest_call())
    assert queue.take(3.0) is not None  # the second brief one
    assert queue.take(3.0) is None


def test_a_waiting_unbilled_call_starts_when_another_ends() -> None:
    queue = queue_of(slots=2)
    queue.put(guest_call())
    queue.put(guest_call())
    first = queue.take(0.0)
    assert first is not None
    assert queue.take(0.0) is None
    queue.finish(first)
    assert queue.take(0.0) is not None


def test_guests_fill_at_most_a_quarter_of_the_queue() -> None:
    queue = queue_of(size=8)
    queue.put(guest_call())
    queue.put(guest_call())
    with pytest.raises(QueueFull):
        queue.put(guest_call())
    queue.put(entry(Priority.FREE))


def test_the_forecast_lets_unbilled_calls_wait_for_their_share() -> None:
    queue = queue_of(slots=2)
    for _ in range(3):
        queue.put(guest_call(seconds=20.0))
    assert [seconds for _, seconds in queue.forecast(0.0)] == [0, 20, 40]
    newcomer = entry(Priority.PAID)
    assert dict(queue.forecast(0.0, newcomer))[newcomer] == 0.0


def test_the_forecast_ends_when_long_and_unbilled_calls_wait_for_each_other() -> None:
    queue = queue_of(slots=2)
    queue.put(guest_call(seconds=20.0, is_long=True))
    queue.put(entry(Priority.FREE, seconds=30.0, is_long=True))
    queue.put(guest_call(seconds=3.0))
    queue.put(entry(Priority.FREE, seconds=1.0, is_billed=False))
    assert len(queue.forecast(0.0)) == 4
    taken = queue.take(0.0)
    assert taken is not None
    assert len(queue.forecast(1.0)) == 3


def test_a_long_guest_call_yields_to_a_billed_long_one_only() -> None:
    queue = queue_of(slots=2)
    running = guest_call(seconds=100.0, is_long=True)
    queue.put(running)
    assert queue.take(0.0) is running
    assert queue.find_preemptible(1.0, entry(Priority.FREE)) is None
    assert queue.find_preemptible(1.0, entry(Priority.PAID, is_long=True, is_billed=False)) is None
    newcomer = entry(Priority.FREE, seconds=60.0, is_long=True)
    assert queue.find_preemptible(1.0, newcomer) is running
    assert dict(queue.forecast(1.0, newcomer))[newcomer] <= 5.0


def test_a_billed_long_call_never_yields() -> None:
    queue = queue_of(free=1, slots=2, seconds=100.0, is_long=True)
    assert queue.take(0.0) is not None
    assert queue.find_preemptible(1.0, entry(Priority.PAID, is_long=True)) is None


class TestPauses:
    """A guest's running call leaves the cores to billed ones."""

    def running(
        self, *entries: QueuedCall, full_speed_calls: int = 1, slots: int = 4
    ) -> WeightedQueue[QueuedCall]:
        queue = WeightedQueue[QueuedCall](1000, slots, 10.0, full_speed_calls)
        for each in entries:
            queue.put(each)
        for _ in entries:
            assert queue.take(0.0) is not None
        return queue

    def guest(self) -> QueuedCall:
        return entry(Priority.GUEST, is_billed=False)

    @pytest.mark.parametrize("priority", [Priority.PAID, Priority.FREE])
    def test_it_pauses_while_a_billed_call_runs(self, priority: Priority) -> None:
        guest, billed = self.guest(), entry(priority)
        queue = self.running(guest, billed)
        assert queue.must_pause(1.0, guest)
        assert not queue.must_pause(1.0, billed)
        queue.finish(billed)
        assert not queue.must_pause(1.5, guest)

    def test_it_runs_beside_other_unbilled_calls(self) -> None:
        guest = self.guest()
        queue = self.running(
            guest, entry(Priority.PAID, is_billed=False), entry(Priority.FREE, is_billed=False)
        )
        assert not any(queue.must_pause(1.0, each) for each in queue.running)

    def test_an_account_s_unbilled_call_never_pauses(self) -> None:
        unbilled = entry(Priority.FREE, is_billed=False)
        queue = self.running(unbilled, entry(Priority.PAID))
        assert not queue.must_pause(1.0, unbilled)

    def test_it_runs_where_there_are_cores_for_all(self) -> None:
        guest = self.guest()
        queue = self.running(guest, entry(Priority.PAID), full_speed_calls=2)
        assert not queue.must_pause(1.0, guest)
        queue.put(entry(Priority.PAID))
        assert queue.take(1.0) is not None
        assert queue.must_pause(1.0, guest)

    def test_beside_endless_billed_calls_it_runs_a_twentieth_of_the_time(self) -> None:
        guest = self.guest()
        queue = self.running(guest, entry(Priority.PAID))
        steps = [queue.must_pause(tenth / 10, guest) for tenth in range(6_300)]
        assert steps.count(False) == 300

    def test_billed_calls_one_after_the_other_do_not_start_its_turn(self) -> None:
        guest = self.guest()
        queue = self.running(guest)
        for second in range(10):
            billed = entry(Priority.PAID)
            queue.put(billed)
            assert queue.take(second) is billed
            assert queue.must_pause(second + 0.1, guest)
            queue.finish(billed)
            assert not queue.must_pause(second + 0.9, guest)

    def test_it_runs_while_a_short_billed_call_waits_for_it_and_long_ones(self) -> None:
        guest = self.guest()
        queue = self.running(guest, entry(Priority.PAID, seconds=100.0, is_long=True), slots=2)
        assert queue.must_pause(1.0, guest)
        waiting = entry(Priority.PAID)
        queue.put(waiting)
        assert not queue.must_pause(2.0, guest)
        assert queue.remove(waiting)
        queue.put(entry(Priority.PAID, is_long=True))  # has to wait for the other long call anyway
        assert queue.must_pause(3.0, guest)

    def test_it_pauses_while_billed_calls_wait_for_short_ones(self) -> None:
        guest = self.guest()
        queue = self.running(guest, entry(Priority.PAID), slots=2)
        queue.put(entry(Priority.PAID))
        assert queue.must_pause(1.0, guest)

    def test_it_runs_while_it_keeps_a_long_billed_call_waiting(self) -> None:
        guest = entry(Priority.GUEST, is_billed=False, is_long=True)
        queue = self.running(guest, entry(Priority.PAID), slots=2)
        queue.put(entry(Priority.PAID, is_long=True))
        assert queue.take(1.0) is None
        assert not queue.must_pause(1.0, guest)

    def test_it_does_not_become_a_long_call_by_pausing(self) -> None:
        guest, billed = self.guest(), entry(Priority.PAID)
        queue = self.running(guest, billed, slots=2)
        assert queue.must_pause(1.0, guest)
        assert queue.must_pause(15.0, guest)  # it has run for one second
        queue.finish(billed)
        assert not queue.must_pause(16.0, guest)
        for now, may_start in ((20.0, True), (24.9, True), (25.0, False)):
            long = entry(Priority.PAID, is_long=True, submitted_at=now)
            queue.put(long)
            assert (queue.take(now) is long) is may_start
            if may_start:
                queue.finish(long)
