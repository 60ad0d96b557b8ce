"""A call in a cluster as the work of a worker: order, cancellation, lost replicas, calls that none takes."""

import select
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ml.backend import ToolCall
from ml.errors import Overloaded
from ml.params import Params
from ml.runtime.cluster.worker import ClusterWorker
from ml.runtime.messages import StartCall
from ml.runtime.wire import WireBroken, WorkerGone
from tests.support.waiting import PATIENCE_SECONDS

WORK = StartCall(7, ToolCall("echo", Params(), {}), (), None, None)


class Cluster:
    """The other end of one worker's calls."""

    def __init__(self) -> None:
        self.sent: list[list[bytes]] = []
        self.ended = 0
        self._hear: list[Callable[[dict[str, Any]], None]] = []

    def new_call(self, on_message: Callable[[dict[str, Any]], None]) -> "Cluster":
        self._hear.append(on_message)
        return self

    def send(self, work: StartCall, payloads: list[bytes]) -> None:
        assert work == WORK
        self.sent.append(payloads)

    def end(self) -> None:
        self.ended += 1

    def say(self, *messages: dict[str, Any], call: int = -1) -> None:
        for message in messages:
            self._hear[call](message)


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def worker(cluster: Cluster) -> Iterator[ClusterWorker]:
    made = ClusterWorker("A replica", cluster.new_call)
    assert next_message(made) == {"kind": "ready"}
    made.send_work(WORK, [b"picture"])
    assert cluster.sent == [[b"picture"]]
    yield made
    made.kill()


def has_message(worker: ClusterWorker) -> bool:
    return bool(select.select([worker], [], [], 0)[0])


def next_message(worker: ClusterWorker) -> dict[str, Any]:
    assert select.select([worker], [], [], PATIENCE_SECONDS)[0]
    return worker.receive()


def test_messages_of_a_call_are_received_in_their_order(worker: ClusterWorker, cluster: Cluster) -> None:
    steps: list[dict[str, Any]] = [
        {"kind": "step", "number": 7, "fraction": number / 50} for number in range(50)
    ]
    cluster.say({"kind": "accepted"}, *steps, {"kind": "done", "number": 7})
    assert [next_message(worker) for _ in range(51)] == [*steps, {"kind": "done", "number": 7}]
    assert not has_message(worker)


def test_memory_is_what_the_replica_says(worker: ClusterWorker, cluster: Cluster) -> None:
    cluster.say({"kind": "alive", "memory": 123})
    assert worker.rss_bytes() == 123
    assert not has_message(worker)


def test_a_call_that_is_gone_has_lost_its_replica(worker: ClusterWorker, cluster: Cluster) -> None:
    cluster.say({"kind": "accepted"}, {"kind": "gone", "why": "RayActorError"})
    with pytest.raises(WorkerGone, match="RayActorError"):
        next_message(worker)


def test_a_lost_worker_of_a_living_replica_may_be_the_fault_of_its_call(
    worker: ClusterWorker, cluster: Cluster
) -> None:
    cluster.say({"kind": "lost", "how": "SIGSEGV"})
    with pytest.raises(WireBroken, match="SIGSEGV") as lost:
        next_message(worker)
    assert not isinstance(lost.value, WorkerGone)


def test_a_cancelled_call_ends_at_once_and_its_later_messages_are_dropped(
    worker: ClusterWorker, cluster: Cluster
) -> None:
    cluster.say({"kind": "accepted"})
    worker.send_cancel(7)
    message = next_message(worker)
    assert (message["kind"], message["number"], message["error"]) == ("failed", 7, "Cancelled")
    assert cluster.ended == 1
    cluster.say({"kind": "done", "number": 7})
    worker.send_cancel(7)  # nothing is left to cancel
    assert cluster.ended == 1
    assert not has_message(worker)


def test_a_call_that_waits_for_a_replica_is_withdrawn_once(worker: ClusterWorker, cluster: Cluster) -> None:
    assert worker.withdraw()
    assert not worker.withdraw()
    assert cluster.ended == 1
    worker.send_work(WORK, [])
    cluster.say({"kind": "done", "number": 7}, call=0)  # of the first attempt
    assert not has_message(worker)
    cluster.say({"kind": "done", "number": 7})
    assert next_message(worker)["kind"] == "done"


def test_a_call_that_a_replica_has_taken_is_neither_withdrawn_nor_refused(
    worker: ClusterWorker, cluster: Cluster
) -> None:
    cluster.say({"kind": "accepted"}, {"kind": "started", "number": 7})
    assert next_message(worker)["kind"] == "started"
    assert not worker.withdraw()
    worker.refuse(Overloaded("no replica", 30))
    assert not has_message(worker)
    assert cluster.ended == 0


def test_a_call_that_waits_for_a_replica_that_will_not_come_fails(
    worker: ClusterWorker, cluster: Cluster
) -> None:
    worker.refuse(Overloaded("no replica", 30))
    message = next_message(worker)
    assert (message["kind"], message["number"], message["error"]) == ("failed", 7, "Overloaded")
    assert message["args"] == ["no replica", 30]
    assert cluster.ended == 1


def test_a_worker_without_a_call_has_nothing_to_refuse(cluster: Cluster) -> None:
    worker = ClusterWorker("A replica", cluster.new_call)
    assert next_message(worker) == {"kind": "ready"}
    worker.refuse(Overloaded("there is no call yet", 30))
    assert not worker.withdraw()
    assert not has_message(worker)
    worker.kill()
