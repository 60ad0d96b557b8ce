"""Measuring waits, with a backend that answers at once."""

from concurrent.futures import Future
from types import SimpleNamespace
from typing import cast

import pytest

from ml.backend import ToolAnswer, ToolCall
from ml.errors import Overloaded
from ml.runtime.local import LocalBackend
from tests.benchmarks.scaling import measuring

ANSWER = ToolAnswer(b"", "png", 1, 1, None, "cpu", 1, 1)


class Backend:
    def __init__(self, refused: int = 0) -> None:
        self.calls: list[ToolCall] = []
        self._refused = refused

    def submit(self, call: ToolCall) -> SimpleNamespace:
        self.calls.append(call)
        if len(self.calls) <= self._refused:
            raise Overloaded("The queue is full.", 1)
        answer: Future[ToolAnswer] = Future()
        answer.set_result(ANSWER)
        return SimpleNamespace(answer=answer)


def as_local(backend: Backend) -> LocalBackend:
    return cast(LocalBackend, backend)


def test_a_closed_run_measures_each_photo_equally_often() -> None:
    closed = measuring.closed_run(as_local(Backend()), 2, rounds=3)
    assert {len(seconds) for seconds in closed.service_seconds.values()} == {6}
    assert len(closed.kinds("cut-outs")) == 4
    assert {kind.name.split()[0] for kind in closed.kinds("half crops")} == {"cut-out", "crop"}


def test_an_open_run_sends_the_planned_calls_and_counts_refusals() -> None:
    seconds = {f"{kind} coffee": [0.05] for kind in measuring.CALLS}
    closed = measuring.ClosedRun(2, seconds, {})
    assert measuring.capacity_per_second(closed, "half crops") == pytest.approx(40)
    backend = Backend(refused=2)
    run = measuring.open_run(as_local(backend), closed, "half crops", 0.5, 1.0)
    assert run.per_second == pytest.approx(20)
    assert run.refused == 2
    assert len(run.calls) == len(backend.calls) - 2
    assert all(one.late_seconds >= 0 for one in run.calls)
    again = measuring.open_run(as_local(Backend()), closed, "half crops", 0.5, 1.0)
    assert [one.at for one in again.calls][2:] == [one.at for one in run.calls]
