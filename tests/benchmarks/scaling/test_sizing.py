"""From measured points to servers, prices and pages, with invented measurements."""

import json
import math
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from tests.benchmarks import page
from tests.benchmarks.photos import NAMES
from tests.benchmarks.scaling import __main__ as command
from tests.benchmarks.scaling import capacity, comparison, pages, server_costs, simulation, sizing
from tests.benchmarks.scaling.measuring import ClosedRun, OpenCall, OpenRun
from tests.benchmarks.scaling.server_costs import Costs, ServerCosts, Transactions
from tests.benchmarks.scaling.sizing import Assumptions, Measurements
from tests.support import page_parts


def closed_run(workers: int) -> ClosedRun:
    seconds = {
        f"{kind} {name}": [each] * 3 for kind, each in (("cut-out", 1.0), ("crop", 0.02)) for name in NAMES
    }
    return ClosedRun(workers, seconds, {"cut-out": 0.9, "crop": 0.01})


def open_run(closed: ClosedRun) -> OpenRun:
    """A run that went exactly as the simulation says."""
    kinds = closed.kinds("cut-outs")
    arrivals = simulation.poisson_arrivals(kinds, 0.7 * closed.workers, seconds=30, seed=1)
    served = simulation.simulate(arrivals, simulation.Servers(closed.workers)).served
    calls = [
        OpenCall(
            one.arrival.at,
            one.arrival.kind.name,
            0.0,
            one.wait_seconds,
            one.arrival.service_seconds,
            one.ended_at,
        )
        for one in served
    ]
    return OpenRun("cut-outs", closed.workers, 0.7, 0.7 * closed.workers, 30, 1, calls, 0)


@pytest.fixture(autouse=True)
def _short_simulations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizing, "_SIMULATED_CALLS", 3_000)


CALL = Costs(0.02, 0.004, Transactions(2, 2, 20), {"PUT": 1.0}, 200_000, 600, 900_000)
SERVER = ServerCosts(
    {
        "cut-out": CALL,
        "crop": replace(CALL, result_bytes=100_000),
        "download": Costs(0.005, 0.001, Transactions(0, 1, 1), {"HEAD": 1.0, "GET": 1.0}, 0, 900_000),
    },
    Costs(0.01, 0.002, Transactions(3, 0.7, 5), {"PUT": 0.2, "POST": 0.2}),
    7,
)
CLOSED = [closed_run(1), closed_run(2)]
MEASURED = Measurements(
    ["Processor: none"],
    CLOSED,
    [open_run(one) for one in CLOSED],
    SERVER,
    {
        "PostgreSQL, with settlement, 4 processes": 200.0,
        "PostgreSQL, with settlement, 1 process": 150.0,
        "PostgreSQL, admissions, 4 processes": 400.0,
        "SQLite, with settlement, 1 process": 450.0,
    },
)


def test_an_image_is_a_call_and_a_download() -> None:
    image = sizing.image_of(MEASURED, "cut-outs")
    assert image.server_core_seconds == pytest.approx(0.025)
    assert image.service.mean_seconds == pytest.approx(1.025)
    assert image.core_seconds == pytest.approx(0.925)
    assert (image.writing_transactions, image.reading_transactions) == (2, 3)
    assert (image.bucket_writes, image.bucket_reads) == (1, 2)
    assert image.bytes_out == 900_600
    mixed = sizing.image_of(MEASURED, "half crops")
    assert mixed.worker_core_seconds == pytest.approx(0.455)
    assert mixed.stored_bytes == 500_000


def test_servers_for_a_rate_are_between_one_queue_and_any_server() -> None:
    count = sizing.server_count(MEASURED, "cut-outs", 10.0, 2.0)
    assert count.least_calls is not None
    assert math.ceil(10.25 / 2 / 0.95) <= count.shared <= count.least_calls <= count.random
    # At the random choice, each server is as the closed form says.
    service = sizing.image_of(MEASURED, "cut-outs").service
    utilisation = 10.25 / 2 / count.random
    assert capacity.wait_percentile_seconds(2, utilisation, service, 95) <= 2.0
    fewer = 10.25 / 2 / (count.random - 1)
    assert capacity.wait_percentile_seconds(2, fewer, service, 95) > 2.0


def test_a_rate_beyond_the_simulation_is_bounded_from_both_sides() -> None:
    count = sizing.server_count(MEASURED, "cut-outs", 10_000.0, 10.0)
    assert count.least_calls is None
    assert 5_000 < count.shared < count.random < 10_000


