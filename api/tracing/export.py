"""Sending spans to an OTLP/HTTP collector, in a thread of OpenTelemetry's SDK.

The SDK's own environment variables (`OTEL_*`) apply, except for the endpoint. A collector that does not
answer costs nothing but spans: they wait in a queue of bounded length, and are dropped when it is full.
"""

import logging
import threading
import time
from collections.abc import Callable

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

CLOSE_SECONDS = 2.5
REPEAT_AFTER_SECONDS = 60.0
_TRACES_PATH = "/v1/traces"
_SDK_LOGGER = "opentelemetry"

log = structlog.get_logger()


class TraceExport:
    """Spans of `provider` are sent to the collector at `endpoint` until `close`.

    `provider` is not made the process's global one: libraries that look for that would send spans of their
    own, in which FastAPI, for example, writes paths and queries.
    """

    def __init__(self, endpoint: str, version: str) -> None:
        _log_seldom()
        self._exporter = OTLPSpanExporter(endpoint=traces_url(endpoint))
        # At the end of the process the SDK would wait for half a minute.
        self.provider = TracerProvider(resource=_resource(version), shutdown_on_exit=False)
        self.provider.add_span_processor(BatchSpanProcessor(self._exporter))

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Send what is left, for `seconds` at most."""
        # The SDK's own timeout cannot be set from outside.
        closing = threading.Thread(target=self.provider.shutdown, name="traces-close", daemon=True)
        closing.start()
        closing.join(seconds)
        if closing.is_alive():
            log.warning("the last traces were not sent, because the collector does not answer")
            self._exporter.shutdown()  # type: ignore[no-untyped-call]  # the SDK's


def traces_url(endpoint: str) -> str:
    """Where a collector takes traces: below its base URL, unless `endpoint` is that address already."""
    base = endpoint.rstrip("/")
    return base if base.endswith(_TRACES_PATH) else base + _TRACES_PATH


class SeldomHandler(logging.Handler):
    """Logs the first message, and then one a minute at most, with the number of those in between."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._logged_at: float | None = None
        self._unreported = 0

    def emit(self, record: logging.LogRecord) -> None:
        # `handle` holds the handler's lock.
        now = self._clock()
        if self._logged_at is not None and now < self._logged_at + REPEAT_AFTER_SECONDS:
            self._unreported += 1
            return
        log.warning("a problem with traces", reason=record.getMessage(), repeated=self._unreported)
        self._logged_at, self._unreported = now, 0


def _log_seldom() -> None:
    """The SDK logs each attempt to reach a collector, and callers cause some messages too."""
    logger = logging.getLogger(_SDK_LOGGER)
    logger.handlers[:] = [SeldomHandler()]
    logger.setLevel(logging.WARNING)
    logger.propagate = False


def _resource(version: str) -> Resource:
    """`bgeraser` and its version, unless `OTEL_SERVICE_NAME` or `OTEL_RESOURCE_ATTRIBUTES` say otherwise."""
    found = Resource({SERVICE_VERSION: version}).merge(Resource.create())
    if str(found.attributes[SERVICE_NAME]).startswith("unknown_service"):
        return found.merge(Resource({SERVICE_NAME: "bgeraser"}))
    return found
