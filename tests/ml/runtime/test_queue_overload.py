"""The queue under overload, over simulated minutes."""

import heapq
import itertools
import random
from dataclasses import dataclass, field

import pytest

from ml.backend import Priority
from ml.runtime.queue import QueuedCall, QueueFull, WeightedQueue

MAX_WAIT_SECONDS = 25.0
SIMULATED_SECONDS = 300.0


@dataclass
class Outcome:
    seconds: dict[Priority, list[float]] = field(default_factory=lambda: {p: [] for p in Priority})
    waits: dict[Priority, list[float]] = field(default_factory=lambda: {p: [] for p in Priority})
    ended_at: dict[Priority, list[float]] = field(default_factory=lambda: {p: [] for p in Priority})
    refused: dict[Priority, int] = field(default_factory=lambda: dict.fromkeys(Priority, 0))

    def p95_seconds(self, priority: Priority) -> float:
        return sorted(self.seconds[priority])[int(len(self.seconds[priority]) * 0.95)]


def arrivals(priority: Priority, a_second: float, seed: int) -> list[QueuedCall]:
    """Calls of one second each, coming independently of each other."""
    source = random.Random(seed)
    found, now = [], 0.0
    while (now := now + source.expovariate(a_second)) < SIMULATED_SECONDS:
        found.append(QueuedCall(priority, 1.0, False, now))
    return found


def simulate(calls: list[QueuedCall], workers: int) -> Outcome:
    """Run `calls` through a queue that refuses as the dispatcher does."""
    queue = WeightedQueue[QueuedCall](256, workers, long_seconds=10.0)
    outcome = Outcome()
    order = itertools.count()
    events = [(call.submitted_at, next(order), False, call) for call in calls]
    heapq.heapify(events)
    while events:
        now, _, is_over, call = heapq.heappop(events)
        if is_over:
            queue.finish(call)
            outcome.seconds[call.priority].append(now - call.submitted_at)
            outcome.ended_at[call.priority].append(now)
        else:
            try:
                if queue.expected_wait_seconds(now, call) > MAX_WAIT_SECONDS:
                    raise QueueFull
                queue.put(call)
            except QueueFull:
                outcome.refused[call.priority] += 1
        while len(queue.running) < workers and (taken := queue.take(now)) is not None:
            outcome.waits[taken.priority].append(now - taken.submitted_at)
            heapq.heappush(events, (now + taken.expected_seconds, next(order), True, taken))
    return outcome


@pytest.mark.slow
def test_at_three_times_the_load_paid_calls_are_hardly_delayed_and_free_ones_are_still_served() -> None:
    workers = 2
    for seed in range(5):
        paid = arrivals(Priority.PAID, 0.5 * workers, seed)
        free = arrivals(Priority.FREE, 2.5 * workers, seed + 100)
        alone = simulate([QueuedCall(e.priority, 1.0, False, e.submitted_at) for e in paid], workers)
        loaded = simulate(paid + free, workers)
        assert loaded.refused[Priority.PAID] == 0
        assert loaded.p95_seconds(Priority.PAID) <= 4 * alone.p95_seconds(Priority.PAID)
        # All that paid calls leave over goes to free ones, without a pause.
        served = loaded.ended_at[Priority.FREE]
        assert len(served) >= 0.9 * (SIMULATED_SECONDS * workers - len(paid))
        assert max(b - a for a, b in itertools.pairwise(served)) <= 10.0


def test_accepted_free_calls_wait_about_as_long_as_estimated() -> None:
    calls = arrivals(Priority.PAID, 1.0, 1) + arrivals(Priority.FREE, 5.0, 2)
    waits = sorted(simulate(calls, workers=2).waits[Priority.FREE])
    assert waits[len(waits) // 2] <= 1.2 * MAX_WAIT_SECONDS
    assert waits[-1] <= 2 * MAX_WAIT_SECONDS


def test_two_long_calls_do_not_block_short_ones() -> None:
    short = arrivals(Priority.FREE, 0.5, 3)
    long = [QueuedCall(Priority.PAID, 100.0, True, 10.0), QueuedCall(Priority.PAID, 100.0, True, 10.0)]
    outcome = simulate(short + long[:1], workers=2)
    both = simulate([QueuedCall(e.priority, 1.0, False, e.submitted_at) for e in short] + long, workers=2)
    # The second one is refused, since it would wait for the first; short calls go on as if it had not come.
    assert both.refused == {Priority.PAID: 1, Priority.FREE: 0, Priority.GUEST: 0}
    assert both.seconds[Priority.FREE] == outcome.seconds[Priority.FREE]
    assert both.p95_seconds(Priority.FREE) < 5.0