def test_what_servers_ask_for_grows_with_the_rate() -> None:
    demand = sizing.demand(MEASURED, "cut-outs", 100.0, 60)
    assert demand.database_share == pytest.approx(0.5)
    assert demand.writing_transactions == 200
    assert demand.connections == 420
    assert demand.idle_transactions == pytest.approx(60 * 0.9)
    assert demand.business_accounts == 10  # of 10 calls a second each


def test_free_calls_wait_longer_than_paid_ones_and_too_many_are_refused() -> None:
    busy, beyond = (sizing.priorities(MEASURED, "cut-outs", share) for share in (0.85, 1.5))
    assert busy.paid_seconds < busy.free_seconds
    assert busy.refused_share < 0.05 < beyond.refused_share


def test_a_month_costs_whole_servers_and_at_least_the_core_time() -> None:
    assumed = Assumptions(core_hour_price=0.1, peak_to_mean=2.0, stored_hours=24.0)
    few = sizing.monthly_cost(MEASURED, "cut-outs", 1_000, assumed)
    assert few.servers == 1
    assert few.price == pytest.approx(2 * 730 * 0.1)
    assert few.least_price == pytest.approx(1_000 * 0.925 / 3600 * 0.1)
    many = sizing.monthly_cost(MEASURED, "cut-outs", 10_000_000, assumed)
    assert many.price == pytest.approx(many.least_price / many.utilisation)
    assert many.stored_bytes == pytest.approx(10_000_000 / 730 * 24 * 900_000)
    # Twice the peak halves the utilisation, apart from whole servers.
    peaked = sizing.monthly_cost(MEASURED, "cut-outs", 10_000_000, replace(assumed, peak_to_mean=4.0))
    assert peaked.utilisation == pytest.approx(many.utilisation / 2, rel=0.2)


def test_a_run_as_the_model_says_is_recognised() -> None:
    compared = comparison.compare(MEASURED.open[1], CLOSED[1])
    assert compared.replay_error_seconds == pytest.approx(0.0, abs=1e-9)
    assert compared.p95_seconds.is_within
    calls = [replace(one, wait_seconds=one.wait_seconds + 0.3) for one in MEASURED.open[1].calls]
    slower = comparison.compare(replace(MEASURED.open[1], calls=calls), CLOSED[1])
    assert slower.replay_error_seconds == pytest.approx(0.3)
    assert not slower.p50_seconds.is_within


def test_measurements_survive_their_file(tmp_path: Path) -> None:
    assert command.loaded(json.dumps(asdict(MEASURED))) == MEASURED
    assert command.newest(tmp_path) is None
    for name in ("scaling-20260102-000000.json", "scaling-20260101-000000.json", "bench-1.json"):
        (tmp_path / name).touch()
    assert command.newest(tmp_path) == tmp_path / "scaling-20260102-000000.json"


def test_the_pages_are_written_between_their_marks(tmp_path: Path) -> None:
    copies = [tmp_path / page.name for page in (pages.SCALING, pages.OPERATIONS)]
    for copy, original in zip(copies, (pages.SCALING, pages.OPERATIONS), strict=True):
        shutil.copy(original, copy)
    pages.write(MEASURED, Assumptions(core_hour_price=0.123), *copies)
    for copy in copies:
        for name in pages.PARTS[copy.name]:
            text = page_parts.read_part(copy, name, pages.COMMAND)
            assert "Not measured" not in text
            assert "nan" not in text
    written = page_parts.read_part(copies[1], "monthly costs", pages.COMMAND)
    assert "0.123 (of any currency)" in written
    assert "| 10,000,000 |" in written


def test_admissions_are_those_of_the_page() -> None:
    figures = page.figures("Admissions: ")
    assert {f"Admissions: {name}" for name in MEASURED.admissions} <= figures.keys()
    assert all(value > 0 for value in figures.values())
    with pytest.raises(ValueError, match="no table"):
        page.figures("Nothing: ")


def test_transactions_are_counted_by_connection() -> None:
    log = """\
11 LOG:  statement: ;
11 LOG:  statement: BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY
12 LOG:  statement: BEGIN ISOLATION LEVEL READ COMMITTED
11 LOG:  execute <unnamed>: SELECT api_key.id
\tFROM api_key
11 DETAIL:  Parameters: $1 = 'insert'
12 LOG:  execute _pg3_0: SELECT account.id
\tFROM account
\tWHERE account.id = $1::VARCHAR FOR NO KEY UPDATE
11 LOG:  statement: ROLLBACK
12 LOG:  statement: COMMIT
13 LOG:  statement: SELECT 1
14 LOG:  statement: BEGIN
14 LOG:  execute <unnamed>: INSERT INTO image (id) VALUES ($1)
"""
    assert server_costs.count_transactions(log) == Transactions(writing=1, reading=2, statements=4)
