"""How many servers a rate of images needs, what it asks of database, bucket and network, and what it costs.

A server is a machine of 2 cores with 2 workers of one thread each and its own queue, behind a proxy. The time
that its own process takes for a call and for sending the result is added to the service time, because both
share the cores.

All figures are measured with one server. What follows for many of them is arithmetic.
"""

import math
from dataclasses import dataclass, replace

from billing.ledger.plans import PLANS, PlanName
from ml.backend import Priority
from tests.benchmarks.scaling import capacity, comparison, simulation
from tests.benchmarks.scaling.capacity import Service
from tests.benchmarks.scaling.measuring import MIXES, ClosedRun, OpenRun
from tests.benchmarks.scaling.server_costs import Costs, ServerCosts
from tests.benchmarks.scaling.simulation import Kind, Servers

WORKERS = CORES = 2  # of a server
RATES_PER_SECOND = (1.0, 100.0, 10_000.0)
WAIT_LIMITS_SECONDS = (2.0, 10.0)  # of the 95th percentile
IMAGES_A_MONTH = (10_000, 100_000, 1_000_000, 10_000_000)
HOURS_A_MONTH = 730.0
#: What PostgreSQL accepts unless it is configured otherwise (`max_connections`).
POSTGRES_CONNECTIONS = 100
#: Of workers, whatever the waits: above it, an error of a few percent in the rate is more than they can do.
HIGHEST_UTILISATION = 0.95
#: The highest rate that is simulated: more servers take too long, and are estimated from both sides.
_SIMULATED_PER_SECOND = 100.0
_SIMULATED_CALLS = 30_000
_SETTLING_SHARE = 0.2  # of the simulated time


@dataclass(frozen=True)
class Assumptions:
    """What nobody measured. Each is an option of the command."""

    core_hour_price: float = 0.04
    peak_to_mean: float = 3.0
    stored_hours: float = 24.0


@dataclass(frozen=True)
class Measurements:
    """One run of the command. `admissions` are calls a second, by the names of docs/performance.md."""

    machine: list[str]
    closed: list[ClosedRun]
    open: list[OpenRun]
    server: ServerCosts
    admissions: dict[str, float]

    def closed_run(self, workers: int) -> ClosedRun:
        return next(one for one in self.closed if one.workers == workers)

    @property
    def settled_per_second(self) -> float:
        """Calls that one PostgreSQL admits and settles a second for several servers."""
        return self.admissions["PostgreSQL, with settlement, 4 processes"]


@dataclass(frozen=True)
class Image:
    """What one image of a mix costs: the call, and one download of its result."""

    service: Service  # of a worker, with the server's own share
    worker_core_seconds: float
    server_core_seconds: float
    database_core_seconds: float
    writing_transactions: float
    reading_transactions: float
    statements: float
    bucket_writes: float
    bucket_reads: float
    bytes_in: float
    bytes_out: float
    stored_bytes: float

    @property
    def core_seconds(self) -> float:
        """Of a server and its workers."""
        return self.worker_core_seconds + self.server_core_seconds


def image_of(measured: Measurements, mix: str) -> Image:
    closed, calls = measured.closed_run(WORKERS), measured.server.calls
    download = calls["download"]

    def mean(of: dict[str, float]) -> float:
        return sum(share * of[kind] for kind, share in MIXES[mix].items())

    def each(costs: Costs) -> dict[str, float]:
        requests = costs.bucket_requests
        reads = sum(requests.get(method, 0.0) for method in ("GET", "HEAD"))
        return {
            "server": costs.server_core_seconds,
            "database": costs.database_core_seconds,
            "writing": costs.transactions.writing,
            "reading": costs.transactions.reading,
            "statements": costs.transactions.statements,
            "bucket reads": reads,
            "bucket writes": sum(requests.values()) - reads,
            "in": costs.bytes_in,
            "out": costs.bytes_out,
            "result": costs.result_bytes,
        }

    by_kind = {kind: each(calls[kind]) for kind in MIXES[mix]}
    call = {name: mean({kind: costs[name] for kind, costs in by_kind.items()}) for name in each(download)}
    fetched = each(download)
    server_core_seconds = call["server"] + fetched["server"]
    return Image(
        comparison.service_of(closed.kinds(mix)).longer_by(server_core_seconds),
        mean(closed.core_seconds),
        server_core_seconds,
        call["database"] + fetched["database"],
        call["writing"] + fetched["writing"],
        call["reading"] + fetched["reading"],
        call["statements"] + fetched["statements"],
        call["bucket writes"] + fetched["bucket writes"],
        call["bucket reads"] + fetched["bucket reads"],
        call["in"],
        call["out"] + call["result"],
        call["result"],
    )


@dataclass(frozen=True)
class ServerCount:
    """Servers for a rate. `least_calls` is None where it was not simulated.

    `shared`: as if all servers had one queue, which no proxy can reach. `least_calls`: the proxy chooses a
    server with the fewest calls. `random`: it chooses any, as `deploy/Caddyfile` does for programs.
    """

    shared: int
    least_calls: int | None
    random: int


def random_servers(image: Image, per_second: float, limit_seconds: float) -> int:
    """Servers with which 95 % of the calls wait at most `limit_seconds` if a proxy chooses any of them."""
    within_limit = capacity.highest_utilisation(WORKERS, image.service, limit_seconds)
    busy = per_second * image.service.mean_seconds / WORKERS
    return math.ceil(busy / min(HIGHEST_UTILISATION, within_limit))


