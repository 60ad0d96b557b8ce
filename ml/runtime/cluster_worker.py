"""A replica of a Ray cluster as a worker of this process: each call is a stream of messages from a replica.

A call first waits for its turn among those of all servers (`cluster_turns`); then Ray chooses the replica.
Until a replica has taken it, it is withdrawn for a more important one of this server, and fails if no replica
will come.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from ml.errors import Cancelled, MlError
from ml.runtime.messages import StartCall, failure
from ml.runtime.wakeup import Wakeup
from ml.runtime.wire import WireBroken, WorkerGone

log = logging.getLogger(__name__)

#: How often a call that waits for its turn looks whether it is still wanted.
LOOK_SECONDS = 0.5


class Stream(Protocol):
    """The messages of one call. Iterating raises Ray's errors."""

    def __iter__(self) -> Iterator[dict[str, Any]]: ...

    def cancel(self) -> None:
        """Ask the replica to stop the call; iterating then ends with an error. Does not wait."""


class Turn(Protocol):
    """One call's place among those of all servers."""

    def wait(self, seconds: float) -> bool:
        """Whether the call may be sent, after waiting for at most so long."""

    def give_back(self) -> None:
        """The call has ended, or will not be sent. Does not wait; may be called again."""


@dataclass(eq=False)
class _Attempt:
    """A call that was sent to the cluster."""

    number: int
    turn: Turn
    stream: Stream | None = None  # once it had its turn
    is_claimed: bool = False  # by a replica
    is_over: bool = False  # ended, withdrawn or cancelled: its messages are dropped


class ClusterWorker:
    """`take_turn(work)` asks for a call's turn, and `open_stream(work, payloads)` sends it then."""

    def __init__(
        self,
        name: str,
        take_turn: Callable[[StartCall], Turn],
        open_stream: Callable[[StartCall, list[bytes]], Stream],
    ) -> None:
        self.is_up = True
        self._name = name
        self._take_turn = take_turn
        self._open_stream = open_stream
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
        try:
            attempt = _Attempt(work.number, self._take_turn(work))
        except Exception as error:  # Ray has many kinds
            raise WorkerGone(f"the cluster takes no call: {error!r}") from error
        with self._lock:
            self._attempt = attempt
        following = (attempt, work, payloads)
        threading.Thread(target=self._follow, args=following, name=self._name, daemon=True).start()

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
            stream = attempt.stream
        attempt.turn.give_back()
        if stream is not None:
            stream.cancel()
        return True

    def _put(self, message: dict[str, Any] | WireBroken) -> None:
        with self._inbox_lock:
            self._inbox.append(message)
            self._wakeup.wake()

    def _follow(self, attempt: _Attempt, work: StartCall, payloads: list[bytes]) -> None:
        """Send a call when it has its turn, and pass on its messages, in a thread of its own."""
        try:
            ending = self._run(attempt, work, payloads)
        except Exception as error:
            log.info("A stream of %s broke: %r", self._name, error)
            ending = WorkerGone(f"the replica is gone: {type(error).__name__}")
        finally:
            attempt.turn.give_back()
        with self._lock:
            if not attempt.is_over:
                attempt.is_over = True
                self._put(ending)

    def _run(self, attempt: _Attempt, work: StartCall, payloads: list[bytes]) -> WireBroken:
        """Returns what to report if the attempt is not over."""
        while not attempt.turn.wait(LOOK_SECONDS):
            if attempt.is_over:
                break
        if not attempt.is_over:
            stream = self._open_stream(work, payloads)
            payloads.clear()
            with self._lock:
                attempt.stream = stream
                is_over = attempt.is_over
            if is_over:
                stream.cancel()
            for message in stream:
                with self._lock:
                    if attempt.is_over or self._pass_on(attempt, message):
                        attempt.is_over = True
                        break
        return WorkerGone("the replica went without an answer")

    def _pass_on(self, attempt: _Attempt, message: dict[str, Any]) -> bool:
        """Whether it was the last message. The lock must be held."""
        match message.get("kind"):
            case "accepted":
                attempt.is_claimed = True
            case "alive":
                self._memory_bytes = int(message["memory"])
            case "lost":
                self._put(WireBroken(f"the worker ended: {message['how']}"))
                return True
            case kind:
                self._put(message)
                return kind in ("done", "failed", "long")
        return False
