"""Tools on a Ray cluster of two nodes: what differs from worker processes of one machine."""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ml.backend import Priority
from ml.catalogue import TOOLS
from ml.errors import Cancelled, ModelUnavailable, Overloaded
from ml.runtime.cluster import deployment
from ml.runtime.cluster.backend import ClusterBackend
from ml.runtime.cluster.connection import NoToken
from ml.runtime.cluster.families import FamilySize
from tests.support.ml import clusters
from tests.support.ml.backends import Listener, begin, call, measure, workload_config
from tests.support.ml.clusters import (
    RayCluster,
    cluster_config,
    driver_processes,
    ray_cluster,
    replica_processes,
    running,
)
from tests.support.waiting import PATIENCE_SECONDS, wait_until

__all__ = ["ray_cluster"]


@pytest.fixture
def backend(ray_cluster: RayCluster, tmp_path: Path) -> Iterator[ClusterBackend]:
    """With two replicas."""
    with running(cluster_config(workload_config(tmp_path)), 2) as started:
        measure(started, tmp_path, "echo", "wait")
        yield started


def test_a_cluster_without_a_token_is_refused(
    ray_cluster: RayCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_AUTH_MODE")
    with pytest.raises(NoToken, match="RAY_AUTH_MODE=token"):
        ClusterBackend(cluster_config(workload_config(tmp_path)))


def test_the_calls_of_killed_replicas_are_run_by_others(backend: ClusterBackend, tmp_path: Path) -> None:
    gate, listener = tmp_path / "gate", Listener()
    running_calls = [begin(backend, call("wait", gate=gate)) for _ in range(2)]
    waiting = backend.submit(call("echo"), listener)
    for process in replica_processes():
        process.send_signal(signal.SIGKILL)
    gate.touch()
    for ticket in (*running_calls, waiting):
        assert ticket.answer.result(PATIENCE_SECONDS).width == 3
    wait_until(lambda: backend.state().workers == 2)


def test_the_calls_of_a_lost_node_are_run_by_another(ray_cluster: RayCluster, tmp_path: Path) -> None:
    doomed = ray_cluster.add_node(cpus=2)
    # More than the other nodes have room for, so that both nodes have replicas.
    count = 2 * clusters.NODE_CPUS + 2
    size = FamilySize(min_replicas=count, max_replicas=count, cpus=1.0)
    config = cluster_config(workload_config(tmp_path, workers=count), sizes={"work": size})
    with running(config, count) as backend:
        gate = tmp_path / "gate"
        measure(backend, tmp_path, "wait", "echo")
        tickets = [begin(backend, call("wait", gate=gate)) for _ in range(count)]
        ray_cluster.cluster.remove_node(doomed, allow_graceful=False)
        gate.touch()
        for ticket in tickets:
            assert ticket.answer.result(PATIENCE_SECONDS).width == 3
        assert backend.state().running == 0


def test_the_first_call_starts_the_first_replica_of_a_family(ray_cluster: RayCluster, tmp_path: Path) -> None:
    config = cluster_config(
        workload_config(tmp_path), sizes={"work": FamilySize(min_replicas=0, max_replicas=1, cpus=1.0)}
    )
    with running(config, 0) as backend:
        # Else a proxy would never send the call that starts one.
        wait_until(lambda: backend.state().ready)
        assert backend.state().workers == 0
        assert backend.submit(call("echo")).answer.result(PATIENCE_SECONDS).width == 3


@pytest.mark.long
def test_calls_of_a_family_that_no_machine_has_room_for_are_refused(
    ray_cluster: RayCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ml.runtime.cluster.backend.FIRST_REPLICA_SECONDS", 3.0)
    size = FamilySize(min_replicas=0, max_replicas=1, cpus=256)
    with running(cluster_config(workload_config(tmp_path), sizes={"work": size}), 0) as backend:
        tickets = [backend.submit(call("echo")) for _ in range(3)]
        for ticket in tickets:
            with pytest.raises(Overloaded, match="No replica for work can be started"):
                ticket.answer.result(PATIENCE_SECONDS)
        with pytest.raises(Overloaded, match="No replica for work"):
            backend.submit(call("echo"))


@pytest.mark.long
def test_busy_replicas_make_a_family_grow(ray_cluster: RayCluster, tmp_path: Path) -> None:
    config = cluster_config(
        workload_config(tmp_path), sizes={"work": FamilySize(min_replicas=1, max_replicas=2, cpus=1.0)}
    )
    with running(config, 1) as backend:
        measure(backend, tmp_path, "wait")
        gate = tmp_path / "gate"
        first = begin(backend, call("wait", gate=gate))
        second = backend.submit(call("wait", gate=gate))
        wait_until(lambda: backend.state().workers == 2)
        wait_until(lambda: backend.state().running == 2)
        gate.touch()
        for ticket in (first, second):
            assert ticket.answer.result(PATIENCE_SECONDS).width == 3


def test_two_servers_share_replicas_and_a_paid_call_precedes_a_free_one_that_waits_for_one(
    ray_cluster: RayCluster, tmp_path: Path
) -> None:
    config = cluster_config(workload_config(tmp_path, workers=1))
    with running(config, 1) as one:
        other = ClusterBackend(config)  # as in another process: the family is deployed already
        other.start()
        try:
            wait_until(lambda: other.state().workers == 1)
            for each in (one, other):
                measure(each, tmp_path, "echo", "wait")
            gate = tmp_path / "gate"
            busy = begin(one, call("wait", gate=gate))
            order: list[str] = []
            heard = Listener()
            free = other.submit(call("echo", priority=Priority.FREE), heard)
            free.answer.add_done_callback(lambda _: order.append("free"))
            heard.wait_for(lambda progress: progress.stage == "starting")
            paid = other.submit(call("echo", priority=Priority.PAID))
            paid.answer.add_done_callback(lambda _: order.append("paid"))
            heard.wait_for(lambda progress: progress.queue_position >= 1)  # withdrawn for the paid one
            gate.touch()
            for ticket in (busy, free, paid):
                assert ticket.answer.result(PATIENCE_SECONDS).width == 3
            wait_until(lambda: len(order) == 2)
            assert order == ["paid", "free"]
        finally:
            other.close()


def test_a_call_stops_when_its_server_has_stopped(backend: ClusterBackend, tmp_path: Path) -> None:
    began = threading.Event()
    ticket = backend.submit(
        call("polite"), lambda progress: began.set() if progress.stage == "began" else None
    )
    assert began.wait(PATIENCE_SECONDS)
    backend.stop(0.0)
    with pytest.raises(Overloaded, match="shutting down"):
        ticket.answer.result(PATIENCE_SECONDS)
    # The same replicas serve others.
    second = ClusterBackend(backend._config)
    second.start()
    try:
        wait_until(lambda: second.state().workers == 2)
        for _ in range(4):
            assert second.submit(call("echo")).answer.result(PATIENCE_SECONDS).width == 3
    finally:
        second.close()


def test_what_is_not_installed_on_the_machines_is_reported_and_refused(
    ray_cluster: RayCluster, tmp_path: Path
) -> None:
    with running(cluster_config(workload_config(tmp_path)), 2) as backend:

        def engines_missing() -> tuple[str, ...]:
            states = {state.tool: state for state in backend.state().engines}
            return states["bg-removal"].missing

        wait_until(lambda: any("isnet-general-use" in text for text in engines_missing()))
        with pytest.raises(ModelUnavailable, match="bgeraser models pull"):
            backend.check_installed("bg-removal", TOOLS["bg-removal"].params())
        backend.check_installed("crop", TOOLS["crop"].params())


@pytest.mark.long
def test_replicas_that_cannot_start_are_reported_and_their_calls_refused(
    ray_cluster: RayCluster, tmp_path: Path
) -> None:
    broken = workload_config(tmp_path, perform="tests.support.ml.workloads:missing", start_seconds=3.0)
    with running(cluster_config(broken), 0) as backend:

        def is_refused() -> bool:
            try:
                backend.submit(call("echo")).cancel()
            except Overloaded as error:
                return "No replica for work can be started" in str(error)
            return False

        wait_until(is_refused, every_seconds=0.5)
        states = deployment.states(backend._config.prefix, ["work"])
        assert states["work"].is_broken


@pytest.mark.long
def test_calls_fail_whose_family_is_deleted(backend: ClusterBackend, tmp_path: Path) -> None:
    gate, heard = tmp_path / "gate", Listener()
    running_calls = [begin(backend, call("wait", gate=gate)) for _ in range(2)]
    waiting = backend.submit(call("echo"), heard)
    config = backend._config
    deleting = threading.Thread(target=deployment.delete, args=(config.prefix, config.sizes))
    deleting.start()
    with pytest.raises(Overloaded, match="No replica for work"):
        waiting.answer.result(PATIENCE_SECONDS)
    gate.touch()
    for ticket in running_calls:
        assert ticket.answer.result(PATIENCE_SECONDS).width == 3
    deleting.join()


def test_a_cluster_that_does_not_answer_refuses_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setattr("ml.runtime.cluster.backend.LOST_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # connections are accepted, and nothing is said
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        backend = ClusterBackend(cluster_config(workload_config(tmp_path), address=address))
        backend.start()
        try:
            waiting = backend.submit(call("echo"))
            with pytest.raises(Overloaded, match="cannot be reached"):
                waiting.answer.result(PATIENCE_SECONDS)
            with pytest.raises(Overloaded, match="cannot be reached"):
                backend.submit(call("echo"))
            assert not backend.state().ready
        finally:
            backend.close()


def test_calls_outlive_the_process_that_is_connected(backend: ClusterBackend, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    running_calls = [begin(backend, call("wait", gate=gate)) for _ in range(2)]
    waiting = backend.submit(call("echo"))
    gate.touch()
    for driver in driver_processes():
        driver.send_signal(signal.SIGKILL)
    for ticket in (*running_calls, waiting):
        assert ticket.answer.result(PATIENCE_SECONDS).width == 3
    assert len(driver_processes()) == 1


def test_a_running_call_stops_that_was_cancelled_after_its_driver_was_lost(
    ray_cluster: RayCluster, tmp_path: Path
) -> None:
    with running(cluster_config(workload_config(tmp_path, workers=1)), 1) as backend:
        began = threading.Event()
        ticket = backend.submit(
            call("polite"), lambda progress: began.set() if progress.stage == "began" else None
        )
        assert began.wait(PATIENCE_SECONDS)
        for driver in driver_processes():
            driver.send_signal(signal.SIGKILL)
        ticket.cancel()
        with pytest.raises(Cancelled):
            ticket.answer.result(PATIENCE_SECONDS)
        assert backend.submit(call("echo")).answer.result(PATIENCE_SECONDS).width == 3


def test_the_process_that_is_connected_has_no_secrets_of_the_server(
    ray_cluster: RayCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("BGERASER_SECRET_KEY", "AWS_SECRET_ACCESS_KEY", "PGPASSWORD", "OTEL_EXPORTER_OTLP_HEADERS"):
        monkeypatch.setenv(name, "not for others")
    with running(cluster_config(workload_config(tmp_path, workers=1)), 1):
        (driver,) = driver_processes()
        assert "not for others" not in driver.environ().values()


def test_the_token_is_kept_from_workers(backend: ClusterBackend) -> None:
    answer = backend.submit(call("echo")).answer.result(PATIENCE_SECONDS)
    environment = psutil.Process(answer.fields["pid"]).environ()
    assert not [name for name in environment if name.startswith(("RAY_", "BGERASER_", "AWS_"))]
    assert os.environ["RAY_AUTH_TOKEN"] not in environment.values()
