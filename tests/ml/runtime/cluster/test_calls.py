"""Calls sent to replicas: their turns, the order of their messages, and how they end."""

import queue
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from ml.backend import ToolCall
from ml.params import Params
from ml.runtime.cluster.calls import CallSender
from ml.runtime.messages import StartCall
from tests.support.waiting import PATIENCE_SECONDS, wait_until

WORK = StartCall(7, ToolCall("echo", Params(), {}), (), None, None)


class Replica:
    """The other end: what it says is what the stream yields. An exception ends the stream."""

    def __init__(self) -> None:
        self.said: queue.SimpleQueue[dict[str, Any] | Exception] = queue.SimpleQueue()
        self.cancelled = 0
        self.received: list[bytes] = []
        self.is_open = False

    def open(self, family: str, work: StartCall, payloads: list[bytes]) -> "Replica":
        assert (family, work) == ("work", WORK)
        self.received = list(payloads)
        self.is_open = True
        return self

    def __iter__(self) -> Iterator[dict[str, Any]]:
        while True:
            message = self.said.get(timeout=PATIENCE_SECONDS)
            if isinstance(message, StopIteration):
                return
            if isinstance(message, Exception):
                raise message
            yield message

    def cancel(self) -> None:
        self.cancelled += 1
        self.said.put(RuntimeError("cancelled"))


class GivenTurn:
    """A turn that is there at once, unless it is held back."""

    def __init__(self, *, is_given: bool) -> None:
        self.is_given = threading.Event()
        if is_given:
            self.is_given.set()
        self.given_back = 0

    def wait(self, seconds: float) -> bool:
        return self.is_given.wait(seconds)

    def give_back(self) -> None:
        self.given_back += 1


class Sending:
    """A sender, its replica, the turns that it took, and what it told."""

    def __init__(self) -> None:
        self.replica = Replica()
        self.turns: list[GivenTurn] = []
        self.gives_turns = True
        self.told: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.sender = CallSender(self._take, self.replica.open, self.told.put)

    def _take(self, family: str, work: StartCall) -> GivenTurn:
        assert (family, work) == ("work", WORK)
        self.turns.append(GivenTurn(is_given=self.gives_turns))
        return self.turns[-1]

    def send(self, number: int = 1, payloads: tuple[bytes, ...] = ()) -> None:
        self.sender.send(number, "work", WORK, list(payloads))

    def next(self) -> dict[str, Any]:
        return self.told.get(timeout=PATIENCE_SECONDS)


@pytest.fixture
def sending() -> Sending:
    return Sending()


def test_messages_are_told_in_their_order_until_the_last(sending: Sending) -> None:
    sending.send(3, (b"picture",))
    said: list[dict[str, Any]] = [
        {"kind": "accepted"},
        *({"kind": "step", "fraction": number / 50} for number in range(50)),
        {"kind": "done"},
    ]
    for message in (*said, {"kind": "step", "fraction": 1.0}):
        sending.replica.said.put(message)
    assert [sending.next() for _ in said] == [{"kind": "call", "id": 3, "message": each} for each in said]
    assert sending.replica.received == [b"picture"]
    wait_until(lambda: sending.turns[0].given_back > 0)
    assert sending.told.empty()


@pytest.mark.parametrize("end", [RuntimeError("the actor died"), StopIteration()])
def test_a_stream_that_breaks_or_ends_early_is_told_once(sending: Sending, end: Exception) -> None:
    sending.send()
    sending.replica.said.put({"kind": "accepted"})
    sending.replica.said.put(end)
    assert sending.next()["kind"] == "call"
    assert sending.next()["kind"] == "gone"
    wait_until(lambda: sending.turns[0].given_back > 0)
    assert sending.told.empty()


def test_of_a_call_that_was_ended_nothing_more_is_told(sending: Sending) -> None:
    sending.send()
    sending.replica.said.put({"kind": "accepted"})
    assert sending.next()["message"] == {"kind": "accepted"}
    sending.sender.end(1)
    assert sending.replica.cancelled == 1
    sending.replica.said.put({"kind": "done"})
    sending.sender.end(1)
    sending.sender.end(99)
    assert sending.replica.cancelled == 1
    assert sending.told.empty()


def test_a_call_is_sent_when_it_has_its_turn(sending: Sending) -> None:
    sending.gives_turns = False
    sending.send(1)
    wait_until(lambda: len(sending.turns) == 1)
    sending.sender.end(1)  # before its turn: it is never sent
    wait_until(lambda: sending.turns[0].given_back > 0)
    sending.send(2, (b"picture",))
    wait_until(lambda: len(sending.turns) == 2)
    assert not sending.replica.is_open
    sending.turns[1].is_given.set()
    sending.replica.said.put({"kind": "done"})
    assert sending.next() == {"kind": "call", "id": 2, "message": {"kind": "done"}}
    assert sending.replica.received == [b"picture"]


@pytest.mark.parametrize("failing", ["turns", "replicas"])
def test_a_cluster_that_takes_no_call_is_told(failing: str) -> None:
    told: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()

    def take(_family: str, _work: StartCall) -> GivenTurn:
        if failing == "turns":
            raise ConnectionError("no head")
        return GivenTurn(is_given=True)

    def refuse(_family: str, _work: StartCall, _payloads: list[bytes]) -> Replica:
        raise ConnectionError("no head")

    CallSender(take, refuse, told.put).send(1, "work", WORK, [])
    assert told.get(timeout=PATIENCE_SECONDS) == {"kind": "gone", "id": 1, "why": "ConnectionError"}
