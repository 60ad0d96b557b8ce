"""A replica of a family: one worker process on a machine of the cluster, which runs one call at a time.

The worker is the same supervised process as on a single machine, so that hostile pictures are decoded neither
in the API's process nor in one of Ray's. This module knows nothing of Ray: `deployment` makes a Ray Serve
deployment of it.

A replica ends a call by itself only when its worker needs too much memory, or when its caller is gone. All
other limits are those of the caller's `ml.runtime.call_monitor`, which cancels.
"""

import asyncio
import logging
import queue
import select
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from ml import device as devices
from ml.catalogue import TOOLS
from ml.checkpoints import registry
from ml.checkpoints.fetching.pull import Pulled, pull
from ml.editing import engine_selection
from ml.engines.installed import InstalledEngines
from ml.errors import OutOfMemory
from ml.runtime.call_monitor import memory_exceeded
from ml.runtime.cluster.engine_report import EngineReport
from ml.runtime.messages import StartCall, WorkerConfig, failure
from ml.runtime.process import WorkerProcess
from ml.runtime.wakeup import Wakeup
from ml.runtime.wire import WireBroken

log = logging.getLogger(__name__)

Message = dict[str, Any]

#: Interval of the messages that tell the worker's memory, and of the checks of it.
ALIVE_SECONDS = 1.0
WATCH_SECONDS = 0.25
#: A call that runs so much longer than its time limit has lost its caller.
ORPHAN_SECONDS = 15.0
#: How often a running call's sender is looked for.
SENDER_SECONDS = 3.0
#: A replica whose workers cannot be started so often in a row is unhealthy, and Ray replaces it.
FAILURES_MAX = 3
#: The kinds of the last message about a call.
LAST_KINDS = ("done", "failed", "long", "lost")


@dataclass(frozen=True)
class ReplicaConfig:
    """The paths of `worker` are on the replica's own machine, and its device may be `auto`."""

    worker: WorkerConfig
    calls_per_worker: int = 1000
    idle_memory_share: float = 0.75
    start_seconds: float = 180.0
    cancel_grace_seconds: float = 5.0
    #: Checkpoints that are installed first, if they are not on this machine yet: one replica of a machine
    #: fetches them, the others wait for it.
    checkpoints: tuple[str, ...] = ()
    mirror: Path | None = None


@dataclass(eq=False)
class _Call:
    work: StartCall
    payloads: list[bytes]
    number: int  # of this replica; callers number their calls independently of each other
    messages: "asyncio.Queue[Message]"
    loop: asyncio.AbstractEventLoop
    is_stopped: threading.Event = field(default_factory=threading.Event)
    is_orphan: bool = False  # nobody waits for it
    ended: "Future[None]" = field(default_factory=Future)

    def tell(self, message: Message) -> None:
        with suppress(RuntimeError):  # the loop is closed: the replica ends
            self.loop.call_soon_threadsafe(self.messages.put_nowait, message)


class SenderWatch(Protocol):
    """Who sends calls."""

    async def is_gone(self, sender: str) -> bool:
        """Whether nobody waits for its calls any more. Ray does not say: it lets their streams go on."""


