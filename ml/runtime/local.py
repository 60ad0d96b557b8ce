"""Runs calls in worker processes on this machine: `LocalBackend` implements `ml.backend.Backend`.

Process-pool libraries (such as pebble) offer a time limit but lack progress, cooperative cancellation, memory
limits and priorities, which are most of what is needed here.

    local            configuration, tickets, state of the backend
    dispatcher       waiting and running calls; queue: their order; duration_model: how long they take
    slot             one thread per worker; wakeup: wakes it; call_monitor: supervises one call
    process, wire    a worker process as seen from the server, and the frames exchanged with it (messages)
    worker, run_call the inside of a worker process; planning: checks made from the picture's header
"""

import logging
import os
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from ml import catalogue
from ml import device as devices
from ml.backend import BackendState, EngineState, Progress, ToolAnswer, ToolCall
from ml.catalogue import TOOLS
from ml.checkpoints import registry
from ml.checkpoints.registry import Profile
from ml.editing import engine_selection
from ml.editing.engine_selection import EngineSelection
from ml.engines.installed import InstalledEngines
from ml.errors import ModelUnavailable, Overloaded
from ml.generative_config import GenerativeConfig
from ml.params import Params
from ml.runtime.call_monitor import SlotLimits
from ml.runtime.dispatcher import Dispatcher, Submission
from ml.runtime.messages import WorkerConfig
from ml.runtime.slot import WorkerSlot
from ml.statistics import Snapshot
from ml.tool import Tool

log = logging.getLogger(__name__)

#: Memory to reserve per worker: 0.6 GiB for the default engines, the rest for pictures.
WORKER_BYTES = 2 << 30
#: Time allowed for killing a worker.
END_SECONDS = 10.0
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


class LocalTicket:
    """`ml.backend.Ticket` of one submission."""

    def __init__(self, dispatcher: Dispatcher, submission: Submission) -> None:
        self._dispatcher = dispatcher
        self._submission = submission

    @property
    def answer(self) -> Future[ToolAnswer]:
        return self._submission.answer

    @property
    def expected_seconds(self) -> float | None:
        return None if self._submission.work is None else self._submission.expected_seconds

    def cancel(self) -> None:
        """Does not block: a running call is stopped by its slot's thread."""
        self._dispatcher.cancel(self._submission)

    def drop_if_queued(self) -> bool:
        return self._dispatcher.drop_if_queued(self._submission)


