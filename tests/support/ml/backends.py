"""Real backends with worker processes for tests, and what tests ask of them."""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from ml.backend import Backend, Priority, Progress, Ticket, ToolCall
from ml.runtime.local import LocalBackend, LocalConfig
from tests.support.ml.photos import png_bytes
from tests.support.ml.workloads import WorkloadParams
from tests.support.waiting import PATIENCE_SECONDS, wait_until

#: Whether the tests of the local backend run on a Ray cluster instead.
IS_RAY = os.environ.get("BGERASER_ML_BACKEND") == "ray"

#: For tests of what only a backend on one machine has.
local_only = pytest.mark.skipif(IS_RAY, reason="replicas outlive their servers and have cores of their own")

PICTURE = png_bytes(np.zeros((2, 3, 3), np.uint8))


def workload_config(folder: Path, **changes: Any) -> LocalConfig:
    """Workers that run `tests.support.ml.workloads`, without engines."""
    settings: dict[str, Any] = {
        "models_dir": folder / "models",
        "cache_dir": folder / "cache",
        "workers": 2,
        "perform": "tests.support.ml.workloads:perform",
        "engines": "",
        "warm_up": False,
        "cancel_grace_seconds": 0.3,
        "close_seconds": 0.3,
        **changes,
    }
    return LocalConfig(**settings)


@contextlib.contextmanager
def running(config: LocalConfig) -> Iterator[LocalBackend]:
    """A started backend whose workers are all up; closed afterwards.

    With BGERASER_ML_BACKEND=ray in the environment, they are replicas of a Ray cluster on this machine.
    """
    if IS_RAY:
        from tests.support.ml import clusters

        with clusters.running(clusters.cluster_config(config), config.workers or 2) as in_cluster:
            yield in_cluster  # type: ignore[misc]  # a backend with the same protocol
        return
    backend = LocalBackend(config)
    backend.start()
    try:
        wait_until_all_ready(backend, config.workers or 2)
        yield backend
    finally:
        backend.close()


def wait_until_all_ready(backend: LocalBackend, workers: int) -> None:
    wait_until(lambda: backend.state().workers == workers)


def children_pids() -> set[int]:
    """Worker processes of this process, zombies included; not those of a server that the tests started."""
    found = set()
    for child in psutil.Process().children(recursive=IS_RAY):
        with contextlib.suppress(psutil.NoSuchProcess):  # it ended, and was waited for, meanwhile
            if child.status() == psutil.STATUS_ZOMBIE or "ml.runtime.worker" in child.cmdline():
                found.add(child.pid)
    return found


def call(
    tool: str,
    *,
    image: bytes = PICTURE,
    priority: Priority = Priority.PAID,
    timeout_seconds: float = 300.0,
    gate: Path | None = None,
    amount: int = 0,
    is_billed: bool = True,
) -> ToolCall:
    params = WorkloadParams.model_validate({"gate": "" if gate is None else str(gate), "amount": amount})
    return ToolCall(tool, params, {"image": image}, priority, timeout_seconds, is_billed)


class Listener:
    """Keeps the progress of one call."""

    def __init__(self) -> None:
        self.heard: list[Progress] = []
        self._changed = threading.Condition()

    def __call__(self, progress: Progress) -> None:
        with self._changed:
            self.heard.append(progress)
            self._changed.notify_all()

    def wait_for(self, condition: Callable[[Progress], bool]) -> None:
        with self._changed:
            found = self._changed.wait_for(lambda: any(map(condition, self.heard)), PATIENCE_SECONDS)
        assert found, f"never heard, but: {self.heard}"


def begin(backend: Backend, tool_call: ToolCall) -> Ticket:
    """Submit a workload that says "began", and wait until it does."""
    listener = Listener()
    ticket = backend.submit(tool_call, listener)
    listener.wait_for(lambda progress: progress.stage == "began")
    return ticket


def measure(backend: Backend, folder: Path, *tools: str) -> None:
    """Let each workload run through once: what was never measured counts as long."""
    gate = folder / "open"
    gate.touch()
    for tool in tools:
        backend.submit(call(tool, gate=gate)).answer.result(PATIENCE_SECONDS)