class Replica:
    """Returns once its worker is warm. Raises RuntimeError if that fails, and `ml.device.NoCudaDevice` if the
    device is missing on this machine.
    """

    def __init__(self, config: ReplicaConfig, senders: SenderWatch | None = None) -> None:
        self._config = config
        self._senders = senders
        self._device = devices.resolve(config.worker.device)
        self._worker = replace(config.worker, device=self._device)
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._wakeup = Wakeup()
        self._wakeup.open()
        self._count = 0
        self._failures = 0
        self._is_closed = False
        self._is_ready = threading.Event()
        self._install()
        # The worker ends with the thread that started it.
        self._thread = threading.Thread(target=self._run, name="bgeraser-replica", daemon=True)
        self._thread.start()
        # Ray sends calls once this returns, and tries another machine if it raises.
        if not self._is_ready.wait(config.start_seconds):
            self.close()
            raise RuntimeError(f"no worker was ready within {config.start_seconds:g} seconds")

    async def run(self, work: StartCall, sender: str, *payloads: bytes) -> AsyncIterator[Message]:
        """The messages of the worker about one call (`ml.runtime.messages`), and besides them

            accepted  the call has this replica
            alive     `memory`: bytes of the worker
            lost      `how`: the worker ended
            gone      `why`: the call was stopped because its sender was silent

        Cancelling this stops the call; it ends when the worker is free again.
        """
        self._count += 1
        call = _Call(work, list(payloads), self._count, asyncio.Queue(), asyncio.get_running_loop())
        del payloads
        self._calls.put(call)
        self._wakeup.wake()
        watching = asyncio.create_task(self._watch_sender(call, sender))
        try:
            yield {"kind": "accepted"}
            while True:
                message = await call.messages.get()
                if message["kind"] not in LAST_KINDS:
                    yield message
                    continue
                # If the sender was only slow, the call was not to blame.
                yield {"kind": "gone", "why": "the server was silent"} if call.is_orphan else message
                return
        finally:
            watching.cancel()
            call.is_stopped.set()
            self._wakeup.wake()
            await asyncio.wrap_future(call.ended)

    async def _watch_sender(self, call: _Call, sender: str) -> None:
        """Stop the call when nobody waits for it any more."""
        while self._senders is not None:
            await asyncio.sleep(SENDER_SECONDS)
            if await self._senders.is_gone(sender):
                call.is_orphan = True
                call.is_stopped.set()
                self._wakeup.wake()
                return

    async def report(self) -> EngineReport:
        """What is installed on this machine."""
        return await asyncio.to_thread(self._report)

    def _report(self) -> EngineReport:
        worker = self._worker
        return EngineReport.of(
            InstalledEngines(worker.models_dir, worker.cache_dir, self._device, worker.generative),
            engine_selection.of_all(
                TOOLS, worker.generative, worker.models_dir, worker.cache_dir, self._device
            ),
        )

    def check_health(self) -> None:
        """Raises RuntimeError if no worker can be started here. Ray calls it from time to time."""
        if self._failures >= FAILURES_MAX:
            raise RuntimeError(f"{self._failures} workers in a row could not be started")

    def close(self) -> None:
        """End its worker. Does not wait."""
        self._is_closed = True
        self._calls.put(None)
        self._wakeup.wake()

    def _install(self) -> None:
        config = self._config
        wanted = [registry.CHECKPOINTS[name] for name in config.checkpoints]
        if wanted:
            try:
                pull(config.worker.models_dir, wanted, _Quiet(), config.mirror)
            except OSError as error:
                log.warning("Checkpoints cannot be installed: %s", error)

    # In the thread of the worker

    def _run(self) -> None:
        while not self._is_closed:
            try:
                self._use_one_worker()
            except Exception:
                log.exception("The supervisor of a worker failed")
                self._failures += 1
            if self._failures and not self._is_closed:
                time.sleep(min(0.1 * 2**self._failures, 8.0))
        self._wakeup.close()

    def _use_one_worker(self) -> None:
        process = WorkerProcess(self._worker)
        try:
            if not self._await_ready(process):
                self._failures += 1
                return
            self._failures = 0
            self._is_ready.set()
            served = 0
            while not self._is_closed and self._is_fresh(process, served):
                call = self._next_call(process)
                if call is None:
                    return
                survives = False
                try:
                    survives = self._serve(process, call)
                finally:
                    call.payloads.clear()
                    if not survives:
                        process.kill()
                    call.tell({"kind": "lost", "how": "its supervisor failed"})  # heard only by one who waits
                    call.ended.set_result(None)
                del call
                if not survives:
                    return
                served += 1
        finally:
            process.kill()

    def _await_ready(self, process: WorkerProcess) -> bool:
        deadline = time.monotonic() + self._config.start_seconds
        while not self._is_closed and (left := deadline - time.monotonic()) > 0:
            if self._sleep(left, process):
                try:
                    process.receive()
                except WireBroken:
                    log.exception("%s died while starting (%s)", process.name, process.kill())
                    return False
                return True
        return False

    def _is_fresh(self, process: WorkerProcess, served: int) -> bool:
        config = self._config
        is_large = process.rss_bytes() > config.idle_memory_share * self._worker.memory_limit_bytes
        return served < config.calls_per_worker and not is_large

    def _next_call(self, process: WorkerProcess) -> _Call | None:
        """The next call; None if the worker has ended, or the replica ends."""
        while True:
            with suppress(queue.Empty):
                return self._calls.get_nowait()
            if self._sleep(60.0, process):  # an idle worker has nothing to say: it has ended
                log.error("%s ended while idle (%s)", process.name, process.kill())
                self._failures += 1
                return None

    def _serve(self, process: WorkerProcess, call: _Call) -> bool:
        """Run a call to its end. False if the worker must be replaced."""
        try:
            process.send_work(replace(call.work, number=call.number), call.payloads)
            return self._relay(process, call)
        except WireBroken as error:
            call.tell({"kind": "lost", "how": f"{process.kill()}: {error}"})
            return False

    def _relay(self, process: WorkerProcess, call: _Call) -> bool:
        began = time.monotonic()
        kill_at = began + call.work.call.timeout_seconds + ORPHAN_SECONDS
        told_at, is_cancelled = began, False
        while True:
            now = time.monotonic()
            if call.is_stopped.is_set() and not is_cancelled:
                is_cancelled = True
                kill_at = min(kill_at, now + self._config.cancel_grace_seconds)
                process.send_cancel(call.number)
            if now >= kill_at or self._is_closed:
                call.tell({"kind": "lost", "how": "its caller is gone"})
                return False
            memory = process.rss_bytes()
            if memory > self._worker.memory_limit_bytes:
                error = memory_exceeded(self._worker.memory_limit_bytes)
                call.tell(failure(call.work.number, error))
                return False
            if now - told_at >= ALIVE_SECONDS:
                told_at = now
                call.tell({"kind": "alive", "memory": memory})
            if self._sleep(WATCH_SECONDS, process):
                message = process.receive()
                if message.get("number") != call.number:
                    raise WireBroken("a message about another call")
                message["number"] = call.work.number
                call.tell(message)
                if message.get("kind") in LAST_KINDS:
                    # Memory of a call that ran out of it may still be in use.
                    return message.get("error") != OutOfMemory.__name__

    def _sleep(self, seconds: float, process: WorkerProcess) -> bool:
        """Wait until woken, until the worker sends a message (then True) or until `seconds` have passed."""
        poll = select.poll()
        poll.register(self._wakeup, select.POLLIN)
        poll.register(process, select.POLLIN)
        found = {descriptor for descriptor, _ in poll.poll(max(0.0, seconds) * 1000)}
        if self._wakeup.fileno() in found:
            self._wakeup.clear()
        return process.fileno() in found


class _Quiet:
    """`PullProgress` that only logs the end of each checkpoint."""

    def stage(self, text: str) -> None: ...

    def received(self, file_name: str, done_bytes: int, total_bytes: int) -> None: ...

    def finished(self, pulled: Pulled) -> None:
        if pulled.problems:
            log.error("%s is not installed: %s", pulled.checkpoint.name, "; ".join(pulled.problems))
        elif pulled.source is not None:
            log.info("%s was installed in %.0f s", pulled.checkpoint.name, pulled.seconds)
