"""Workers start, are replaced, and never outlive the server."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from ml.backend import Priority
from ml.errors import Cancelled, Overloaded
from ml.runtime.local import LocalBackend
from ml.runtime.messages import WorkerConfig
from ml.runtime.process import WorkerProcess
from tests.support.ml.backends import (
    begin,
    call,
    children_pids,
    local_only,
    measure,
    running,
    wait_until_all_ready,
    workload_config,
)
from tests.support.waiting import PATIENCE_SECONDS, wait_until


def test_close_leaves_no_process(tmp_path: Path) -> None:
    backend = LocalBackend(workload_config(tmp_path))
    backend.start()
    wait_until_all_ready(backend, 2)
    assert len(children_pids()) == 2
    backend.close()
    assert children_pids() == set()
    assert not backend.state().ready


def test_close_while_workers_start_leaves_no_process(tmp_path: Path) -> None:
    backend = LocalBackend(workload_config(tmp_path, workers=4))
    backend.start()
    backend.close()
    assert children_pids() == set()


def test_close_without_start_and_repeated_close_are_safe(tmp_path: Path) -> None:
    backend = LocalBackend(workload_config(tmp_path))
    waiting = backend.submit(call("echo"))
    backend.close()
    backend.close()
    with pytest.raises(Overloaded, match="shutting down"):
        waiting.answer.result(0)


def test_close_lets_running_calls_finish_and_withdraws_the_others(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with running(workload_config(tmp_path, workers=1, close_seconds=PATIENCE_SECONDS)) as backend:
        runs = begin(backend, call("wait", gate=gate))
        waits = backend.submit(call("echo"))
        # The withdrawn call shows that closing has begun; only then may the running one continue.
        waits.answer.add_done_callback(lambda _: gate.touch())
        backend.close()
        with pytest.raises(Overloaded, match="shutting down"):
            waits.answer.result(0)
        assert runs.answer.result(0).width == 3
        with pytest.raises(Overloaded):
            backend.submit(call("echo"))


@local_only
def test_close_stops_calls_that_do_not_finish(tmp_path: Path) -> None:
    with running(workload_config(tmp_path)) as backend:
        ticket = begin(backend, call("stubborn"))
        backend.close()
        with pytest.raises(Overloaded, match="shutting down"):
            ticket.answer.result(0)
        assert children_pids() == set()


def test_calls_may_be_submitted_before_the_workers_are_ready(tmp_path: Path) -> None:
    backend = LocalBackend(workload_config(tmp_path))
    ticket = backend.submit(call("echo"))
    assert not backend.state().ready
    backend.start()
    try:
        ticket.answer.result(PATIENCE_SECONDS)
        assert backend.state().ready
    finally:
        backend.close()


@local_only
@pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere nothing ends a worker that holds the interpreter"
)
def test_workers_exit_when_their_server_is_killed(tmp_path: Path) -> None:
    program = textwrap.dedent(
        """
        import sys, time
        from pathlib import Path
        import psutil
        from ml.backend import Priority
        from tests.support.ml.backends import begin, call, children_pids, measure, running, workload_config
        from tests.support.waiting import wait_until
        folder = Path(sys.argv[1])
        with running(workload_config(folder, workers=3, threads_per_worker=64)) as backend:
            measure(backend, folder, "wait")
            begin(backend, call("wait", gate=folder / "never", priority=Priority.GUEST, is_billed=False))
            begin(backend, call("deaf"))
            begin(backend, call("wait", gate=folder / "never"))
            wait_until(lambda: any(psutil.Process(pid).status() == "stopped" for pid in children_pids()))
            print(*children_pids(), flush=True)
            time.sleep(600)
        """
    )
    server = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path or "." for path in sys.path)},
    )
    try:
        assert server.stdout is not None
        pids = [int(pid) for pid in server.stdout.readline().split()]
        assert len(pids) == 3
    finally:
        server.kill()
        server.communicate()
    wait_until(lambda: not any(map(_lives, pids)))


def _lives(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_an_idle_worker_that_dies_is_replaced(tmp_path: Path) -> None:
    with running(workload_config(tmp_path)) as backend:
        pids = children_pids()
        os.kill(min(pids), signal.SIGKILL)
        wait_until(lambda: len(children_pids() - pids) == 1 and backend.state().workers == 2)


def test_a_worker_ignores_the_signals_that_stop_the_whole_group(tmp_path: Path) -> None:
    with running(workload_config(tmp_path)) as backend:
        pids = children_pids()
        for pid in pids:
            os.kill(pid, signal.SIGINT)
            os.kill(pid, signal.SIGTERM)
        answer = backend.submit(call("echo")).answer.result(PATIENCE_SECONDS)
        assert answer.fields["pid"] in pids
        assert children_pids() == pids


def test_a_worker_is_replaced_after_its_maximum_number_of_calls(tmp_path: Path) -> None:
    with running(workload_config(tmp_path, workers=1, calls_per_worker=3)) as backend:
        pids = [backend.submit(call("echo")).answer.result(PATIENCE_SECONDS).fields["pid"] for _ in range(9)]
    assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [3, 3, 3]


def test_a_worker_with_high_memory_is_replaced_between_calls(tmp_path: Path) -> None:
    limit_bytes = 400 << 20
    with running(workload_config(tmp_path, workers=1, memory_limit_bytes=limit_bytes)) as backend:
        pids = []
        for _ in range(25):
            # Sixteen MiB more each time: beyond three quarters of the limit before long, never beyond it.
            leak = call("leak", amount=16 << 20)
            pids.append(backend.submit(leak).answer.result(PATIENCE_SECONDS).fields["pid"])
    assert len(set(pids)) == 2


def test_callers_learn_that_workers_cannot_start(tmp_path: Path) -> None:
    backend = LocalBackend(workload_config(tmp_path, workers=1, perform="tests.support.ml.nowhere:perform"))
    waiting = backend.submit(call("echo"))
    backend.start()
    try:
        with pytest.raises(Overloaded, match="No worker process"):
            waiting.answer.result(PATIENCE_SECONDS)
        with pytest.raises(Overloaded, match="No worker process"):
            backend.submit(call("echo"))
        assert not backend.state().ready
    finally:
        backend.close()
    assert children_pids() == set()


def test_workers_see_none_of_the_server_s_settings_but_obey_the_cpu_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (
        "BGERASER_SECRET_KEY",
        "PGPASSWORD",
        "OTEL_EXPORTER_OTLP_HEADERS",
        "HOMEBREW_GITHUB_API_TOKEN",
    ):
        monkeypatch.setenv(name, "not for workers")
    with running(workload_config(tmp_path, workers=1, cpu_limit="avx2")):
        (pid,) = children_pids()
        environment = psutil.Process(pid).environ()
        assert "not for workers" not in environment.values()
        assert environment["ONEDNN_MAX_CPU_ISA"] == "AVX2"


def test_a_second_backend_does_not_disturb_the_first(tmp_path: Path) -> None:
    with running(workload_config(tmp_path, workers=1)) as first:
        measure(first, tmp_path, "echo")
        with running(workload_config(tmp_path, workers=1)) as second:
            second.submit(call("echo")).answer.result(PATIENCE_SECONDS)
        first.submit(call("echo")).answer.result(PATIENCE_SECONDS)


@local_only
def test_a_close_during_the_wakeup_check_of_a_worker_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(workload_config(tmp_path, workers=1)) as backend:
        (slot,) = backend._pool.slots
        real_sleep = slot._sleep

        def closed_meanwhile(seconds: float, child: WorkerProcess | None = None) -> bool:
            if seconds == 0.0:
                backend._pool.dispatcher.stop(0.0)  # wakes the waiter, which then consumes the wakeup
            return real_sleep(seconds, child)

        monkeypatch.setattr(slot, "_sleep", closed_meanwhile)
        slot.wake()
        assert slot.join(PATIENCE_SECONDS / 2)


@local_only
def test_a_guest_s_worker_is_suspended_while_a_billed_call_runs(tmp_path: Path) -> None:
    def suspended() -> int:
        return sum(psutil.Process(pid).status() == psutil.STATUS_STOPPED for pid in children_pids())

    guest_gate, billed_gate = tmp_path / "guest", tmp_path / "billed"
    with running(workload_config(tmp_path, threads_per_worker=64)) as backend:
        measure(backend, tmp_path, "wait")
        guest = begin(backend, call("wait", gate=guest_gate, priority=Priority.GUEST, is_billed=False))
        assert suspended() == 0
        billed = begin(backend, call("wait", gate=billed_gate))
        wait_until(lambda: suspended() == 1)
        billed_gate.touch()
        billed.answer.result(PATIENCE_SECONDS)
        wait_until(lambda: suspended() == 0)
        guest_gate.touch()
        assert guest.answer.result(PATIENCE_SECONDS).width == 3


@local_only
def test_a_suspended_call_can_be_cancelled_and_its_worker_serves_on(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with running(workload_config(tmp_path, threads_per_worker=64)) as backend:
        measure(backend, tmp_path, "wait")
        guest = begin(
            backend, call("wait", gate=tmp_path / "never", priority=Priority.GUEST, is_billed=False)
        )
        billed = begin(backend, call("wait", gate=gate))
        wait_until(
            lambda: any(psutil.Process(pid).status() == psutil.STATUS_STOPPED for pid in children_pids())
        )
        guest.cancel()
        with pytest.raises(Cancelled):
            guest.answer.result(PATIENCE_SECONDS)
        wait_until_all_ready(backend, 2)
        assert backend.submit(call("echo")).answer.result(PATIENCE_SECONDS).width == 3
        gate.touch()
        billed.answer.result(PATIENCE_SECONDS)


def test_a_suspended_worker_continues_to_send_the_message_that_is_awaited(tmp_path: Path) -> None:
    config = WorkerConfig(
        tmp_path / "models", tmp_path / "cache", "cpu", 2 << 30, 1, engines="", warm_up=False
    )
    child = WorkerProcess(config)
    try:
        child.set_paused(True)  # long before it is ready
        wait_until(lambda: psutil.Process(child.pid).status() == psutil.STATUS_STOPPED)
        assert child.receive() == {"kind": "ready"}
    finally:
        child.kill()


@local_only
def test_a_call_that_holds_a_file_lock_is_not_suspended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ml.runtime.queue.PAUSE_SECONDS", 1e9)  # without turns
    guest_gate, billed_gate = tmp_path / "guest", tmp_path / "billed"
    with running(workload_config(tmp_path, threads_per_worker=64)) as backend:
        measure(backend, tmp_path, "wait", "locked")
        guest = begin(backend, call("locked", gate=guest_gate, priority=Priority.GUEST, is_billed=False))
        billed = begin(backend, call("wait", gate=billed_gate))
        guest_gate.touch()
        wait_until((tmp_path / "guest-passed").exists)
        assert not billed.answer.done()
        billed_gate.touch()
        for ticket in (guest, billed):
            assert ticket.answer.result(PATIENCE_SECONDS).width == 3
