"""Sends calls to the replicas of a cluster, in its driver's process.

A call first waits for its turn among those of all servers (`turns`); then Ray chooses the replica,
whose messages are passed on.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from ml.runtime.cluster.replica import LAST_KINDS
from ml.runtime.messages import StartCall

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
class _Sent:
    id: int
    family: str
    is_over: threading.Event = field(default_factory=threading.Event)
    # Once they are there
    turn: Turn | None = None
    stream: Stream | None = None


class CallSender:
    """`take_turn(family, work)` asks for a call's turn, and `open_stream(family, work, payloads)` sends it
    then; both raise Ray's errors. `tell(message)` passes on a message of `ml.runtime.cluster.messages`.
    """

    def __init__(
        self,
        take_turn: Callable[[str, StartCall], Turn],
        open_stream: Callable[[str, StartCall, list[bytes]], Stream],
        tell: Callable[[dict[str, Any]], None],
    ) -> None:
        self._take_turn = take_turn
        self._open_stream = open_stream
        self._tell = tell
        self._lock = threading.Lock()
        self._calls: dict[int, _Sent] = {}

    def send(self, number: int, family: str, work: StartCall, payloads: list[bytes]) -> None:
        """Returns at once; call `number` is followed in a thread of its own until its end."""
        call = _Sent(number, family)
        with self._lock:
            self._calls[number] = call
        threading.Thread(target=self._follow, args=(call, work, payloads), daemon=True).start()

    def end(self, number: int) -> None:
        """The call is no longer wanted: stop it, and report nothing more about it. Does not wait."""
        with self._lock:
            call = self._calls.pop(number, None)
            if call is None:
                return
            call.is_over.set()
            turn, stream = call.turn, call.stream
        if turn is not None:
            turn.give_back()
        if stream is not None:
            stream.cancel()

    def _follow(self, call: _Sent, work: StartCall, payloads: list[bytes]) -> None:
        try:
            why = self._run(call, work, payloads)
        except Exception as error:  # Ray has many kinds
            log.info("A call for %s broke: %r", call.family, error)
            why = type(error).__name__
        finally:
            if call.turn is not None:
                call.turn.give_back()
        self._tell_of(call, {"kind": "gone", "id": call.id, "why": why}, is_last=True)

    def _run(self, call: _Sent, work: StartCall, payloads: list[bytes]) -> str:
        """Returns why the call is gone, unless it is over."""
        if not self._wait_for_turn(call, work):
            return "it is not wanted"
        stream = self._open_stream(call.family, work, payloads)
        payloads.clear()
        with self._lock:
            call.stream = stream
        if call.is_over.is_set():
            stream.cancel()
        for message in stream:
            is_last = message.get("kind") in LAST_KINDS
            self._tell_of(call, {"kind": "call", "id": call.id, "message": message}, is_last)
            if call.is_over.is_set():
                break
        return "the replica went without an answer"

    def _wait_for_turn(self, call: _Sent, work: StartCall) -> bool:
        turn = self._take_turn(call.family, work)
        with self._lock:
            call.turn = turn
        while not call.is_over.is_set():
            if turn.wait(LOOK_SECONDS):
                return not call.is_over.is_set()
        return False

    def _tell_of(self, call: _Sent, message: dict[str, Any], is_last: bool) -> None:
        with self._lock:
            if call.is_over.is_set():
                return
            if is_last:
                call.is_over.set()
                del self._calls[call.id]
        self._tell(message)
