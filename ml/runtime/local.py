"""Runs calls in worker processes on this machine: `LocalBackend` implements `ml.backend.Backend`.

Why not a library's pool: pebble's, the best kept one, ends a process at a time limit, but knows no progress,
no stop between steps, no memory limit and no priorities, and those are most of what is needed here.

    ml.runtime.local         the front: configuration, tickets, state
    ml.runtime   desk (what waits and what is expected), slot (a thread for each worker), watch (one call
                     in it: time, memory, cancel, progress, outcome), child (its process), wire (frames)
    ml.runtime.queue         the order of calls; ml.runtime.duration_model: how long they take
    ml.runtime.worker        the inside of a worker process
"""

import logging
import os
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from ml import device as devices
from ml.backend import BackendState, EngineState, Progress, ToolAnswer, ToolCall
from ml.catalogue import TOOLS
from ml.checkpoints import registry
from ml.checkpoints.registry import Profile
from ml.editing import engine_selection
from ml.editing.engine_selection import EngineSelection
from ml.errors import ModelUnavailable, Overloaded
from ml.generative_config import GenerativeConfig
from ml.runtime.call_monitor import SlotLimits
from ml.runtime.dispatcher import Dispatcher, Submission
from ml.runtime.messages import WorkerConfig
from ml.runtime.slot import WorkerSlot
from ml.tool import Tool

log = logging.getLogger(__name__)

#: Memory that a machine should have for each worker: 0.6 GiB for the default engines, the rest for pictures.
WORKER_BYTES = 2 << 30
#: How long ending a worker by force may take.
END_SECONDS = 10.0
#: How long the look at installed checkpoints is kept.
ENGINES_SECONDS = 5.0


@dataclass(frozen=True)
class LocalConfig:
    models_dir: Path
    cache_dir: Path
    device: str = "auto"  # auto, cpu, cuda
    # None: one for each core and 2 GiB of memory, at least 2, and the cores shared out twice. Measured with
    # ISNet on 2 quiet cores: 2 workers of 2 threads served a lone caller a quarter faster than 2 of 1, and
    # four callers a little faster; a third worker only made the slowest slower.
    workers: int | None = None
    threads_per_worker: int | None = None
    memory_limit_bytes: int = 4 << 30  # resident, of one worker
    queue_size: int = 256  # calls that may wait
    max_wait_seconds: float = 25.0  # a call expected to wait longer is refused
    long_seconds: float = 10.0  # long calls never hold every worker
    cancel_grace_seconds: float = 5.0
    close_seconds: float = 20.0  # what running calls are given when the backend closes
    start_seconds: float = 180.0  # the very first start compiles engines
    calls_per_worker: int = 1000
    idle_memory_share: float = 0.75
    perform: str = "ml.runtime.run_call:perform"
    engines: str = "ml.engines.cache:EngineCache"
    warm_up: bool = True
    generative: GenerativeConfig = field(default_factory=GenerativeConfig)


class LocalTicket:
    """`ml.backend.Ticket` of one submission."""

    def __init__(self, desk: Dispatcher, submission: Submission) -> None:
        self._desk = desk
        self._submission = submission

    @property
    def answer(self) -> Future[ToolAnswer]:
        return self._submission.answer

    def cancel(self) -> None:
        """Never waits: a running call is stopped by its worker's thread."""
        self._desk.cancel(self._submission)

    def drop_if_queued(self) -> bool:
        return self._desk.drop_if_queued(self._submission)


