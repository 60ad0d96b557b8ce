"""Work that crashes, hangs or exhausts memory affects only its own call and worker."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ml.errors import Cancelled, OutOfMemory, TimedOut, WorkerLost
from ml.runtime.local import LocalBackend
from tests.support.ml.backends import (
    Listener,
    begin,
    call,
    children_pids,
    measure,
    running,
    wait_until_all_ready,
    workload_config,
)
from tests.support.waiting import PATIENCE_SECONDS, wait_until

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="worker limits are tested on Linux")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBackend]:
    folder = tmp_path_factory.mktemp("backend")
    with running(workload_config(folder, memory_limit_bytes=256 << 20)) as started:
        measure(started, folder, "echo", "wait")
        yield started


@pytest.fixture
def backend(shared: LocalBackend) -> Iterator[LocalBackend]:
    """Whole before the test and whole again after it."""
    wait_until_all_ready(shared, 2)
    yield shared
    wait_until_all_ready(shared, 2)
    wait_until(lambda: len(children_pids()) == 2)
    for _ in range(4):
        shared.submit(call("echo")).answer.result(PATIENCE_SECONDS)


@pytest.mark.parametrize("end", ["exit", "segfault"])
def test_a_crash_fails_only_its_own_call(backend: LocalBackend, end: str, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    neighbour = begin(backend, call("wait", gate=gate))
    pids = children_pids()
    with pytest.raises(WorkerLost):
        backend.submit(call(end)).answer.result(PATIENCE_SECONDS)
    wait_until_all_ready(backend, 2)
    assert len(children_pids() & pids) == 1
    gate.touch()
    neighbour.answer.result(PATIENCE_SECONDS)


def test_a_hang_is_stopped_at_its_time_limit(backend: LocalBackend) -> None:
    with pytest.raises(TimedOut, match=r"0\.3 seconds"):
        backend.submit(call("stubborn", timeout_seconds=0.3)).answer.result(PATIENCE_SECONDS)


def test_a_hang_in_native_code_that_holds_the_interpreter_is_stopped_too(backend: LocalBackend) -> None:
    with pytest.raises(TimedOut):
        backend.submit(call("deaf", timeout_seconds=0.3)).answer.result(PATIENCE_SECONDS)


def test_a_call_that_exhausts_memory_is_stopped_at_the_limit_of_the_worker(backend: LocalBackend) -> None:
    with pytest.raises(OutOfMemory, match="256 MiB"):
        backend.submit(call("eat")).answer.result(PATIENCE_SECONDS)


def test_a_failed_allocation_is_reported_and_the_worker_replaced(backend: LocalBackend) -> None:
    pids = children_pids()
    with pytest.raises(OutOfMemory):
        backend.submit(call("no memory")).answer.result(PATIENCE_SECONDS)
    wait_until(lambda: len(children_pids() - pids) == 1)


@pytest.mark.parametrize("tool", ["stubborn", "deaf"])
def test_a_call_that_ignores_its_cancellation_is_killed(backend: LocalBackend, tool: str) -> None:
    ticket = begin(backend, call(tool))
    ticket.cancel()
    with pytest.raises(Cancelled):
        ticket.answer.result(PATIENCE_SECONDS)


@pytest.mark.parametrize("tool", ["garbage", "nonsense"])
def test_a_worker_that_writes_garbage_is_killed(backend: LocalBackend, tool: str) -> None:
    with pytest.raises(WorkerLost):
        backend.submit(call(tool)).answer.result(PATIENCE_SECONDS)


def test_an_externally_killed_worker_fails_its_call(backend: LocalBackend) -> None:
    listener = Listener()
    before = backend.submit(call("echo")).answer.result(PATIENCE_SECONDS)
    ticket = backend.submit(call("polite"), listener)
    listener.wait_for(lambda progress: progress.stage == "began")
    for pid in children_pids():
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(WorkerLost):
        ticket.answer.result(PATIENCE_SECONDS)
    after = backend.submit(call("echo")).answer.result(PATIENCE_SECONDS)
    assert after.fields["pid"] != before.fields["pid"]


def test_every_call_is_answered_despite_repeated_crashes(backend: LocalBackend) -> None:
    outcomes: list[str] = []
    done = threading.Event()
    tools = ["exit", "echo", "no memory", "echo", "echo"] * 4
    for tool in tools:
        ticket = backend.submit(call(tool))

        def note(answer: object) -> None:
            outcomes.append(type(answer.exception()).__name__)  # type: ignore[attr-defined]
            if len(outcomes) == len(tools):
                done.set()

        ticket.answer.add_done_callback(note)
    assert done.wait(PATIENCE_SECONDS)
    assert {name: outcomes.count(name) for name in set(outcomes)} == {
        "NoneType": 12,
        "WorkerLost": 4,
        "OutOfMemory": 4,
    }
