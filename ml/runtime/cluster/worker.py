"""A replica of a Ray cluster as a worker of this process.

Until a replica has taken a call, it is withdrawn for a more important one of this server, and fails if no
replica will come.
"""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from ml.errors import Cancelled, MlError
from ml.runtime.cluster.replica import LAST_KINDS
from ml.runtime.messages import StartCall, failure
from ml.runtime.wakeup import Wakeup
from ml.runtime.wire import WireBroken, WorkerGone


class RemoteCall(Protocol):
    """See `ml.runtime.cluster.link.LinkedCall`."""

    def send(self, work: StartCall, payloads: list[bytes]) -> None: ...

    def end(self) -> None: ...


@dataclass(eq=False)
class _Attempt:
    """A call that was sent to the cluster."""

    number: int
    is_claimed: bool = False  # by a replica
    is_over: bool = False  # ended, withdrawn or cancelled: its messages are dropped
    call: RemoteCall | None = None


class ClusterWorker:
    """`new_call(on_message)` makes a call that can be sent."""

    def __init__(self, name: str, new_call: Callable[[Callable[[dict[str, Any]], None]], RemoteCall]) -> None:
        self.is_up = True
        self._name = name
        self._new_call = new_call
        self._wakeup = Wakeup()
        self._wakeup.open()
        self._inbox: deque[dict[str, Any] | WireBroken] = deque()
        self._inbox_lock = threading.Lock()  # the wakeup is set exactly while the inbox has messages
        self._lock = threading.Lock()
        self._attempt: _Attempt | None = None
        self._memory_bytes = 0
        self._put({"kind": "ready"})

    @property
    def name(self) -> str:
        return self._name

    def fileno(self) -> int:
        return self._wakeup.fileno()

    def send_work(self, work: StartCall, payloads: list[bytes]) -> None:
        attempt = _Attempt(work.number)
        call = attempt.call = self._new_call(partial(self._hear, attempt))
        with self._lock:
            self._attempt = attempt
        call.send(work, payloads)

    def send_cancel(self, number: int) -> None:
        """The call ends here at once; its replica is free again when its worker has stopped."""
        if self._end(is_claimed_too=True):
            self._put(failure(number, Cancelled("The call was stopped.")))

    def receive(self) -> dict[str, Any]:
        with self._inbox_lock:
            message = self._inbox.popleft()
            if not self._inbox:
                self._wakeup.clear()
        if isinstance(message, WireBroken):
            raise message
        return message

    def withdraw(self) -> bool:
        return self._end(is_claimed_too=False)

    def refuse(self, error: MlError) -> None:
        """Let the call fail that waits for a replica, if there is one. Called by any thread."""
        attempt = self._attempt
        if attempt is not None and self._end(is_claimed_too=False):
            self._put(failure(attempt.number, error))

    def rss_bytes(self) -> int:
        """As the replica last reported it."""
        return self._memory_bytes

    def set_paused(self, is_paused: bool) -> bool:  # noqa: ARG002 (of the interface)
        return False  # a replica has cores of its own

    def kill(self) -> str:
        self.is_up = False
        self._end(is_claimed_too=True)
        self._wakeup.close()
        return "left to the cluster"

    def _end(self, *, is_claimed_too: bool) -> bool:
        """End the attempt, if there is one."""
        with self._lock:
            attempt = self._attempt
            if attempt is None or attempt.is_over or (attempt.is_claimed and not is_claimed_too):
                return False
            attempt.is_over = True
        if attempt.call is not None:
            attempt.call.end()
        return True

    def _put(self, message: dict[str, Any] | WireBroken) -> None:
        with self._inbox_lock:
            self._inbox.append(message)
            self._wakeup.wake()

    def _hear(self, attempt: _Attempt, message: dict[str, Any]) -> None:
        """A message about an attempt. Called by any thread."""
        kind = message.get("kind")
        with self._lock:
            if attempt.is_over:
                return
            attempt.is_over = kind == "gone" or kind in LAST_KINDS
            match message:
                case {"kind": "accepted"}:
                    attempt.is_claimed = True
                case {"kind": "alive", "memory": int(memory)}:
                    self._memory_bytes = memory
                case {"kind": "lost", "how": how}:
                    self._put(WireBroken(f"the worker ended: {how}"))
                case {"kind": "gone", "why": why}:
                    self._put(WorkerGone(f"the replica is gone: {why}"))
                case _:
                    self._put(message)