class LocalBackend:
    """Raises `ml.device.NoCudaDevice` if `cuda` is wanted and not there: the server must not start then."""

    def __init__(self, config: LocalConfig) -> None:
        cores = _cores()
        count = config.workers or max(2, min(cores, _memory_bytes() // WORKER_BYTES))
        self._config = config
        self._device = devices.resolve(config.device)
        self._desk = Dispatcher(
            config.queue_size, count, config.max_wait_seconds, config.long_seconds, self._ring_all
        )
        worker = WorkerConfig(
            models_dir=config.models_dir.absolute(),
            cache_dir=config.cache_dir.absolute(),
            device=self._device,
            engine_memory_bytes=config.memory_limit_bytes // 2,
            picture_memory_bytes=config.memory_limit_bytes - config.memory_limit_bytes // 2,
            threads=config.threads_per_worker or _shared_threads(cores, count),
            perform=config.perform,
            engines=config.engines,
            warm_up=config.warm_up,
            generative=config.generative,
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
                f"bgeraser-worker-{number}", worker, limits, self._desk, self._may_replace, self._give_up
            )
            for number in range(count)
        ]
        self._started = False
        self._looked_at: float | None = None
        self._checkpoints: dict[str, EngineSelection] = {}

    def start(self) -> None:
        """Start the workers; returns at once, they warm up behind it. Once only."""
        if self._started:
            raise RuntimeError("this backend was started before")
        self._started = True
        self._desk.open()
        for slot in self._slots:
            slot.start()

    def stop(self, grace_seconds: float) -> None:
        """Refuse new calls, withdraw waiting ones; what still runs after `grace_seconds` is stopped."""
        self._desk.stop(grace_seconds)

    def close(self) -> None:
        """Refuse new calls, withdraw waiting ones, give running ones `close_seconds`, end every worker."""
        stop_at = self._desk.stop(self._config.close_seconds)
        for slot in self._slots:
            if not slot.join(max(0.0, stop_at - time.monotonic()) + END_SECONDS):
                log.error("A worker did not end")  # not even by force: the kernel holds it
        self._desk.close()

    def submit(self, call: ToolCall, on_progress: Callable[[Progress], None] | None = None) -> LocalTicket:
        """Raises Overloaded: no room, too long a wait, no worker that starts, or closing."""
        if all(slot.is_failing for slot in self._slots):
            raise Overloaded("No worker process can be started; the server's log says why.", 10)
        return LocalTicket(self._desk, self._desk.submit(call, on_progress))

    def state(self) -> BackendState:
        """`workers` are those that are up. Looks at files now and then: not for an event loop."""
        ready = [slot for slot in self._slots if slot.is_ready]
        queued, running = self._desk.counts()
        return BackendState(
            ready=bool(ready) and self._desk.stop_at is None,
            workers=len(ready),
            queued=queued,
            running=running,
            device=self._device,
            engines=self._engine_states(),
        )

    def _ring_all(self) -> None:
        for slot in self._slots:
            slot.ring()

    def _may_replace(self) -> bool:
        return sum(slot.is_ready for slot in self._slots) >= min(2, len(self._slots))

    def _give_up(self) -> None:
        if all(slot.is_failing for slot in self._slots):
            self._desk.fail_waiting(
                Overloaded("No worker process can be started; the server's log says why.", 10)
            )

    def _engine_states(self) -> tuple[EngineState, ...]:
        now = time.monotonic()
        if self._looked_at is None or now - self._looked_at > ENGINES_SECONDS:
            self._checkpoints = {name: self._look(tool) for name, tool in TOOLS.items()}
            self._looked_at = now
        return tuple(self._engine_state(name, found) for name, found in self._checkpoints.items())

    def _engine_state(self, tool: str, found: EngineSelection) -> EngineState:
        return EngineState(
            tool=tool,
            installed=found.installed,
            missing=found.missing,
            # Not every engine has a path to every device; what the last answer says is so.
            device=self._desk.device(tool) or self._device,
            seconds_per_megapixel=self._desk.seconds_per_megapixel(tool),
            defaults=found.defaults,
        )

    def _look(self, tool: Tool) -> EngineSelection:
        """Installed checkpoints of a tool, and what to say of those that should be there and are not."""
        installed, missing = [], []
        for name in tool.checkpoints:
            if registry.installed(self._config.models_dir, name):
                installed.append(name)
            elif registry.CHECKPOINTS[name].profile is Profile.EMBEDDED:
                # The optional ones are choices: that they are not here is nothing to mend.
                missing.append(str(ModelUnavailable(name, registry.CHECKPOINTS[name].command)))
        config = self._config
        own = engine_selection.select(
            tool, config.generative, config.models_dir, config.cache_dir, self._device
        )
        return EngineSelection((*installed, *own.installed), (*missing, *own.missing), own.defaults)


def _shared_threads(cores: int, workers: int) -> int:
    """Twice as many threads as cores over all workers; why is said at `LocalConfig.workers`."""
    return max(1, min(cores, 2 * cores // workers))


def _cores() -> int:
    """Processor cores this process may use: fewer than the machine's in a container with a quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, period = _container_limits("cpu.max", 2)
    return max(1, min(cores, round(quota / period))) if quota and period else cores


def _memory_bytes() -> int:
    """Memory this process may use: less than the machine's in a container with a limit."""
    total = int(psutil.virtual_memory().total)
    (limit,) = _container_limits("memory.max", 1)
    return min(total, limit) if limit else total


def _container_limits(name: str, count: int) -> list[int]:
    """The numbers in a file of this process's control group; zeros where there is none, or no limit."""
    try:
        return [int(number) for number in (Path("/sys/fs/cgroup") / name).read_text().split()]
    except (OSError, ValueError):  # the word for no limit is "max"
        return [0] * count
