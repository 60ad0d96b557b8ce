"""The simulation of servers: the rules of the real queue, and its agreement with the closed form."""

import math
from collections.abc import Sequence

import pytest

from ml.backend import Priority
from tests.benchmarks.scaling import capacity, simulation
from tests.benchmarks.scaling.capacity import Service
from tests.benchmarks.scaling.simulation import Arrival, Kind, Outcome, Servers

#: As docs/scaling.md states.
MEAN_TOLERANCE, P95_TOLERANCE = 0.12, 0.15
CALLS = 40_000
PATIENT = {"queue_size": 10**6, "max_wait_seconds": math.inf, "long_seconds": math.inf}
#: As measured: cut-outs of photos, of which every fourth is looked at twice; and half of them crops.
SERVICES = {"cut-outs": (1.0, 1.0, 1.0, 1.9), "half crops": (1.0, 1.0, 1.0, 1.9, *[0.02] * 4)}


def all_of(kind: Kind, count: int, *, every_seconds: float = 0.0) -> list[Arrival]:
    return [Arrival(number * every_seconds, kind, kind.service_seconds[0]) for number in range(count)]


def merged(*arrivals: Sequence[Arrival]) -> list[Arrival]:
    return sorted((one for each in arrivals for one in each), key=lambda one: one.at)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("name", SERVICES)
@pytest.mark.parametrize("utilisation", [0.5, 0.7, 0.85])
def test_closed_form_and_simulation_agree(name: str, workers: int, utilisation: float) -> None:
    seconds = SERVICES[name]
    service = Service.of(seconds)
    per_second = utilisation * workers / service.mean_seconds
    arrivals = simulation.poisson_arrivals(
        [Kind(name, seconds)], per_second, seconds=CALLS / per_second, seed=1
    )
    outcome = simulation.simulate(arrivals, Servers(workers, **PATIENT))  # type: ignore[arg-type]
    mean = capacity.mean_wait_seconds(workers, utilisation, service)
    p95 = capacity.wait_percentile_seconds(workers, utilisation, service, 95)
    assert outcome.mean_wait_seconds == pytest.approx(mean, rel=MEAN_TOLERANCE)
    assert outcome.wait_percentile_seconds(95) == pytest.approx(p95, rel=P95_TOLERANCE)


def test_the_same_seed_gives_the_same_outcome() -> None:
    kinds = [Kind("a", (1.0, 2.0)), Kind("b", (0.1,), share=3.0)]

    def waits(seed: int) -> list[float]:
        arrivals = simulation.poisson_arrivals(kinds, 2.0, seconds=100, seed=seed)
        outcome = simulation.simulate(arrivals, Servers(2, 3), seed=seed)
        return [one.wait_seconds for one in outcome.served]

    assert waits(1) == waits(1)
    assert waits(1) != waits(2)


def test_kinds_arrive_by_their_shares_and_take_their_own_times() -> None:
    kinds = [Kind("a", (1.0, 2.0)), Kind("b", (0.1,), share=3.0)]
    arrivals = simulation.poisson_arrivals(kinds, 10.0, seconds=1000, seed=1)
    assert len(arrivals) == pytest.approx(10_000, rel=0.05)
    assert sum(one.kind.name == "b" for one in arrivals) == pytest.approx(7_500, rel=0.05)
    assert all(one.service_seconds in one.kind.service_seconds for one in arrivals)
    redrawn = simulation.redrawn(arrivals, seed=2)
    assert [(one.at, one.kind) for one in redrawn] == [(one.at, one.kind) for one in arrivals]
    assert redrawn != arrivals


def test_calls_of_one_priority_are_served_in_order_of_arrival() -> None:
    outcome = simulation.simulate(all_of(Kind("a", (1.0,)), 5), Servers(2))
    assert [one.wait_seconds for one in outcome.served] == [0, 0, 1, 1, 2]
    assert outcome.per_second == pytest.approx(5 / 3)


def test_paid_calls_get_most_of_a_full_server() -> None:
    paid, free = Kind("paid", (1.0,)), Kind("free", (1.0,), priority=Priority.FREE)
    arrivals = merged(all_of(free, 40, every_seconds=0.01), all_of(paid, 40, every_seconds=0.01))
    outcome = simulation.simulate(arrivals, Servers(2, **PATIENT))  # type: ignore[arg-type]
    first = sorted(outcome.served, key=lambda one: one.arrival.at + one.wait_seconds)[:30]
    assert sum(one.arrival.kind is paid for one in first) >= 22
    mean_paid, mean_free = (outcome.of(each).mean_wait_seconds for each in (Priority.PAID, Priority.FREE))
    assert mean_paid < mean_free


def test_long_calls_leave_a_worker_to_short_ones() -> None:
    long, short = Kind("long", (60.0,), is_long=True), Kind("short", (1.0,))
    arrivals = merged(all_of(long, 3), [Arrival(1.0, short, 1.0), Arrival(20.0, short, 1.0)])
    outcome = simulation.simulate(arrivals, Servers(2, **PATIENT))  # type: ignore[arg-type]
    waits = {
        name: [one.wait_seconds for one in outcome.served if one.arrival.kind.name == name]
        for name in ("long", "short")
    }
    assert waits == {"long": [0, 60, 120], "short": [0, 0]}


def test_unbilled_calls_take_at_most_half_of_the_workers() -> None:
    unbilled = Kind("unbilled", (5.0,), priority=Priority.FREE, is_billed=False)
    outcome = simulation.simulate(all_of(unbilled, 3), Servers(2))
    assert [one.wait_seconds for one in outcome.served] == [0, 5, 10]


def test_calls_that_would_wait_too_long_are_refused() -> None:
    outcome = simulation.simulate(all_of(Kind("a", (10.0,)), 10), Servers(1, max_wait_seconds=25))
    assert [one.wait_seconds for one in outcome.served] == [0, 10, 20]
    assert len(outcome.refused) == 7
    small = simulation.simulate(all_of(Kind("a", (1.0,)), 10), Servers(1, queue_size=4))
    assert len(small.served) == 4  # one runs, and paid calls may fill three quarters of the queue


def test_servers_have_queues_of_their_own() -> None:
    kind = Kind("a", (1.0,))
    arrivals = simulation.poisson_arrivals([kind], 7.0, seconds=1000, seed=3)

    def p95(servers: Servers) -> float:
        return simulation.simulate(arrivals, servers).wait_percentile_seconds(95)

    # Choosing any server is like as many single servers; the fewest calls are nearly one common queue.
    assert p95(Servers(1, 10)) == pytest.approx(
        capacity.wait_percentile_seconds(1, 0.7, Service(1.0, 0.0), 95), rel=0.2
    )
    assert p95(Servers(1, 10, "least calls")) < 0.3 * p95(Servers(1, 10))


def test_early_arrivals_can_be_left_out() -> None:
    outcome = simulation.simulate(all_of(Kind("a", (1.0,)), 10, every_seconds=1.0), Servers(1))
    assert [one.arrival.at for one in outcome.after(7.0).served] == [7, 8, 9]
    assert outcome.of(Priority.FREE) == Outcome((), ())


def test_guests_are_not_simulated() -> None:
    with pytest.raises(ValueError, match="guests"):
        Kind("a", (1.0,), priority=Priority.GUEST)
