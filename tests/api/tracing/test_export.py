"""Sending spans: a collector that is dead or silent harms nothing, and the operator's variables apply."""

import itertools
import json
import logging
import signal
import socket
import threading
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
import structlog
from opentelemetry.sdk.trace import TracerProvider

from api.tracing.export import REPEAT_AFTER_SECONDS, SeldomHandler, TraceExport, traces_url
from tests.support.calling import crop, small_picture
from tests.support.server import StartServer, free_port
from tests.support.trace_collector import running_collector
from tests.support.waiting import wait_until


@pytest.fixture(autouse=True)
def sdk_logger() -> Iterator[None]:
    """The SDK's logger is as before after each test."""
    logger = logging.getLogger("opentelemetry")
    before = (list(logger.handlers), logger.level, logger.propagate)
    yield
    logger.handlers[:], logger.level, logger.propagate = before


class Silent:
    """A collector that accepts connections and never answers."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.connections: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()
        for connection in self.connections:
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                self.connections.append(self._socket.accept()[0])
            except OSError:
                return


@pytest.fixture
def silent() -> Iterator[Silent]:
    collector = Silent()
    yield collector
    collector.close()


def make_spans(provider: TracerProvider, count: int) -> None:
    tracer = provider.get_tracer("tests")
    for number in range(count):
        tracer.start_span(f"span {number}").end()


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
        ("http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/traces"),
        ("https://collect.example/otlp", "https://collect.example/otlp/v1/traces"),
        ("https://collect.example/otlp/v1/traces", "https://collect.example/otlp/v1/traces"),
    ],
)
def test_traces_go_below_the_base_url(endpoint: str, expected: str) -> None:
    assert traces_url(endpoint) == expected


@pytest.mark.parametrize(
    ("variables", "name", "version"),
    [
        ({}, "bgeraser", "1.2"),
        ({"OTEL_SERVICE_NAME": "pictures"}, "pictures", "1.2"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=shop,service.version=7"}, "shop", "7"),
    ],
)
def test_the_service_is_named_as_the_operator_says(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], name: str, version: str
) -> None:
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    with running_collector() as collector:
        export = TraceExport(collector.url, "1.2")
        make_spans(export.provider, 1)
        export.close()
    (span,) = collector.spans
    assert (span.resource["service.name"], span.resource["service.version"]) == (name, version)


def test_the_end_sends_what_is_left() -> None:
    with running_collector() as collector:
        export = TraceExport(collector.url, "1.2")
        make_spans(export.provider, 1_000)
        export.close()
    assert len({span.name for span in collector.spans}) == 1_000


def test_the_operators_sampler_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    with running_collector() as collector:
        export = TraceExport(collector.url, "1.2")
        make_spans(export.provider, 10)
        export.close()
    assert collector.bodies == []


def test_the_end_does_not_wait_for_a_silent_collector(
    monkeypatch: pytest.MonkeyPatch, silent: Silent
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "3600")
    export = TraceExport(silent.url, "1.2")
    make_spans(export.provider, 1_000)
    with structlog.testing.capture_logs() as logged:
        export.close(seconds=0.1)
    assert [line["event"] for line in logged] == [
        "the last traces were not sent, because the collector does not answer"
    ]


def test_messages_of_the_sdk_are_logged_once_a_minute() -> None:
    now = 1000.0
    logger = logging.Logger("tests")
    logger.addHandler(SeldomHandler(lambda: now))
    with structlog.testing.capture_logs() as logged:
        for _ in range(5):
            logger.error("not reached: %s", "refused")
        now += REPEAT_AFTER_SECONDS
        logger.error("still not reached")
    assert logged == [
        {
            "event": "a problem with traces",
            "log_level": "warning",
            "reason": "not reached: refused",
            "repeated": 0,
        },
        {
            "event": "a problem with traces",
            "log_level": "warning",
            "reason": "still not reached",
            "repeated": 4,
        },
    ]


@pytest.mark.long
def test_a_dead_collector_harms_no_call_and_does_not_fill_the_log(start_server: StartServer) -> None:
    running = start_server(
        BGERASER_OTLP_ENDPOINT=f"http://127.0.0.1:{free_port()}",
        BGERASER_WORKERS="1",
        # Spans are dropped, and a try to send some fails, with each call.
        OTEL_BSP_SCHEDULE_DELAY="1",
        OTEL_BSP_MAX_QUEUE_SIZE="2",
        OTEL_BSP_MAX_EXPORT_BATCH_SIZE="1",
        OTEL_EXPORTER_OTLP_TIMEOUT="0.05",
    )
    for _ in range(10):
        assert crop(running, running.customer).status_code == 200
    wait_until(lambda: _problems(running.log_text()) != [])
    for _ in range(10):
        assert crop(running, running.customer, small_picture()).status_code == 200
    assert running.stop() in (0, -signal.SIGTERM)
    problems = _problems(running.log_text())
    assert {problem["level"] for problem in problems} == {"warning"}
    logged_at = [datetime.fromisoformat(problem["timestamp"]).timestamp() for problem in problems]
    apart = [later - earlier for earlier, later in itertools.pairwise(logged_at)]
    assert all(seconds > REPEAT_AFTER_SECONDS - 1 for seconds in apart)
    assert "Traceback" not in running.log_text()


@pytest.mark.long
def test_a_silent_collector_harms_no_call_and_no_shutdown(start_server: StartServer, silent: Silent) -> None:
    running = start_server(
        BGERASER_OTLP_ENDPOINT=silent.url,
        BGERASER_WORKERS="1",
        OTEL_BSP_SCHEDULE_DELAY="1",
        OTEL_EXPORTER_OTLP_TIMEOUT="3600",
    )
    wait_until(lambda: silent.connections != [])
    for _ in range(5):
        assert crop(running, running.customer).status_code == 200
    assert running.stop() in (0, -signal.SIGTERM)
    assert "the last traces were not sent" in running.log_text()


def _problems(log_text: str) -> list[dict[str, Any]]:
    lines = [line for line in log_text.splitlines() if '"a problem with traces"' in line]
    return [json.loads(line) for line in lines]
