"""A replica of a Ray cluster as a worker of this process: each call is a stream of messages from one replica.

Ray chooses the replica. While other API servers keep all of them busy, a call waits in Serve's queue. It is
withdrawn for a more important one of this server, and fails if no replica will come.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from ml.errors import Cancelled, MlError
from ml.runtime.messages import StartCall, failure
from ml.runtime.wakeup import Wakeup
from ml.runtime.wire import WireBroken, WorkerGone

log = logging.getLogger(__name__)


class Stream(Protocol):
    """The messages of one call. Iterating raises Ray's errors."""

    def __iter__(self) -> Iterator[dict[str, Any]]: ...

    def cancel(self) -> None:
        """Ask the replica to stop the call; iterating then ends with an error. Does not wait."""


class ClusterWorker:
    """`open_stream(work, payloads)` sends a call."""

    def __init__(
        self,
        name: str,
        open_stream: Callable[[StartCall, list[bytes]], Stream],
    ) -> None:
        self.is_up = True
        self._name = name
        self._open_stream = open_stream
        self._wakeup = Wakeup()
        self._wakeup.open()
        self._inbox: deque[dict[str, Any] | WireBroken] = deque()
        self._inbox_lock = threading.Lock()  # the wakeup is set exactly while the inbox has messages
        self._lock = threading.Lock()
        self._stream: Stream | None = None  # of the current call
        self._number = 0
        self._is_claimed = False
        self._memory_bytes = 0
        self._put({"kind": "ready"})

    @property
    def name(self) -> str:
        return self._name

    def fileno(self) -> int:
        return self._wakeup.fileno()

    def send_work(self, work: StartCall, payloads: list[bytes]) -> None:
        try:
            stream = self._open_stream(work, payloads)
        except Exception as error:  # Ray has many kinds
            raise WorkerGone(f"the cluster takes no call: {error!r}") from error
        with self._lock:
            self._stream, self._is_claimed, self._number = stream, False, work.number
        name = f"{self._name}-stream"
        threading.Thread(target=self._read, args=(stream,), name=name, daemon=True).start()

    def send_cancel(self, number: int) -> None:
        """The call ends here at once; its replica is free again when its worker has stopped."""
        with self._lock:
            stream, self._stream = self._stream, None
            if stream is None:
                return
        self._put(failure(number, Cancelled("The call was stopped.")))
        stream.cancel()

    def receive(self) -> dict[str, Any]:
        with self._inbox_lock:
            message = self._inbox.popleft()
            if not self._inbox:
                self._wakeup.clear()
        if isinstance(message, WireBroken):
            raise message
        return message

    def withdraw(self) -> bool:
        with self._lock:
            if self._is_claimed or self._stream is None:
                return False
            stream, self._stream = self._stream, None
        stream.cancel()
        return True

    def refuse(self, error: MlError) -> None:
        """Let the call fail that waits for a replica, if there is one. Called by any thread."""
        if self.withdraw():
            self._put(failure(self._number, error))

    def rss_bytes(self) -> int:
        """As the replica last reported it."""
        return self._memory_bytes

    def set_paused(self, is_paused: bool) -> bool:  # noqa: ARG002 (of the interface)
        return False  # a replica has cores of its own

    def kill(self) -> str:
        self.is_up = False
        with self._lock:
            stream, self._stream = self._stream, None
        if stream is not None:
            stream.cancel()
        self._wakeup.close()
        return "left to the cluster"

    def _put(self, message: dict[str, Any] | WireBroken) -> None:
        with self._inbox_lock:
            self._inbox.append(message)
            self._wakeup.wake()

    def _read(self, stream: Stream) -> None:
        """Pass on the messages of a stream, in a thread of its own."""
        ending: WireBroken = WorkerGone("the replica went without an answer")
        try:
            for message in stream:
                with self._lock:
                    if self._stream is not stream:
                        return  # the call was cancelled or given back
                    if self._pass_on(message):
                        self._stream = None
                        return
        except Exception as error:
            log.info("A stream of %s broke: %r", self._name, error)
            ending = WorkerGone(f"the replica is gone: {type(error).__name__}")
        with self._lock:
            if self._stream is stream:
                self._stream = None
                self._put(ending)

    def _pass_on(self, message: dict[str, Any]) -> bool:
        """Whether it was the last message. The lock must be held."""
        match message.get("kind"):
            case "accepted":
                self._is_claimed = True
            case "alive":
                self._memory_bytes = int(message["memory"])
            case "lost":
                self._put(WireBroken(f"the worker ended: {message['how']}"))
                return True
            case kind:
                self._put(message)
                return kind in ("done", "failed", "long")
        return False
