"""The backend with real workers: results, order, progress, cancellation and refusals."""

import hashlib
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from ml.backend import Priority, Ticket, ToolAnswer
from ml.errors import BadParameter, Cancelled, ModelUnavailable, Overloaded
from ml.runtime.local import LocalBackend
from tests.support.ml.backends import (
    PICTURE,
    Listener,
    begin,
    call,
    children_pids,
    measure,
    running,
    workload_config,
)
from tests.support.waiting import PATIENCE_SECONDS, wait_until


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBackend]:
    folder = tmp_path_factory.mktemp("backend")
    with running(workload_config(folder)) as started:
        measure(started, folder, "echo", "wait")
        yield started


def answer_of(ticket: Ticket) -> ToolAnswer:
    return ticket.answer.result(PATIENCE_SECONDS)


def test_a_result_is_returned_unchanged(backend: LocalBackend) -> None:
    answer = answer_of(backend.submit(call("echo")))
    assert answer.content == hashlib.sha256(PICTURE).digest() + PICTURE
    assert (answer.format, answer.width, answer.height, answer.warnings) == ("png", 3, 2, ("one",))
    assert answer.fields["score"] == 0.5
    assert answer.fields["masks"] == [b"\x00\xff"]
    assert answer.processing_seconds > 0.0
    assert answer.queue_seconds >= 0.0


def test_200_concurrent_calls_each_get_their_own_image(backend: LocalBackend) -> None:
    source = random.Random(7)
    pictures = [PICTURE + source.randbytes(source.choice([10, 50_000, 3_000_000])) for _ in range(200)]

    def run(number: int) -> ToolAnswer:
        priority = Priority.PAID if number % 2 else Priority.FREE
        return answer_of(backend.submit(call("echo", image=pictures[number], priority=priority)))

    with ThreadPoolExecutor(50) as callers:
        answers = list(callers.map(run, range(200)))
    for picture, answer in zip(pictures, answers, strict=True):
        assert answer.content == hashlib.sha256(picture).digest() + picture
    assert len({answer.fields["pid"] for answer in answers}) == 2


def test_the_memory_of_the_server_stays_flat(backend: LocalBackend) -> None:
    picture = PICTURE + bytes(4 << 20)

    def run(calls: int) -> int:
        for _ in range(calls):
            answer_of(backend.submit(call("echo", image=picture), Listener()))
        return int(psutil.Process().memory_full_info().uss)  # a cluster's object store is shared

    after_some = run(20)
    # Sixty answers of 4 MiB: keeping even one in four of them would show.
    assert run(60) - after_some < 32 << 20


def test_progress_increases_and_is_reported_on_a_backend_thread(backend: LocalBackend) -> None:
    listener = Listener()
    threads = set()

    def hear(progress: object) -> None:
        threads.add(threading.current_thread())
        listener(progress)  # type: ignore[arg-type]

    for _ in range(20):
        answer_of(backend.submit(call("echo"), hear))
        fractions = [progress.fraction for progress in listener.heard]
        assert fractions == sorted(fractions)
        assert all(0.0 <= fraction <= 1.0 for fraction in fractions)
        listener.heard.clear()
    assert threading.current_thread() not in threads
    assert len(threads) == 1


def test_a_failing_or_hanging_listener_does_not_block_calls(backend: LocalBackend) -> None:
    release = threading.Event()

    def open(progress: object) -> None:
        release.wait(PATIENCE_SECONDS)
        raise RuntimeError("a listener's own mistake")

    try:
        first = backend.submit(call("echo"), open)
        others = [backend.submit(call("echo"), Listener()) for _ in range(5)]
        for ticket in (first, *others):
            answer_of(ticket)
    finally:
        release.set()


def test_errors_of_the_work_keep_their_kind_and_the_worker(backend: LocalBackend) -> None:
    pids = children_pids()
    with pytest.raises(BadParameter, match="outside the picture") as caught:
        answer_of(backend.submit(call("bad parameter")))
    assert caught.value.name == "x"
    with pytest.raises(ModelUnavailable) as unavailable:
        answer_of(backend.submit(call("unavailable")))
    assert unavailable.value.command == "bgeraser models pull isnet-general-use"
    with pytest.raises(RuntimeError, match="a defect of ours") as defect:
        answer_of(backend.submit(call("defect")))
    assert "workloads.py" in defect.value.__notes__[0]
    answer_of(backend.submit(call("echo")))
    assert children_pids() == pids


def test_paid_calls_precede_earlier_free_ones(tmp_path: Path) -> None:
    with running(workload_config(tmp_path, workers=1)) as backend:
        measure(backend, tmp_path, "echo", "wait")
        gate = tmp_path / "gate"
        begin(backend, call("wait", gate=gate))
        order: list[str] = []
        tickets = []
        for priority in [Priority.FREE] * 10 + [Priority.PAID] * 10:
            ticket = backend.submit(call("echo", priority=priority))
            ticket.answer.add_done_callback(lambda _, letter=priority.value[0]: order.append(letter))  # type: ignore[misc]
            tickets.append(ticket)
        gate.touch()
        for ticket in tickets:
            answer_of(ticket)
        wait_until(lambda: len(order) == 20)
        assert "".join(order) == "ppppfppppfppffffffff"


