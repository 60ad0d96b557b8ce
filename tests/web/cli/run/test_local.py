"""Calls on workers of the command itself: retries, failures and the end of a run."""

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import psutil
import pytest

from ml.runtime.local import LocalConfig
from ml.tool import Tool
from tests.support.ml.backends import PICTURE, children_pids, workload_config
from tests.support.ml.workloads import WorkloadParams
from tests.support.waiting import wait_until
from web.cli.run import local
from web.cli.run.local import LocalRunner
from web.cli.run.parameters import RunParameters
from web.cli.run.types import PictureFailed, Result, RunStopped


def workload(name: str, gate: Path | None = None) -> RunParameters:
    params = WorkloadParams(gate="" if gate is None else str(gate))
    tool = Tool(name, name, "", WorkloadParams, cast(Any, None))
    return RunParameters(tool, params)


@pytest.fixture
def config(tmp_path: Path) -> Iterator[LocalConfig]:
    yield workload_config(tmp_path, workers=1)
    assert children_pids() == set()


def run(config: LocalConfig, parameters: RunParameters, content: bytes = PICTURE) -> Result:
    async def work() -> Result:
        runner = LocalRunner(config, parameters)
        try:
            return await runner.run(content)
        finally:
            await runner.close()

    return asyncio.run(work())


def test_a_result_has_the_fields_of_the_api_s_answer(config: LocalConfig) -> None:
    result = run(config, workload("echo"))
    assert result.content.endswith(PICTURE)
    assert (result.format, result.data["width"], result.data["height"]) == ("png", 3, 2)
    assert result.data["warnings"] == ["one"]
    json.dumps({name: value for name, value in result.data.items() if name not in ("masks", "score")})


def test_a_killed_worker_costs_a_retry_and_not_the_picture(config: LocalConfig, tmp_path: Path) -> None:
    gate = tmp_path / "gate"

    async def work() -> tuple[Result, int]:
        runner = LocalRunner(config, workload("wait", gate))
        try:
            running = asyncio.ensure_future(runner.run(PICTURE))
            await asyncio.to_thread(wait_until, lambda: runner._backend.state().running == 1)
            (victim,) = children_pids()
            # Once it has started the call: until then the backend itself retries.
            await asyncio.sleep(0.5)
            os.kill(victim, signal.SIGKILL)
            await asyncio.to_thread(wait_until, lambda: not psutil.pid_exists(victim))
            gate.touch()
            return await running, victim
        finally:
            await runner.close()

    result, victim = asyncio.run(work())
    assert result.data["pid"] != victim


@pytest.mark.parametrize(
    ("tool", "code", "message"),
    [
        ("exit", "PROCESSING_FAILED", "The worker was lost"),
        ("bad parameter", "INVALID_PARAMETER", "the box lies outside the picture"),
        ("defect", "INTERNAL_ERROR", "ZeroDivisionError: a defect of ours"),
    ],
)
def test_a_failure_is_one_of_the_api_s(config: LocalConfig, tool: str, code: str, message: str) -> None:
    with pytest.raises(PictureFailed) as failed:
        run(config, workload(tool))
    assert failed.value.code == code
    assert message in failed.value.message


def test_a_missing_checkpoint_stops_the_run(config: LocalConfig) -> None:
    with pytest.raises(RunStopped, match="Install it with: bgeraser models pull isnet-general-use"):
        run(config, workload("unavailable"))


def test_a_cancelled_run_ends_its_workers_whatever_they_do(config: LocalConfig) -> None:
    async def work() -> None:
        runner = LocalRunner(config, workload("deaf"))
        running = asyncio.ensure_future(runner.run(PICTURE))
        await asyncio.to_thread(wait_until, lambda: runner._backend.state().running == 1)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await runner.close()

    asyncio.run(work())


def test_there_are_no_more_workers_than_pictures(tmp_path: Path) -> None:
    def workers(wanted: int | None, pictures: int | None) -> int | None:
        return local.config(tmp_path, tmp_path, wanted, pictures).workers

    assert [workers(8, 3), workers(2, 3), workers(None, 1), workers(None, 5), workers(8, None)] == [
        3,
        2,
        1,
        None,
        8,
    ]


def test_every_worker_takes_long_calls(tmp_path: Path) -> None:
    """Elsewhere one worker is kept free for short calls, and calls of unknown length count as long."""
    gate = tmp_path / "gate"
    settings = {"max_wait_seconds": float("inf"), "long_seconds": float("inf")}

    async def work() -> set[object]:
        runner = LocalRunner(workload_config(tmp_path, workers=2, **settings), workload("wait", gate))
        assert runner.parallel == 3
        try:
            calls = [asyncio.ensure_future(runner.run(PICTURE)) for _ in range(3)]
            await asyncio.to_thread(wait_until, lambda: runner._backend.state().running == 2)
            gate.touch()
            return {result.data["pid"] for result in await asyncio.gather(*calls)}
        finally:
            await runner.close()

    assert len(asyncio.run(work())) == 2