def server_count(measured: Measurements, mix: str, per_second: float, limit_seconds: float) -> ServerCount:
    """Servers with which 95 % of the calls wait at most `limit_seconds`."""
    image = image_of(measured, mix)
    at_random = random_servers(image, per_second, limit_seconds)
    busy = per_second * image.service.mean_seconds / WORKERS
    workers = capacity.fewest_workers(per_second, image.service, limit_seconds)
    shared = max(math.ceil(workers / WORKERS), math.ceil(busy / HIGHEST_UTILISATION))
    if per_second > _SIMULATED_PER_SECOND:
        return ServerCount(shared, None, at_random)
    seconds = _SIMULATED_CALLS / per_second
    kinds = [_with_server(kind, image) for kind in measured.closed_run(WORKERS).kinds(mix)]
    arrivals = simulation.poisson_arrivals(kinds, per_second, seconds=seconds, seed=1)

    def is_enough(count: int) -> bool:
        servers = Servers(WORKERS, count, "least calls")
        outcome = simulation.simulate(arrivals, servers).after(seconds * _SETTLING_SHARE)
        return not outcome.refused and outcome.wait_percentile_seconds(95) <= limit_seconds

    low, high = min(shared, at_random), at_random  # `high` is enough: choosing any server is no better
    while low < high:
        middle = (low + high) // 2
        if is_enough(middle):
            high = middle
        else:
            low = middle + 1
    return ServerCount(shared, high, at_random)


def _with_server(kind: Kind, image: Image) -> Kind:
    """A kind whose service times include the server's own share."""
    seconds = tuple(one + image.server_core_seconds for one in kind.service_seconds)
    return replace(kind, service_seconds=seconds)


@dataclass(frozen=True)
class Priorities:
    """The 95th percentile of waiting in seconds on one server, half of whose calls are paid."""

    utilisation: float
    paid_seconds: float
    free_seconds: float
    refused_share: float


def priorities(measured: Measurements, mix: str, utilisation: float) -> Priorities:
    """Simulated. Calls that are expected to wait longer than the server accepts are refused."""
    image = image_of(measured, mix)
    kinds = [
        replace(_with_server(kind, image), priority=priority)
        for kind in measured.closed_run(WORKERS).kinds(mix)
        for priority in (Priority.PAID, Priority.FREE)
    ]
    per_second = utilisation * WORKERS / image.service.mean_seconds
    seconds = _SIMULATED_CALLS / per_second
    arrivals = simulation.poisson_arrivals(kinds, per_second, seconds=seconds, seed=2)
    outcome = simulation.simulate(arrivals, Servers(WORKERS))
    paid, free = (
        outcome.of(priority).wait_percentile_seconds(95) for priority in (Priority.PAID, Priority.FREE)
    )
    return Priorities(utilisation, paid, free, len(outcome.refused) / len(arrivals))


@dataclass(frozen=True)
class Demand:
    """What a rate asks of what the servers share, per second."""

    server_cores: float  # busy with the servers' own processes, without workers
    database_share: float  # of the calls that the measured PostgreSQL settles
    writing_transactions: float
    reading_transactions: float
    idle_transactions: float  # of all servers, whatever they do
    database_cores: float
    connections: float
    bytes_in: float
    bytes_out: float
    bucket_writes: float
    bucket_reads: float
    business_accounts: int  # the fewest whose rates add up to this


def demand(measured: Measurements, mix: str, per_second: float, servers: int) -> Demand:
    image = image_of(measured, mix)
    account_per_second = PLANS[PlanName.BUSINESS].calls_per_minute / 60
    return Demand(
        per_second * image.server_core_seconds,
        per_second / measured.settled_per_second,
        per_second * image.writing_transactions,
        per_second * image.reading_transactions,
        servers * measured.server.idle_transactions_of_each_server,
        per_second * image.database_core_seconds,
        servers * measured.server.connections,
        per_second * image.bytes_in,
        per_second * image.bytes_out,
        per_second * image.bucket_writes,
        per_second * image.bucket_reads,
        math.ceil(per_second / account_per_second),
    )


@dataclass(frozen=True)
class MonthlyCost:
    """Of a month of images. `utilisation` is the share of the servers' core time that images use."""

    images: int
    peak_per_second: float
    servers: int  # for the peak, all month long
    utilisation: float
    price: float  # of these servers
    least_price: float  # of the core time alone, as if servers could be had by the second
    stored_bytes: float
    bytes_in: float
    bytes_out: float


def monthly_cost(
    measured: Measurements, mix: str, images: int, assumed: Assumptions, limit_seconds: float = 10.0
) -> MonthlyCost:
    image = image_of(measured, mix)
    peak_per_second = images / (HOURS_A_MONTH * 3600) * assumed.peak_to_mean
    servers = random_servers(image, peak_per_second, limit_seconds)
    busy_hours = images * image.core_seconds / 3600
    paid_hours = servers * CORES * HOURS_A_MONTH
    return MonthlyCost(
        images,
        peak_per_second,
        servers,
        busy_hours / paid_hours,
        paid_hours * assumed.core_hour_price,
        busy_hours * assumed.core_hour_price,
        images / HOURS_A_MONTH * assumed.stored_hours * image.stored_bytes,
        images * image.bytes_in,
        images * image.bytes_out,
    )
