"""The closed form of waiting, where exact results are known."""

import pytest

from tests.benchmarks.scaling import capacity
from tests.benchmarks.scaling.capacity import Service

EXPONENTIAL, CONSTANT = Service(2.0, 1.0), Service(2.0, 0.0)


@pytest.mark.parametrize(
    ("workers", "utilisation", "expected"),
    # One worker: its utilisation. Two: 2 u^2 / (1 + u). Ten at 0.8: a table of Erlang's C formula.
    [(1, 0.3, 0.3), (2, 0.5, 1 / 3), (2, 0.8, 1.28 / 1.8), (10, 0.8, 0.4092), (3, 0.0, 0.0)],
)
def test_the_probability_of_waiting_is_erlangs(workers: int, utilisation: float, expected: float) -> None:
    assert capacity.probability_of_waiting(workers, utilisation) == pytest.approx(expected, abs=1e-4)


def test_thousands_of_workers_do_not_overflow() -> None:
    assert 0 < capacity.probability_of_waiting(20_000, 0.99) < 0.2


def test_the_mean_wait_of_one_worker_is_exact() -> None:
    # Pollaczek and Khinchine: u s (1 + variation) / 2 / (1 - u).
    assert capacity.mean_wait_seconds(1, 0.5, EXPONENTIAL) == pytest.approx(2.0)
    assert capacity.mean_wait_seconds(1, 0.5, CONSTANT) == pytest.approx(1.0)


def test_the_percentiles_of_one_worker_with_exponential_times_are_exact() -> None:
    # P(wait > t) = u exp(-(1 - u) t / s)
    p95 = capacity.wait_percentile_seconds(1, 0.5, EXPONENTIAL, 95)
    assert 0.5 * 2.718281828 ** (-0.5 * p95 / 2) == pytest.approx(0.05)


def test_if_most_calls_do_not_wait_neither_does_the_percentile() -> None:
    assert capacity.wait_percentile_seconds(2, 0.1, EXPONENTIAL, 95) == 0.0


@pytest.mark.parametrize("limit_seconds", [0.5, 2.0, 10.0])
def test_at_the_highest_utilisation_the_wait_is_at_its_limit(limit_seconds: float) -> None:
    utilisation = capacity.highest_utilisation(2, CONSTANT, limit_seconds)
    assert capacity.wait_percentile_seconds(2, utilisation, CONSTANT, 95) == pytest.approx(limit_seconds)


def test_the_fewest_workers_are_enough_and_one_less_is_not() -> None:
    workers = capacity.fewest_workers(10.0, EXPONENTIAL, 2.0)
    enough, too_few = (
        capacity.wait_percentile_seconds(count, 20 / count, EXPONENTIAL, 95)
        for count in (workers, workers - 1)
    )
    assert enough <= 2.0 < too_few


def test_a_service_is_described_by_a_weighted_sample() -> None:
    service = Service.of([1.0, 3.0], [3.0, 1.0])
    assert service.mean_seconds == pytest.approx(1.5)
    assert service.squared_variation == pytest.approx(0.75 / 1.5**2)


def test_a_constant_that_is_added_keeps_the_variance() -> None:
    longer = Service(2.0, 0.25).longer_by(2.0)
    assert longer.mean_seconds == 4.0
    assert longer.squared_variation * 4.0**2 == pytest.approx(0.25 * 2.0**2)