class LocalBackend:
    """Raises `ml.device.NoCudaDevice` if the requested device is missing: the server must not start then."""

    def __init__(self, config: LocalConfig) -> None:
        cores = _cores()
        count = config.workers or max(2, min(cores, _memory_bytes() // WORKER_BYTES))
        self._config = config
        self._device = devices.resolve(config.device)
        threads = config.threads_per_worker or _shared_threads(cores, count)
        self._dispatcher = Dispatcher(
            config.queue_size,
            count,
            config.max_wait_seconds,
            config.long_seconds,
            self._wake_all,
            full_speed_calls=max(1, cores // threads),
        )
        worker = WorkerConfig(
            models_dir=config.models_dir.absolute(),
            cache_dir=config.cache_dir.absolute(),
            device=self._device,
            engine_memory_bytes=config.memory_limit_bytes // 2,
            picture_memory_bytes=config.memory_limit_bytes - config.memory_limit_bytes // 2,
            threads=threads,
            perform=config.perform,
            engines=config.engines,
            warm_up=config.warm_up,
            generative=config.generative,
            precision=config.precision,
            cpu_limit=config.cpu_limit,
        )
        limits = SlotLimits(
            memory_bytes=config.memory_limit_bytes,
            idle_memory_share=config.idle_memory_share,
            calls_per_worker=config.calls_per_worker,
            long_seconds=config.long_seconds,
            cancel_grace_seconds=config.cancel_grace_seconds,
            start_seconds=config.start_seconds,
        )
        self._slots = [
            WorkerSlot(
                f"bgeraser-worker-{number}",
                worker,
                limits,
                self._dispatcher,
                self._may_replace,
                self._fail_waiting_calls,
            )
            for number in range(count)
        ]
        self._started = False
        self._checked_at: float | None = None
        self._checkpoints: dict[str, EngineSelection] = {}

    @property
    def worker_count(self) -> int:
        """How many workers there are, ready or not."""
        return len(self._slots)

    def start(self) -> None:
        """Start the workers. Returns at once; they warm up in the background. May be called once."""
        if self._started:
            raise RuntimeError("the backend was already started")
        self._started = True
        self._dispatcher.open()
        for slot in self._slots:
            slot.start()

    def stop(self, grace_seconds: float) -> None:
        """Refuse new calls, fail waiting ones, and stop those still running after `grace_seconds`."""
        self._dispatcher.stop(grace_seconds)

    def close(self) -> None:
        """Refuse new calls, fail waiting ones, give running ones `close_seconds`, end every worker."""
        stop_at = self._dispatcher.stop(self._config.close_seconds)
        for slot in self._slots:
            if not slot.join(max(0.0, stop_at - time.monotonic()) + END_SECONDS):
                log.error("A worker did not end")  # not even by SIGKILL: it is stuck in the kernel
        self._dispatcher.close()

    def submit(self, call: ToolCall, on_progress: Callable[[Progress], None] | None = None) -> LocalTicket:
        """Raises Overloaded: queue full, wait too long, no worker can start, or shutting down."""
        if all(slot.is_failing for slot in self._slots):
            raise Overloaded("No worker process can be started; see the server's log.", 10)
        return LocalTicket(self._dispatcher, self._dispatcher.submit(call, on_progress))

    def expected_seconds(self, tool: str, params: Params, source: tuple[int, int]) -> float | None:
        return self._dispatcher.expected_seconds(ToolCall(tool, params, {}), source)

    def check_installed(self, tool: str, params: Params) -> None:
        config = self._config
        engines = InstalledEngines(config.models_dir, config.cache_dir, self._device, config.generative)
        catalogue.find(tool).check_installed(params, engines)

    def state(self) -> BackendState:
        """`workers` counts those that are ready. Reads files from time to time: not for an event loop."""
        ready = [slot for slot in self._slots if slot.is_ready]
        queued, running = self._dispatcher.counts()
        return BackendState(
            ready=bool(ready) and self._dispatcher.stop_at is None,
            workers=len(ready),
            queued=queued,
            running=running,
            device=self._device,
            engines=self._engine_states(),
        )

    def statistics(self) -> Snapshot:
        memory = {str(number): slot.memory_bytes for number, slot in enumerate(self._slots)}
        return self._dispatcher.statistics.snapshot(memory)

    def _wake_all(self) -> None:
        for slot in self._slots:
            slot.wake()

    def _may_replace(self) -> bool:
        return sum(slot.is_ready for slot in self._slots) >= min(2, len(self._slots))

    def _fail_waiting_calls(self) -> None:
        if all(slot.is_failing for slot in self._slots):
            self._dispatcher.fail_waiting(
                Overloaded("No worker process can be started; see the server's log.", 10)
            )

    def _engine_states(self) -> tuple[EngineState, ...]:
        now = time.monotonic()
        if self._checked_at is None or now - self._checked_at > ENGINES_SECONDS:
            self._checkpoints = {name: self._find_engines(tool) for name, tool in TOOLS.items()}
            self._checked_at = now
        return tuple(self._engine_state(name, found) for name, found in self._checkpoints.items())

    def _engine_state(self, tool: str, found: EngineSelection) -> EngineState:
        return EngineState(
            tool=tool,
            installed=found.installed,
            missing=found.missing,
            # Not every engine supports every device; the last result shows which one was used.
            device=self._dispatcher.device(tool) or self._device,
            seconds_per_megapixel=self._dispatcher.seconds_per_megapixel(tool),
            defaults=found.defaults,
        )

    def _find_engines(self, tool: Tool) -> EngineSelection:
        """Installed checkpoints of a tool, and messages about required ones that are missing."""
        installed, missing = [], []
        for name in tool.checkpoints:
            if registry.installed(self._config.models_dir, name):
                installed.append(name)
            elif registry.CHECKPOINTS[name].profile is Profile.EMBEDDED:
                # Missing optional checkpoints are not a problem to report.
                missing.append(str(ModelUnavailable(name, registry.CHECKPOINTS[name].command)))
        config = self._config
        own = engine_selection.select(
            tool, config.generative, config.models_dir, config.cache_dir, self._device
        )
        return EngineSelection((*installed, *own.installed), (*missing, *own.missing), own.defaults)


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
