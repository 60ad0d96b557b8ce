"""Prometheus metrics, counted by this process since it started."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from ml.backend import BackendState

_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 25, 60, 300)


class Metrics:
    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "bgeraser_requests", "Answered requests.", ("method", "route", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "bgeraser_request_seconds",
            "From the first byte of a request to the last of its answer.",
            ("route",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._workers = Gauge("bgeraser_workers", "Worker processes.", registry=self._registry)
        self._queued = Gauge("bgeraser_calls_queued", "Calls waiting for a worker.", registry=self._registry)
        self._running = Gauge("bgeraser_calls_running", "Calls in a worker.", registry=self._registry)
        self._ready = Gauge("bgeraser_ready", "1 when workers are up.", registry=self._registry)

    def count_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """`route` is the declared path, not the requested one, so that the number of series stays small."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def render(self, backend: BackendState) -> bytes:
        """All metrics in Prometheus' text format."""
        self._workers.set(backend.workers)
        self._queued.set(backend.queued)
        self._running.set(backend.running)
        self._ready.set(backend.ready)
        return generate_latest(self._registry)
