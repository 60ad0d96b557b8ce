"""What `make scaling` writes into docs/scaling.md and docs/operations.md."""

from pathlib import Path

from tests.benchmarks.report import table
from tests.benchmarks.scaling import comparison, sizing
from tests.benchmarks.scaling.comparison import Comparison, Figure
from tests.benchmarks.scaling.measuring import MIXES
from tests.benchmarks.scaling.server_costs import Costs
from tests.benchmarks.scaling.sizing import Assumptions, Demand, Image, Measurements, ServerCount
from tests.support import page_parts

COMMAND = "make scaling"
_DOCS = Path(__file__).resolve().parents[3] / "docs"
SCALING, OPERATIONS = _DOCS / "scaling.md", _DOCS / "operations.md"
#: The parts of each page.
PARTS = {
    "scaling.md": (
        "machine",
        "service times",
        "waits",
        "calls",
        "servers",
        "priorities",
        "demand",
        "limits",
        "costs",
    ),
    "operations.md": ("sizing", "monthly costs"),
}
#: What Amazon documents for each prefix of a bucket: https://repost.aws/knowledge-center/s3-object-key-naming-pattern
_BUCKET_WRITES_PER_SECOND, _BUCKET_READS_PER_SECOND = 3_500, 5_500
_MIX = "cut-outs"  # of tables that are about one
_LIMIT_SECONDS = 10.0
_UTILISATIONS = (0.5, 0.7, 0.85, 0.95, 1.2)  # of the simulation of priorities


def write(
    measured: Measurements, assumed: Assumptions, scaling: Path = SCALING, operations: Path = OPERATIONS
) -> None:
    """Write every part of both pages."""
    parts = parts_of(measured, assumed)
    for page in (scaling, operations):
        for name in PARTS[page.name]:
            page_parts.write_part(page, name, COMMAND, parts[name] + "\n")


def parts_of(measured: Measurements, assumed: Assumptions) -> dict[str, str]:
    """The text of each part, by its name. Takes about a minute, most of it for simulations."""
    counts = {
        (mix, rate, limit): sizing.server_count(measured, mix, rate, limit)
        for mix in MIXES
        for rate in sizing.RATES_PER_SECOND
        for limit in sizing.WAIT_LIMITS_SECONDS
    }
    servers = {rate: counts[_MIX, rate, _LIMIT_SECONDS].random for rate in sizing.RATES_PER_SECOND}
    demands = {rate: sizing.demand(measured, _MIX, rate, count) for rate, count in servers.items()}
    costs = _costs_part(measured, assumed)
    return {
        "machine": "\n".join(f"- {line}" for line in measured.machine),
        "service times": _service_times_part(measured),
        "waits": _waits_part(measured),
        "calls": _calls_part(measured),
        "servers": _servers_part(counts),
        "priorities": _priorities_part(measured),
        "demand": _demand_part(servers, demands),
        "limits": _limits_part(measured),
        "costs": costs,
        "sizing": _sizing_part(servers, demands, counts),
        "monthly costs": costs,
    }


def _service_times_part(measured: Measurements) -> str:
    rows = [
        (
            mix,
            str(closed.workers),
            f"{service.mean_seconds:.3f}",
            f"{service.squared_variation:.2f}",
            f"{sum(share * closed.core_seconds[kind] for kind, share in MIXES[mix].items()):.3f}",
            f"{closed.workers / service.mean_seconds:.2f}",
        )
        for closed in measured.closed
        for mix in MIXES
        for service in [comparison.service_of(closed.kinds(mix))]
    ]
    columns = ("Mix", "Workers", "Mean, s", "Variation, squared", "Core-seconds", "Capacity, images/s")
    return table(columns, rows)


def _waits_part(measured: Measurements) -> str:
    compared = [
        comparison.compare(run, measured.closed_run(run.workers)) for run in measured.open if run.calls
    ]
    columns = (
        "Mix",
        "Workers",
        "Load",
        "Calls",
        "Service, s",
        "predicted service",
        "Wait p50, s",
        "predicted p50",
        "Wait p95, s",
        "predicted p95",
        "p95 in closed form",
        "Calls/s",
        "predicted calls/s",
        "Replay differs by, ms",
    )
    figures = [one for each in compared for one in (each.p50_seconds, each.p95_seconds, each.per_second)]
    within = sum(figure.is_within for figure in figures)
    refused = sum(run.refused for run in measured.open)
    return (
        table(columns, [_waits_row(one) for one in compared])
        + f"\n\n{within} of {len(figures)} measured waits and rates are within the predicted 5th to 95th "
        f"percentile, where 9 in 10 would be if nothing but chance differed; {refused} calls were refused."
    )


def _waits_row(compared: Comparison) -> tuple[str, ...]:
    run = compared.run

    def cells(figure: Figure) -> tuple[str, str]:
        return f"{figure.measured:.2f}", f"{figure.predicted:.2f} ({figure.low:.2f} to {figure.high:.2f})"

    return (
        run.mix,
        str(run.workers),
        f"{run.load_share:.0%}",
        str(len(run.calls)),
        *cells(compared.service_seconds),
        *cells(compared.p50_seconds),
        *cells(compared.p95_seconds),
        f"{compared.closed_form_p95_seconds:.2f}",
        *cells(compared.per_second),
        f"{compared.replay_error_seconds * 1000:.0f}",
    )


