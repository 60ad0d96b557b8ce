"""A stream of messages as a worker: order, cancellation, lost replicas and calls that none takes."""

import queue
import select
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from ml.backend import ToolCall
from ml.errors import Overloaded
from ml.params import Params
from ml.runtime.cluster_worker import ClusterWorker
from ml.runtime.messages import StartCall
from ml.runtime.wire import WireBroken, WorkerGone
from tests.support.waiting import PATIENCE_SECONDS, wait_until

WORK = StartCall(7, ToolCall("echo", Params(), {}), (), None, None)


class Replica:
    """The other end: what it says is what the stream yields. An exception ends the stream."""

    def __init__(self) -> None:
        self.said: queue.SimpleQueue[dict[str, Any] | Exception] = queue.SimpleQueue()
        self.cancelled = 0
        self.received: list[bytes] = []
        self.is_open = False

    def open(self, work: StartCall, payloads: list[bytes]) -> "Replica":
        assert work.number == WORK.number
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

    def __init__(self, work: StartCall) -> None:
        self.is_given = threading.Event()
        self.is_given.set()
        self.given_back = 0

    def wait(self, seconds: float) -> bool:
        return self.is_given.wait(seconds)

    def give_back(self) -> None:
        self.given_back += 1


@pytest.fixture
def replica() -> Replica:
    return Replica()


@pytest.fixture
def worker(replica: Replica) -> Iterator[ClusterWorker]:
    made = ClusterWorker("A replica", GivenTurn, replica.open)
    assert next_message(made) == {"kind": "ready"}
    yield made
    made.kill()


def has_message(worker: ClusterWorker) -> bool:
    return bool(select.select([worker], [], [], 0)[0])


def next_message(worker: ClusterWorker) -> dict[str, Any]:
    assert select.select([worker], [], [], PATIENCE_SECONDS)[0]
    return worker.receive()


def test_messages_of_a_call_are_received_in_their_order(worker: ClusterWorker, replica: Replica) -> None:
    worker.send_work(WORK, [b"picture"])
    steps: list[dict[str, Any]] = [
        {"kind": "step", "number": 7, "fraction": number / 50} for number in range(50)
    ]
    for message in ({"kind": "accepted"}, *steps, {"kind": "done", "number": 7}):
        replica.said.put(message)
    assert [next_message(worker) for _ in range(51)] == [*steps, {"kind": "done", "number": 7}]
    assert replica.received == [b"picture"]
    assert not has_message(worker)


def test_memory_is_what_the_replica_says(worker: ClusterWorker, replica: Replica) -> None:
    worker.send_work(WORK, [])
    replica.said.put({"kind": "alive", "memory": 123})
    wait_until(lambda: worker.rss_bytes() == 123)
    assert not has_message(worker)


@pytest.mark.parametrize("end", [RuntimeError("the actor died"), StopIteration()])
def test_a_stream_that_breaks_or_ends_early_means_that_the_replica_is_gone(
    worker: ClusterWorker, replica: Replica, end: Exception
) -> None:
    worker.send_work(WORK, [])
    replica.said.put({"kind": "accepted"})
    replica.said.put(end)
    with pytest.raises(WorkerGone):
        next_message(worker)


def test_a_lost_worker_of_a_living_replica_may_be_the_fault_of_its_call(
    worker: ClusterWorker, replica: Replica
) -> None:
    worker.send_work(WORK, [])
    replica.said.put({"kind": "lost", "how": "SIGSEGV"})
    with pytest.raises(WireBroken, match="SIGSEGV") as lost:
        next_message(worker)
    assert not isinstance(lost.value, WorkerGone)


def test_a_cancelled_call_ends_at_once_and_its_later_messages_are_dropped(
    worker: ClusterWorker, replica: Replica
) -> None:
    worker.send_work(WORK, [])
    replica.said.put({"kind": "accepted"})
    worker.send_cancel(7)
    message = next_message(worker)
    assert (message["kind"], message["number"], message["error"]) == ("failed", 7, "Cancelled")
    assert replica.cancelled == 1
    replica.said.put({"kind": "done", "number": 7})
    worker.send_cancel(7)  # nothing is left to cancel
    assert replica.cancelled == 1
    assert not has_message(worker)


def test_a_call_that_waits_for_a_replica_is_withdrawn_once(worker: ClusterWorker, replica: Replica) -> None:
    worker.send_work(WORK, [])
    wait_until(lambda: replica.is_open)
    assert worker.withdraw()
    assert not worker.withdraw()
    wait_until(lambda: replica.cancelled == 1)


def test_a_call_is_sent_when_it_has_its_turn_and_gives_it_back(replica: Replica) -> None:
    turns: list[GivenTurn] = []

    def take(work: StartCall) -> GivenTurn:
        turns.append(GivenTurn(work))
        turns[-1].is_given.clear()
        return turns[-1]

    worker = ClusterWorker("A replica", take, replica.open)
    assert next_message(worker) == {"kind": "ready"}
    worker.send_work(WORK, [])
    assert worker.withdraw()  # before its turn: it is never sent
    assert turns[0].given_back
    worker.send_work(WORK, [b"picture"])
    assert not replica.is_open
    turns[1].is_given.set()
    replica.said.put({"kind": "done", "number": 7})
    assert next_message(worker)["kind"] == "done"
    assert replica.received == [b"picture"]
    wait_until(lambda: turns[1].given_back > 0)
    worker.kill()


def test_a_call_that_a_replica_has_taken_is_neither_withdrawn_nor_refused(
    worker: ClusterWorker, replica: Replica
) -> None:
    worker.send_work(WORK, [])
    replica.said.put({"kind": "accepted"})
    replica.said.put({"kind": "started", "number": 7})
    assert next_message(worker)["kind"] == "started"
    assert not worker.withdraw()
    worker.refuse(Overloaded("no replica", 30))
    assert not has_message(worker)
    assert replica.cancelled == 0


def test_a_call_that_waits_for_a_replica_that_will_not_come_fails(
    worker: ClusterWorker, replica: Replica
) -> None:
    worker.refuse(Overloaded("there is no call yet", 30))
    worker.send_work(WORK, [])
    worker.refuse(Overloaded("no replica", 30))
    message = next_message(worker)
    assert (message["kind"], message["number"], message["error"]) == ("failed", 7, "Overloaded")
    assert message["args"] == ["no replica", 30]
    assert replica.cancelled == 1


def test_a_cluster_that_takes_no_call_counts_as_gone() -> None:
    def refuse(work: StartCall, payloads: list[bytes]) -> Replica:
        raise ConnectionError("no head")

    worker = ClusterWorker("A replica", GivenTurn, refuse)
    assert next_message(worker) == {"kind": "ready"}
    worker.send_work(WORK, [])
    with pytest.raises(WorkerGone, match="ConnectionError"):
        next_message(worker)
    worker.kill()


def test_turns_that_cannot_be_asked_for_count_as_gone(replica: Replica) -> None:
    def fail(work: StartCall) -> GivenTurn:
        raise ConnectionError("no head")

    worker = ClusterWorker("A replica", fail, replica.open)
    with pytest.raises(WorkerGone, match="no head"):
        worker.send_work(WORK, [])
    worker.kill()
