"""A worker process as seen from the server: start it, exchange messages, measure and kill it."""

import contextlib
import signal
import sys
from typing import Any

import psutil

from ml import device as devices
from ml.runtime import child_process
from ml.runtime.messages import CancelCall, StartCall, WorkerConfig
from ml.runtime.wire import WireBroken, dump_for_worker, load_in_server

# Elsewhere a suspended process would stay if the server was killed: only Linux then kills its workers, see
# `ml.runtime.worker`, and on other systems they could not notice.
_CAN_PAUSE = sys.platform == "linux"


class WorkerProcess:
    """A running worker process. Used by one thread; the process never outlives that thread."""

    def __init__(self, config: WorkerConfig) -> None:
        """Start it. Raises OSError if the system refuses to."""
        self._process, self._wire = child_process.start("ml.runtime.worker", _environment(config))
        self._system_process = psutil.Process(self._process.pid)
        self._is_paused = False
        self.is_up = True  # until an error shows otherwise
        with contextlib.suppress(WireBroken):  # it has died already: `receive` will raise
            self._wire.send(dump_for_worker(config))

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def name(self) -> str:
        return f"Worker {self.pid}"

    def fileno(self) -> int:
        """Readable when a message has arrived or the process has ended."""
        return self._wire.fileno()

    def send_work(self, work: StartCall, payloads: list[bytes]) -> None:
        """Raises WireBroken."""
        self._wire.send(dump_for_worker(work), payloads)

    def send_cancel(self, number: int) -> None:
        """Raises WireBroken."""
        self._wire.send(dump_for_worker(CancelCall(number)))

    def receive(self) -> dict[str, Any]:
        """The next message, see `ml.runtime.messages`. Raises WireBroken.

        Lets a suspended process continue: it may have sent only a part of the message.
        """
        self.set_paused(False)
        body, payloads = self._wire.receive()
        return load_in_server(body, payloads)

    def withdraw(self) -> bool:
        return False  # it takes at once whatever is sent to it

    def rss_bytes(self) -> int:
        """Resident memory; 0 after the process has ended."""
        try:
            return int(self._system_process.memory_info().rss)
        except psutil.Error:
            return 0

    def set_paused(self, is_paused: bool) -> bool:
        """Suspend or continue the process, and return whether it is suspended now.

        Unlike a lower priority, this needs no privilege to be undone. A process that holds a file lock
        continues, because other workers may wait for the lock. Call this again from time to time: the signal
        takes effect a moment later.
        """
        is_paused = is_paused and _CAN_PAUSE
        if is_paused != self._is_paused:
            self._is_paused = is_paused
            self._process.send_signal(signal.SIGSTOP if is_paused else signal.SIGCONT)
        if self._is_paused and self._holds_file_lock():
            self._is_paused = False
            self._process.send_signal(signal.SIGCONT)
        return self._is_paused

    def _holds_file_lock(self) -> bool:
        try:
            return any(file.path.endswith(".lock") for file in self._system_process.open_files())
        except psutil.Error:
            return False

    def kill(self) -> str:
        """Kill it if it still runs, wait for it, and return how it ended.

        SIGKILL is safe: a worker has no state to save.
        """
        self.is_up = False
        how = child_process.kill(self._process)
        self._wire.close()
        return how


def _environment(config: WorkerConfig) -> dict[str, str]:
    """The environment of a worker, which decodes untrusted files: without secrets."""
    thread_settings = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    threads_of = dict.fromkeys(thread_settings, str(config.threads))
    # Otherwise torch's threads busy-wait, which doubled the time of a call on shared cores.
    threads_of["OMP_WAIT_POLICY"] = "PASSIVE"
    limit = devices.limit_environment(config.cpu_limit)
    return {**child_process.environment(), **threads_of, **limit}