def _calls_part(measured: Measurements) -> str:
    columns = (
        "",
        "Server's process, core-ms",
        "PostgreSQL, core-ms",
        "Writing transactions",
        "Reading ones",
        "Statements",
        "Requests to the bucket",
        "In, KB",
        "Out, KB",
        "Result, KB",
    )
    rows = [(f"One {name}", *_costs_cells(costs)) for name, costs in measured.server.calls.items()]
    rows.append(("One second without calls", *_costs_cells(measured.server.idle)))
    return table(columns, rows)


def _costs_cells(costs: Costs) -> tuple[str, ...]:
    requests = ", ".join(f"{number:.3g} {method}" for method, number in costs.bucket_requests.items())
    return (
        f"{costs.server_core_seconds * 1000:.1f}",
        f"{costs.database_core_seconds * 1000:.1f}",
        f"{costs.transactions.writing:.3g}",
        f"{costs.transactions.reading:.3g}",
        f"{costs.transactions.statements:.3g}",
        requests,
        f"{costs.bytes_in / 1000:.1f}",
        f"{costs.bytes_out / 1000:.1f}",
        f"{costs.result_bytes / 1000:.1f}",
    )


def _servers_part(counts: dict[tuple[str, float, float], ServerCount]) -> str:
    rows = [
        (
            f"{rate:,.0f}",
            mix,
            f"{limit:.0f} s",
            f"{count.shared:,}",
            "not simulated" if count.least_calls is None else f"{count.least_calls:,}",
            f"{count.random:,}",
        )
        for (mix, rate, limit), count in counts.items()
    ]
    columns = (
        "Images/s",
        "Mix",
        "p95 of waiting at most",
        "Servers, as if with one queue (closed form)",
        "a proxy that chooses the fewest calls (simulated)",
        "a proxy that chooses any server (closed form)",
    )
    return table(columns, rows)


def _priorities_part(measured: Measurements) -> str:
    rows = [
        (
            f"{found.utilisation:.0%}",
            f"{found.paid_seconds:.1f}",
            f"{found.free_seconds:.1f}",
            f"{found.refused_share:.1%}",
        )
        for utilisation in _UTILISATIONS
        for found in [sizing.priorities(measured, _MIX, utilisation)]
    ]
    return table(("Utilisation", "Paid calls, p95, s", "Free calls, p95, s", "Refused"), rows)


def _demand_part(servers: dict[float, int], demands: dict[float, Demand]) -> str:
    by_rate = list(demands.values())
    lines = {
        "Servers": [f"{count:,}" for count in servers.values()],
        "Cores busy with the servers' own processes": [_number(one.server_cores) for one in by_rate],
        "Writing transactions/s": [_number(one.writing_transactions) for one in by_rate],
        "Reading transactions/s": [_number(one.reading_transactions) for one in by_rate],
        "Transactions/s of servers without calls": [_number(one.idle_transactions) for one in by_rate],
        "Share of what one PostgreSQL settles": [_share(one.database_share) for one in by_rate],
        "Cores busy with PostgreSQL": [_number(one.database_cores) for one in by_rate],
        "Connections to PostgreSQL": [_number(one.connections) for one in by_rate],
        "Bytes in, MB/s": [_number(one.bytes_in / 1e6) for one in by_rate],
        "Bytes out, MB/s": [_number(one.bytes_out / 1e6) for one in by_rate],
        "Requests to the bucket/s, writing": [_number(one.bucket_writes) for one in by_rate],
        "Requests to the bucket/s, reading": [_number(one.bucket_reads) for one in by_rate],
        "Business accounts, at least": [f"{one.business_accounts:,}" for one in by_rate],
    }
    columns = ("At images/s of", *(f"{rate:,.0f}" for rate in demands))
    return table(columns, [(name, *cells) for name, cells in lines.items()])


