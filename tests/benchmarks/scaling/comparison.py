"""Measured waits beside predicted ones.

The simulation gets the arrivals of the measured run and service times drawn from the closed run of as many
workers, several times. Between its 5th and 95th percentile, a figure of so few calls may lie by chance.

The replay gets the service times of the run itself. Its waits depend on nothing that is drawn, so that they
show whether the model of the queue is right, however few calls there are.
"""

import statistics
from collections.abc import Callable
from dataclasses import dataclass

from tests.benchmarks.load import percentile
from tests.benchmarks.scaling import capacity, simulation
from tests.benchmarks.scaling.capacity import Service
from tests.benchmarks.scaling.measuring import ClosedRun, OpenRun
from tests.benchmarks.scaling.simulation import Arrival, Kind, Outcome, Servers

_DRAWS = 200


@dataclass(frozen=True)
class Figure:
    """A measured figure, and the simulation's median, 5th and 95th percentile of it."""

    measured: float
    predicted: float
    low: float
    high: float

    @property
    def is_within(self) -> bool:
        return self.low <= self.measured <= self.high


@dataclass(frozen=True)
class Comparison:
    """One open run. `closed_form_p95_seconds` is that of endless arrivals; a short run need not reach it."""

    run: OpenRun
    service_seconds: Figure  # the mean
    p50_seconds: Figure
    p95_seconds: Figure
    per_second: Figure
    closed_form_p95_seconds: float
    replay_error_seconds: float  # the largest of any call


def service_of(kinds: list[Kind]) -> Service:
    """The service times of a mix of kinds."""
    seconds = [one for kind in kinds for one in kind.service_seconds]
    weights = [kind.share / len(kind.service_seconds) for kind in kinds for _ in kind.service_seconds]
    return Service.of(seconds, weights)


def compare(run: OpenRun, closed: ClosedRun) -> Comparison:
    kinds = closed.kinds(run.mix)
    by_name = {kind.name: kind for kind in kinds}
    servers = Servers(run.workers)
    arrivals = [Arrival(one.at, by_name[one.kind], one.service_seconds) for one in run.calls]
    draws = [simulation.simulate(simulation.redrawn(arrivals, seed), servers) for seed in range(_DRAWS)]
    waits = [one.wait_seconds for one in run.calls]
    per_second = len(run.calls) / (max(one.ended_at for one in run.calls) - run.calls[0].at)

    def figure(measured: float, of: Callable[[Outcome], float]) -> Figure:
        drawn = [of(draw) for draw in draws]
        return Figure(measured, statistics.median(drawn), percentile(drawn, 5), percentile(drawn, 95))

    return Comparison(
        run,
        figure(statistics.fmean(one.service_seconds for one in run.calls), _mean_service_seconds),
        figure(statistics.median(waits), lambda draw: draw.wait_percentile_seconds(50)),
        figure(percentile(waits, 95), lambda draw: draw.wait_percentile_seconds(95)),
        figure(per_second, lambda draw: draw.per_second),
        capacity.wait_percentile_seconds(run.workers, run.load_share, service_of(kinds), 95),
        _replay_error_seconds(run, by_name),
    )


def _mean_service_seconds(outcome: Outcome) -> float:
    return statistics.fmean(one.arrival.service_seconds for one in outcome.served)


def _replay_error_seconds(run: OpenRun, by_name: dict[str, Kind]) -> float:
    sent = [Arrival(one.at + one.late_seconds, by_name[one.kind], one.service_seconds) for one in run.calls]
    replayed = simulation.simulate(sent, Servers(run.workers)).served
    return max(
        abs(again.wait_seconds - one.wait_seconds) for again, one in zip(replayed, run.calls, strict=True)
    )