def test_a_waiting_call_reports_its_position(backend: LocalBackend, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    blocking = [begin(backend, call("wait", gate=gate)) for _ in range(2)]
    first, second = Listener(), Listener()
    tickets = [backend.submit(call("echo"), first), backend.submit(call("echo"), second)]
    first.wait_for(lambda progress: (progress.stage, progress.queue_position) == ("queued", 1))
    second.wait_for(lambda progress: (progress.stage, progress.queue_position) == ("queued", 2))
    assert tickets[0].drop_if_queued()
    second.wait_for(lambda progress: (progress.stage, progress.queue_position) == ("queued", 1))
    gate.touch()
    for ticket in (*blocking, tickets[1]):
        answer_of(ticket)


def test_state_counts_waiting_and_running_calls(backend: LocalBackend, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    tickets = [begin(backend, call("wait", gate=gate)) for _ in range(2)]
    tickets += [backend.submit(call("echo")) for _ in range(3)]
    state = backend.state()
    assert (state.ready, state.workers, state.running, state.queued) == (True, 2, 2, 3)
    gate.touch()
    for ticket in tickets:
        answer_of(ticket)
    state = backend.state()
    assert (state.running, state.queued) == (0, 0)


def test_only_a_waiting_call_can_be_withdrawn(backend: LocalBackend, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    tickets = [begin(backend, call("wait", gate=gate)) for _ in range(2)]
    waiting = backend.submit(call("echo"))
    assert waiting.drop_if_queued()
    assert not waiting.drop_if_queued()
    with pytest.raises(Cancelled):
        answer_of(waiting)
    assert not tickets[0].drop_if_queued()
    gate.touch()
    for ticket in tickets:
        answer_of(ticket)
    assert not tickets[0].drop_if_queued()


def test_cancel_withdraws_a_waiting_call(backend: LocalBackend, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    tickets = [begin(backend, call("wait", gate=gate)) for _ in range(2)]
    waiting = backend.submit(call("echo"))
    waiting.cancel()
    with pytest.raises(Cancelled):
        waiting.answer.result(0)  # at once
    gate.touch()
    for ticket in tickets:
        answer_of(ticket)


def test_cancel_stops_a_running_call_at_its_next_step_and_keeps_the_worker(backend: LocalBackend) -> None:
    pids = children_pids()
    ticket = begin(backend, call("polite"))
    ticket.cancel()
    with pytest.raises(Cancelled):
        answer_of(ticket)
    answer_of(backend.submit(call("echo")))
    assert children_pids() == pids


def test_a_cancelled_call_that_finishes_anyway_returns_no_result(backend: LocalBackend) -> None:
    ticket = begin(backend, call("stubborn to the end"))
    ticket.cancel()
    with pytest.raises(Cancelled):
        answer_of(ticket)


def test_cancel_after_the_end_changes_nothing(backend: LocalBackend) -> None:
    ticket = backend.submit(call("echo"))
    answer = answer_of(ticket)
    ticket.cancel()
    assert answer_of(ticket) is answer


def test_abandoning_the_wait_does_not_cancel_the_call(backend: LocalBackend, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    ticket = begin(backend, call("wait", gate=gate))
    assert not ticket.answer.cancel()  # as asyncio does when the task that awaits it is cancelled
    gate.touch()
    answer_of(ticket)


def test_unmeasured_calls_leave_a_worker_free(backend: LocalBackend, tmp_path: Path) -> None:
    unknown = [begin(backend, call("polite"))]
    listener = Listener()
    unknown.append(backend.submit(call("polite"), listener))
    listener.wait_for(lambda progress: progress.queue_position == 1)
    answer_of(backend.submit(call("echo")))  # the other worker is free for what is known to be short
    assert backend.state().queued == 1
    for ticket in reversed(unknown):
        ticket.cancel()
    for ticket in unknown:
        with pytest.raises(Cancelled):
            answer_of(ticket)


def test_a_full_queue_refuses_with_retry_after(tmp_path: Path) -> None:
    with running(workload_config(tmp_path, workers=1, queue_size=4)) as backend:
        gate = tmp_path / "gate"
        tickets = [begin(backend, call("wait", gate=gate))]
        tickets += [backend.submit(call("wait", gate=gate, priority=Priority.FREE)) for _ in range(3)]
        with pytest.raises(Overloaded) as refused:
            backend.submit(call("wait", gate=gate, priority=Priority.FREE))
        assert refused.value.retry_after_seconds >= 1
        tickets.append(backend.submit(call("wait", gate=gate)))  # the rest is kept for paid calls
        with pytest.raises(Overloaded):
            backend.submit(call("wait", gate=gate))
        gate.touch()
        for ticket in tickets:
            answer_of(ticket)


def test_an_expected_wait_over_the_limit_is_refused(tmp_path: Path) -> None:
    with running(workload_config(tmp_path, workers=1, max_wait_seconds=2.0)) as backend:
        tickets = [begin(backend, call("polite"))]
        # Half a second each is what is expected of them, as long as nothing was measured.
        tickets += [backend.submit(call("echo", priority=Priority.FREE)) for _ in range(2)]
        with pytest.raises(Overloaded, match="expected wait") as refused:
            submit_many(backend, 10)
        assert refused.value.retry_after_seconds >= 1
        tickets[0].cancel()
        for ticket in tickets[1:]:
            answer_of(ticket)


def submit_many(backend: LocalBackend, count: int) -> None:
    for _ in range(count):
        backend.submit(call("echo", priority=Priority.FREE))