def _limits_part(measured: Measurements) -> str:
    image = sizing.image_of(measured, _MIX)
    settled = measured.settled_per_second
    server = measured.server
    each_per_second = sizing.WORKERS / image.service.mean_seconds
    idle = server.idle_transactions_of_each_server
    own_ms, process_limit = image.server_core_seconds * 1000, 1 / image.server_core_seconds
    servers_by_connections = sizing.POSTGRES_CONNECTIONS // server.connections
    one, admitted, sqlite = (
        measured.admissions[name]
        for name in (
            "PostgreSQL, with settlement, 1 process",
            "PostgreSQL, admissions, 4 processes",
            "SQLite, with settlement, 1 process",
        )
    )
    most_servers = max(sizing.RATES_PER_SECOND) / each_per_second
    writes_limit = _BUCKET_WRITES_PER_SECOND / image.bucket_writes
    reads_limit = _BUCKET_READS_PER_SECOND / image.bucket_reads
    lines = [
        f"**Workers:** one server serves at most {each_per_second:.2f} images a second.",
        f"**The server's own process** needs {own_ms:.1f} core-ms for a call and the download of its result:"
        f" {image.server_core_seconds * each_per_second:.1%} of a core at that rate. One process would be the"
        f" limit at {process_limit:.0f} images a second, on a machine with"
        f" {process_limit / each_per_second:.0f} times as many cores as this one.",
        f"**Connections:** the server, whose calls came one after the other, had {server.connections} open;"
        f" its pools grow when it is busy. PostgreSQL's usual {sizing.POSTGRES_CONNECTIONS} are used up by"
        f" {servers_by_connections} such servers, which serve"
        f" {servers_by_connections * each_per_second:.0f} images a second. Beyond that, raise"
        " `max_connections`, or put a pooler in front, which was not tried.",
        f"**Transactions:** PostgreSQL on 2 cores, which its callers used too, settled {settled:.0f} calls a"
        f" second ({one:.0f} with one process); that is the work of {settled / each_per_second:.0f} servers."
        f" Admissions alone reach {admitted:.0f}. SQLite, for one machine, settles {sqlite:.0f}, far more"
        " than the workers of one machine of 2 cores ask for.",
        f"**Servers without calls** make {idle:.2f} transactions a second each, health checks included:"
        f" {most_servers:,.0f} of them would make {most_servers * idle:,.0f}.",
        f"**The bucket:** Amazon documents {_BUCKET_WRITES_PER_SECOND:,} writing and"
        f" {_BUCKET_READS_PER_SECOND:,} reading requests a second for each prefix, and divides a prefix that"
        f" stays busy. Without that they are reached at {writes_limit:,.0f} and {reads_limit:,.0f} images"
        " a second.",
    ]
    return "\n".join(f"- {line}" for line in lines)


def _costs_part(measured: Measurements, assumed: Assumptions) -> str:
    rows = []
    for images in sizing.IMAGES_A_MONTH:
        cost = sizing.monthly_cost(measured, _MIX, images, assumed, _LIMIT_SECONDS)
        rows.append(
            (
                f"{images:,}",
                f"{cost.peak_per_second:.3g}",
                f"{cost.servers:,}",
                f"{cost.utilisation:.1%}",
                f"{cost.price:,.2f}",
                f"{cost.least_price:,.2f}",
                f"{cost.stored_bytes / 1e9:,.2f}",
                f"{cost.bytes_in / 1e9:,.1f}",
                f"{cost.bytes_out / 1e9:,.1f}",
            )
        )
    columns = (
        "Images a month",
        "Peak, images/s",
        "Servers",
        "Utilisation",
        "Price",
        "Price of the core time alone",
        "Stored, GB",
        "In, GB",
        "Out, GB",
    )
    image = sizing.image_of(measured, _MIX)
    about = (
        f"Measured: {_core_seconds(image)} for a cut-out of 1 MP and the download of its result. Assumed, not"
        f" measured: {assumed.core_hour_price:g} (of any currency) for an hour of a core, a peak of"
        f" {assumed.peak_to_mean:g} times the mean, images kept for {assumed.stored_hours:g} hours, and at"
        f" the peak a 95th percentile of waiting of at most {_LIMIT_SECONDS:.0f} s behind a proxy that"
        " chooses any server."
    )
    return f"{about}\n\n{table(columns, rows)}"


def _core_seconds(image: Image) -> str:
    return (
        f"{image.core_seconds:.3f} core-seconds ({image.worker_core_seconds:.3f} of a worker,"
        f" {image.server_core_seconds:.3f} of the server's process)"
    )


def _sizing_part(
    servers: dict[float, int],
    demands: dict[float, Demand],
    counts: dict[tuple[str, float, float], ServerCount],
) -> str:
    rows = []
    for rate, needed in demands.items():
        two, ten = (counts[_MIX, rate, limit] for limit in sizing.WAIT_LIMITS_SECONDS)
        rows.append(
            (
                f"{rate:,.0f}",
                _range(two),
                _range(ten),
                _share(needed.database_share),
                _number(needed.connections),
                f"{_number(needed.bytes_in / 1e6)} / {_number(needed.bytes_out / 1e6)}",
                f"{_number(needed.bucket_writes)} / {_number(needed.bucket_reads)}",
                "extrapolated" if two.least_calls is None else "model checked on one server",
            )
        )
    columns = (
        "Images/s",
        "Servers, p95 of waiting up to 2 s",
        "up to 10 s",
        "Of one PostgreSQL",
        "Connections",
        "MB/s in / out",
        "Requests to the bucket/s, writing / reading",
        "How known",
    )
    return table(columns, rows)


def _share(value: float) -> str:
    return f"{value:.1%}" if value < 1 else f"{value:.1f} times"


def _range(count: ServerCount) -> str:
    best = count.shared if count.least_calls is None else count.least_calls
    return f"{best:,}" if best == count.random else f"{best:,} to {count.random:,}"


def _number(value: float) -> str:
    """Three significant digits, without an exponent."""
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}" if rounded >= 100 else f"{rounded:g}"
