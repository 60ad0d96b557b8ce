"""A replica by itself: one worker process, its calls, its limits and what its machine has."""

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ml.backend import ToolCall
from ml.checkpoints import registry
from ml.errors import ModelUnavailable
from ml.runtime.cluster.engine_report import ReportedEngines
from ml.runtime.cluster.replica import Replica, ReplicaConfig
from ml.runtime.messages import StartCall
from tests.support.checkpoints import models_dir
from tests.support.ml.backends import PICTURE, call, workload_config
from tests.support.waiting import PATIENCE_SECONDS, wait_until


def config_of(folder: Path, models: Path | None = None, **changes: Any) -> ReplicaConfig:
    config = workload_config(folder, memory_limit_bytes=256 << 20)
    if models is not None:
        config = replace(config, models_dir=models)
    perform = changes.pop("perform", config.perform)
    worker = replace(config.worker("cpu", 1), perform=perform)
    return ReplicaConfig(worker, cancel_grace_seconds=0.3, **changes)


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Replica]:
    made = Replica(config_of(tmp_path))
    yield made
    made.close()


def work_of(tool_call: ToolCall, number: int = 1) -> StartCall:
    return StartCall(number, tool_call, ("image",), None, None)


async def messages_of(replica: Replica, work: StartCall) -> list[dict[str, Any]]:
    return [message async for message in replica.run(work, "a", PICTURE) if message["kind"] != "alive"]


def run(replica: Replica, tool: str, number: int = 1, **settings: Any) -> list[dict[str, Any]]:
    return asyncio.run(messages_of(replica, work_of(call(tool, **settings), number)))


def test_a_call_is_told_from_its_acceptance_to_its_answer(replica: Replica) -> None:
    messages = run(replica, "echo", number=41)
    assert [messages[0]["kind"], messages[1]["kind"], messages[-1]["kind"]] == ["accepted", "started", "done"]
    assert {message["number"] for message in messages[1:]} == {41}
    assert messages[-1]["answer"]["content"].endswith(PICTURE)


def test_numbers_of_different_servers_are_not_confused(replica: Replica) -> None:
    async def cancelled() -> None:
        async for message in replica.run(work_of(call("polite"), 5), "a", PICTURE):
            if message.get("stage") == "began":
                break

    asyncio.run(cancelled())
    # Another server's call has the number of the one that was just cancelled.
    assert run(replica, "echo", number=5)[-1]["kind"] == "done"


@pytest.mark.parametrize("tool", ["polite", "stubborn", "deaf"])
def test_a_call_whose_stream_is_closed_stops_and_the_next_one_runs(replica: Replica, tool: str) -> None:
    async def leave() -> None:
        stream = replica.run(work_of(call(tool)), "a", PICTURE)
        async for message in stream:
            if message.get("stage") == "began":
                break
        await stream.aclose()  # type: ignore[attr-defined]  # returns once the worker is free

    asyncio.run(leave())
    assert run(replica, "echo")[-1]["kind"] == "done"


class Gone:
    """Senders of which one is gone."""

    async def is_gone(self, sender: str) -> bool:
        return sender == "a"


def test_a_call_whose_sender_is_gone_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml.runtime.cluster.replica.SENDER_SECONDS", 0.1)
    replica = Replica(config_of(tmp_path), Gone())
    try:
        # It would wait for ever.
        assert run(replica, "polite")[-1] == {"kind": "gone", "why": "the server was silent"}

        async def of_another() -> list[str]:
            work = work_of(call("wait", gate=tmp_path / "gate"))
            found = []
            async for message in replica.run(work, "b", PICTURE):
                found.append(message["kind"])
                (tmp_path / "gate").touch()
            return found

        assert asyncio.run(of_another())[-1] == "done"
    finally:
        replica.close()


@pytest.mark.parametrize(("tool", "kind"), [("exit", "lost"), ("segfault", "lost"), ("eat", "failed")])
def test_a_worker_that_ends_or_grows_too_large_is_replaced(replica: Replica, tool: str, kind: str) -> None:
    last = run(replica, tool)[-1]
    assert last["kind"] == kind
    if kind == "failed":
        assert last["error"] == "OutOfMemory"
        assert "256 MiB" in last["args"][0]
    assert run(replica, "echo")[-1]["kind"] == "done"


def test_an_idle_worker_that_dies_is_replaced(replica: Replica) -> None:
    pid = run(replica, "echo")[-1]["answer"]["fields"]["pid"]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{pid}").exists())
    answer = run(replica, "echo")[-1]["answer"]
    assert answer["fields"]["pid"] != pid
    replica.check_health()


def test_a_worker_is_replaced_after_its_maximum_number_of_calls(tmp_path: Path) -> None:
    replica = Replica(config_of(tmp_path, calls_per_worker=2))
    try:
        pids = [run(replica, "echo")[-1]["answer"]["fields"]["pid"] for _ in range(4)]
    finally:
        replica.close()
    assert pids[0] == pids[1] != pids[2] == pids[3]


def test_a_replica_without_a_worker_does_not_start(tmp_path: Path) -> None:
    broken = config_of(tmp_path, perform="tests.support.ml.workloads:missing", start_seconds=2.0)
    with pytest.raises(RuntimeError, match="no worker was ready"):
        Replica(broken)


def test_the_report_says_what_is_installed(tmp_path: Path) -> None:
    replica = Replica(config_of(tmp_path, models=models_dir()))
    try:
        report = asyncio.run(replica.report())
    finally:
        replica.close()
    engines = ReportedEngines(report)
    engines.check_matting("isnet-general-use")
    with pytest.raises(ModelUnavailable):
        engines.check_segmenting("sam-vit-b")
    with pytest.raises(KeyError):
        engines.check_matting("unknown")
    assert "isnet-general-use" in report.selections["bg-removal"].installed


def test_the_replicas_of_a_machine_install_a_checkpoint_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ml.runtime.cluster.replica")
    name = "isnet-general-use"
    config = config_of(tmp_path, checkpoints=(name,), mirror=models_dir())
    made: list[Replica] = []
    threads = [threading.Thread(target=lambda: made.append(Replica(config))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    assert len(made) == 3
    for replica in made:
        replica.close()
    assert registry.installed(config.worker.models_dir, name)
    assert caplog.text.count(f"{name} was installed") == 1
