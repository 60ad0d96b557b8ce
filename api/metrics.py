"""Prometheus metrics, counted by this process since it started."""

from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from ml.backend import BackendState, Priority
from ml.statistics import BOUNDS_SECONDS, Durations, Snapshot

_DATABASE_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 25)


class Metrics:
    """Safe to use from several threads."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self._requests = Counter(
            "bgeraser_requests", "Answered requests.", ("method", "route", "status"), registry=registry
        )
        self._seconds = Histogram(
            "bgeraser_request_seconds",
            "From the first byte of a request to the last of its answer.",
            ("route",),
            buckets=BOUNDS_SECONDS,
            registry=registry,
        )
        self._calls = Counter(
            "bgeraser_calls",
            "Calls of tools by HTTP status, on paid and free plans: direct ones, jobs and billed runs of"
            " the editor.",
            ("tool", "status", "plan"),
            registry=registry,
        )
        self._credits = Counter(
            "bgeraser_credits_charged",
            "Credits charged, on paid and free plans.",
            ("plan",),
            registry=registry,
        )
        database = Histogram(
            "bgeraser_database_seconds",
            "From handing a transaction over to its result.",
            ("kind",),
            buckets=_DATABASE_SECONDS,
            registry=registry,
        )
        # Looking a label up takes longer than counting.
        self._database = {kind: database.labels(kind) for kind in ("read", "write")}
        self._workers = Gauge("bgeraser_workers", "Worker processes.", registry=registry)
        self._queued = Gauge("bgeraser_calls_queued", "Calls waiting for a worker.", registry=registry)
        self._running = Gauge("bgeraser_calls_running", "Calls in a worker.", registry=registry)
        self._ready = Gauge("bgeraser_ready", "1 when workers are up.", registry=registry)
        self._backend = _BackendMetrics()
        registry.register(self._backend)

    def count_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """`route` is the declared path, not the requested one, so that the number of series stays small."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def count_call(self, tool: str, status: int, plan: Priority) -> None:
        self._calls.labels(tool, str(status), plan.value).inc()

    def count_credits(self, plan: Priority, credits: int) -> None:
        self._credits.labels(plan.value).inc(credits)

    def observe_transaction(self, kind: str, seconds: float) -> None:
        """`kind`: read or write."""
        self._database[kind].observe(seconds)

    def render(self, backend: BackendState, statistics: Snapshot) -> bytes:
        """All metrics in Prometheus' text format."""
        self._workers.set(backend.workers)
        self._queued.set(backend.queued)
        self._running.set(backend.running)
        self._ready.set(backend.ready)
        self._backend.statistics = statistics
        return generate_latest(self._registry)


class _BackendMetrics(Collector):
    """What the backend has counted itself."""

    def __init__(self) -> None:
        self.statistics = Snapshot({}, {}, {}, {}, {})

    def collect(self) -> Iterator[Metric]:
        found = self.statistics
        yield _histogram(
            "bgeraser_call_wait_seconds",
            "From a call's submission to its start in a worker.",
            ("priority",),
            {(priority,): durations for priority, durations in found.waits.items()},
        )
        yield _histogram(
            "bgeraser_call_stage_seconds",
            "Time of a call in its worker: reading the image, the tool itself, writing the result.",
            ("tool", "stage"),
            found.stages,
        )
        ends = CounterMetricFamily(
            "bgeraser_worker_ends", "Workers that were replaced, by the reason.", labels=("reason",)
        )
        for reason, count in found.worker_ends.items():
            ends.add_metric((reason.value,), count)
        yield ends
        memory = GaugeMetricFamily(
            "bgeraser_worker_memory_bytes", "Resident memory of a worker process.", labels=("worker",)
        )
        for worker, size_bytes in found.worker_memory_bytes.items():
            memory.add_metric((worker,), size_bytes)
        yield memory
        engines = GaugeMetricFamily(
            "bgeraser_engine_memory_bytes",
            "Memory that a loaded engine counts for in its worker's budget.",
            labels=("worker", "engine"),
        )
        for names, size_bytes in found.engine_memory_bytes.items():
            engines.add_metric(names, size_bytes)
        yield engines


def _histogram(
    name: str, documentation: str, labels: tuple[str, ...], durations: Mapping[Any, Durations]
) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, documentation, labels=labels)
    for values, each in durations.items():
        buckets: list[Any] = []
        total = 0
        for bound, count in zip((*map(float, BOUNDS_SECONDS), float("inf")), each.counts, strict=True):
            total += count
            buckets.append(("+Inf" if bound == float("inf") else str(bound), total))
        family.add_metric(values, buckets, each.seconds)
    return family
