"""Runs calls in worker processes on this machine: `LocalBackend` implements `ml.backend.Backend`.

Process-pool libraries (such as pebble) offer a time limit but lack progress, cooperative cancellation, memory
limits and priorities, which are most of what is needed here.

    local            configuration, tickets, state of the backend
    dispatcher       waiting and running calls; queue: their order; duration_model: how long they take
    slot             one thread per worker; wakeup: wakes it; call_monitor: supervises one call
    process, wire    a worker process as seen from the server, and the frames exchanged with it (messages)
    worker, run_call the inside of a worker process; planning: checks made from the picture's header
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from ml import catalogue
from ml import device as devices
from ml.backend import BackendState, EngineState, Progress, ToolCall
from ml.catalogue import TOOLS
from ml.editing import engine_selection
from ml.editing.engine_selection import EngineSelection
from ml.engines.installed import InstalledEngines
from ml.generative_config import GenerativeConfig
from ml.params import Params
from ml.runtime.call_monitor import SlotLimits
from ml.runtime.messages import WorkerConfig
from ml.runtime.pool import PoolTicket, QueueLimits, WorkerPool, engine_state
from ml.runtime.process import WorkerProcess
from ml.statistics import Snapshot

#: Memory to reserve per worker: 0.6 GiB for the default engines, the rest for pictures.
WORKER_BYTES = 2 << 30
#: How long the list of installed checkpoints is cached.
ENGINES_SECONDS = 5.0


@dataclass(frozen=True)
class LocalConfig:
    models_dir: Path
    cache_dir: Path
    device: str = "auto"  # auto, cpu, cuda
    # None: one worker per core and per 2 GiB of memory, at least 2, with twice as many threads as cores.
    # Measured with ISNet on 2 idle cores: 2 workers of 2 threads served a single caller a quarter faster than
    # 2 of 1, and four callers slightly faster; a third worker only increased the longest times.
    workers: int | None = None
    threads_per_worker: int | None = None
    memory_limit_bytes: int = 4 << 30  # resident memory of one worker
    queue_size: int = 256  # waiting calls
    max_wait_seconds: float = 25.0  # calls expected to wait longer are refused; math.inf: none
    long_seconds: float = 10.0  # longer calls never occupy every worker; math.inf: no call counts as long
    cancel_grace_seconds: float = 5.0
    close_seconds: float = 20.0  # for running calls when the backend closes
    start_seconds: float = 180.0  # the first start ever compiles engines
    calls_per_worker: int = 1000
    idle_memory_share: float = 0.75
    perform: str = "ml.runtime.run_call:perform"
    engines: str = "ml.engines.cache:EngineCache"
    warm_up: bool = True
    generative: GenerativeConfig = field(default_factory=GenerativeConfig)
    precision: devices.PrecisionChoice = "auto"
    cpu_limit: devices.CpuLimit | None = None

    def worker(self, device: str, threads: int) -> WorkerConfig:
        """What each worker is started with."""
        return WorkerConfig(
            models_dir=self.models_dir.absolute(),
            cache_dir=self.cache_dir.absolute(),
            device=device,
            memory_limit_bytes=self.memory_limit_bytes,
            threads=threads,
            perform=self.perform,
            engines=self.engines,
            warm_up=self.warm_up,
            generative=self.generative,
            precision=self.precision,
            cpu_limit=self.cpu_limit,
        )


class LocalBackend:
    """Raises `ml.device.NoCudaDevice` if the requested device is missing: the server must not start then."""

    def __init__(self, config: LocalConfig) -> None:
        cores = _cores()
        count = config.workers or max(2, min(cores, _memory_bytes() // WORKER_BYTES))
        self._config = config
        self._device = devices.resolve(config.device)
        threads = config.threads_per_worker or _shared_threads(cores, count)
        worker = config.worker(self._device, threads)
        limits = SlotLimits(
            memory_bytes=config.memory_limit_bytes,
            idle_memory_share=config.idle_memory_share,
            calls_per_worker=config.calls_per_worker,
            long_seconds=config.long_seconds,
            cancel_grace_seconds=config.cancel_grace_seconds,
            start_seconds=config.start_seconds,
        )
        self._pool = WorkerPool(
            "bgeraser-worker",
            lambda: WorkerProcess(worker),
            QueueLimits(config.queue_size, config.max_wait_seconds, max(1, cores // threads)),
            limits,
            count,
        )
        self._checked_at: float | None = None
        self._checkpoints: dict[str, EngineSelection] = {}

    @property
    def worker_count(self) -> int:
        """How many workers there are, ready or not."""
        return len(self._pool.slots)

    def start(self) -> None:
        """Start the workers. Returns at once; they warm up in the background. May be called once."""
        self._pool.start()

    def stop(self, grace_seconds: float) -> None:
        """Refuse new calls, fail waiting ones, and stop those still running after `grace_seconds`."""
        self._pool.stop(grace_seconds)

    def close(self) -> None:
        """Refuse new calls, fail waiting ones, give running ones `close_seconds`, end every worker."""
        self._pool.close(self._pool.stop(self._config.close_seconds))

    def submit(self, call: ToolCall, on_progress: Callable[[Progress], None] | None = None) -> PoolTicket:
        """Raises Overloaded: queue full, wait too long, no worker can start, or shutting down."""
        return self._pool.submit(call, on_progress)

    def expected_seconds(self, tool: str, params: Params, source: tuple[int, int]) -> float | None:
        return self._pool.dispatcher.expected_seconds(ToolCall(tool, params, {}), source)

    def check_installed(self, tool: str, params: Params) -> None:
        config = self._config
        engines = InstalledEngines(config.models_dir, config.cache_dir, self._device, config.generative)
        catalogue.find(tool).check_installed(params, engines)

    def state(self) -> BackendState:
        """`workers` counts those that are ready. Reads files from time to time: not for an event loop."""
        ready = [slot for slot in self._pool.slots if slot.is_ready]
        queued, running = self._pool.dispatcher.counts()
        return BackendState(
            ready=bool(ready) and self._pool.dispatcher.stop_at is None,
            workers=len(ready),
            queued=queued,
            running=running,
            device=self._device,
            engines=self._engine_states(),
        )

    def statistics(self) -> Snapshot:
        return self._pool.dispatcher.statistics.snapshot(*self._pool.memory_bytes())

    def _engine_states(self) -> tuple[EngineState, ...]:
        now = time.monotonic()
        if self._checked_at is None or now - self._checked_at > ENGINES_SECONDS:
            config = self._config
            self._checkpoints = engine_selection.of_all(
                TOOLS, config.generative, config.models_dir, config.cache_dir, self._device
            )
            self._checked_at = now
        return tuple(
            engine_state(name, found, self._pool.dispatcher, self._device)
            for name, found in self._checkpoints.items()
        )


def _shared_threads(cores: int, workers: int) -> int:
    """Twice as many threads as cores over all workers; see `LocalConfig.workers`."""
    return max(1, min(cores, 2 * cores // workers))


def _cores() -> int:
    """CPU cores available to this process, considering a container's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, period = _container_limits("cpu.max", 2)
    return max(1, min(cores, round(quota / period))) if quota and period else cores


def _memory_bytes() -> int:
    """Memory available to this process, considering a container's limit."""
    total = int(psutil.virtual_memory().total)
    (limit,) = _container_limits("memory.max", 1)
    return min(total, limit) if limit else total


def _container_limits(name: str, count: int) -> list[int]:
    """The numbers in a file of this process's cgroup; zeros without a cgroup or a limit."""
    try:
        return [int(number) for number in (Path("/sys/fs/cgroup") / name).read_text().split()]
    except (OSError, ValueError):  # "max" means no limit
        return [0] * count
