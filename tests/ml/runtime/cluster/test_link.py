"""The link to a cluster that cannot be reached: a real driver, replaced when it ends, and what it writes."""

import logging
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from ml.backend import ToolCall
from ml.params import Params
from ml.runtime.cluster import connection
from ml.runtime.cluster.deployment import FamilyState
from ml.runtime.cluster.engine_report import EngineReport
from ml.runtime.cluster.families import FamilySize
from ml.runtime.cluster.link import ClusterLink, parse_log_line
from ml.runtime.cluster.messages import DriverConfig
from ml.runtime.cluster.replica import ReplicaConfig
from ml.runtime.messages import StartCall, WorkerConfig
from tests.support.ml.clusters import driver_processes
from tests.support.server import free_port
from tests.support.waiting import PATIENCE_SECONDS, wait_until

WORK = StartCall(1, ToolCall("echo", Params(), {}), (), None, None)


class Events:
    def __init__(self) -> None:
        self.losses = 0

    def saw(self, states: dict[str, FamilyState]) -> None:
        raise AssertionError("there is no cluster")

    def reported(self, family: str, report: EngineReport) -> None:
        raise AssertionError("there is no cluster")

    def lost(self) -> None:
        self.losses += 1


@pytest.fixture
def events() -> Events:
    return Events()


def new_link(address: str, tmp_path: Path, events: Events) -> ClusterLink:
    worker = WorkerConfig(tmp_path, tmp_path, "cpu", 1 << 30, 1)
    return ClusterLink(
        DriverConfig(address, "test", "server", ReplicaConfig(worker), {"work": FamilySize()}), events
    )


@pytest.fixture
def link(tmp_path: Path, events: Events) -> Iterator[ClusterLink]:
    made = new_link(f"127.0.0.1:{free_port()}", tmp_path, events)
    made.start()
    yield made
    made.close()
    assert driver_processes() == []


def test_a_driver_that_ends_is_replaced(
    link: ClusterLink, events: Events, caplog: pytest.LogCaptureFixture
) -> None:
    wait_until(lambda: "Connection refused" in caplog.text)
    (first,) = driver_processes()
    # Nothing of Ray is loaded before something answers.
    assert first.memory_info().rss < 250 << 20
    first.send_signal(signal.SIGKILL)
    wait_until(lambda: events.losses == 1 and len(driver_processes()) == 1)
    assert driver_processes() != [first]


def test_a_driver_that_hangs_is_replaced(
    tmp_path: Path, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ml.runtime.cluster.link.CONNECT_SECONDS", 1.0)
    monkeypatch.setattr("ml.runtime.cluster.link.LEAVE_SECONDS", 0.5)
    link = new_link(f"127.0.0.1:{free_port()}", tmp_path, events)
    link.start()
    try:
        wait_until(lambda: driver_processes() != [])
        (hanging,) = driver_processes()
        hanging.send_signal(signal.SIGSTOP)
        wait_until(lambda: not hanging.is_running())
        wait_until(lambda: driver_processes() != [])
    finally:
        link.close()


def test_calls_without_a_driver_are_gone(link: ClusterLink, tmp_path: Path, events: Events) -> None:
    heard: list[dict[str, Any]] = []
    new_link("127.0.0.1:1", tmp_path, events).new_call("work", heard.append).send(WORK, [b"picture"])
    assert heard == [{"kind": "gone", "why": "the cluster cannot be reached"}]


def test_calls_of_a_driver_that_ends_are_gone_after_the_loss_was_told(
    link: ClusterLink, events: Events
) -> None:
    heard: list[tuple[int, dict[str, Any]]] = []
    wait_until(lambda: driver_processes() != [])
    call = link.new_call("work", lambda message: heard.append((events.losses, message)))
    dropped = link.new_call("work", lambda message: heard.append((-1, message)))
    for process in driver_processes():
        process.send_signal(signal.SIGSTOP)  # so that it does not answer first
    for each in (call, dropped):
        each.send(WORK, [b"picture"])
    dropped.end()
    for process in driver_processes():
        process.send_signal(signal.SIGKILL)
    wait_until(lambda: heard != [])
    assert heard == [(1, {"kind": "gone", "why": "the connection to the cluster broke"})]
    call.end()
    call.send(WORK, [])  # ended before it was sent
    assert len(heard) == 1


def test_sending_to_a_driver_that_does_not_read_does_not_wait(link: ClusterLink) -> None:
    wait_until(lambda: driver_processes() != [])
    for process in driver_processes():
        process.send_signal(signal.SIGSTOP)
    sent = threading.Event()

    def send() -> None:
        for _ in range(20):
            link.new_call("work", lambda _message: None).send(WORK, [bytes(1 << 20)])
        sent.set()

    threading.Thread(target=send).start()
    try:
        wait_until(sent.is_set)
    finally:
        for process in driver_processes():
            process.kill()


def test_an_address_where_no_cluster_answers_is_tried_again(
    tmp_path: Path, events: Events, caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    link = new_link(f"127.0.0.1:{port}", tmp_path, events)
    link.start()
    try:
        wait_until(lambda: "Connection refused" in caplog.text)
        with socket.create_server(("127.0.0.1", port)) as server:
            server.settimeout(30)
            server.accept()[0].close()
    finally:
        link.close()


@pytest.mark.parametrize(
    ("greeting", "reason"),
    [(b"", "does not answer"), (b"HTTP/1.1 400 Bad Request\r\n\r\n", "not a Ray cluster")],
)
def test_what_is_no_cluster_is_named_at_once(
    greeting: bytes, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ml.runtime.cluster.connection.CONNECT_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            with server.accept()[0] as accepted:
                accepted.sendall(greeting)
                is_over.wait(PATIENCE_SECONDS)

        is_over = threading.Event()
        answering = threading.Thread(target=answer)
        answering.start()
        with pytest.raises(OSError, match=reason):
            connection.check_answers(f"127.0.0.1:{server.getsockname()[1]}")
        is_over.set()
        answering.join()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("[2026-01-31 12:00:00,123 E 77 78] (gcs) x.cc:1: no", (logging.ERROR, "(gcs) x.cc:1: no")),
        ("[2026-01-31 12:00:00,123 W 77 78] text", (logging.WARNING, "text")),
        ("[2026-01-31 12:00:00,123 I 77 78] text", (logging.INFO, "text")),
        ("[2026-01-31 12:00:00,123 C 77 78] text", (logging.ERROR, "text")),
        ("Segmentation fault", (logging.WARNING, "Segmentation fault")),
        ("", (logging.WARNING, "")),
    ],
)
def test_lines_of_its_error_output_keep_their_level(line: str, expected: tuple[int, str]) -> None:
    assert parse_log_line(line) == expected


def test_the_link_does_not_import_ray() -> None:
    code = "import sys, ml.runtime.cluster.backend; sys.exit('ray' in sys.modules)"
    assert psutil.Popen([sys.executable, "-c", code]).wait() == 0
