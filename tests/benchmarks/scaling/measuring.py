"""Measured points: real workers of one thread each, with the real checkpoint.

First the service times, in closed runs: as many callers as workers, each of whom sends its next call when it
has the answer of the last one. Then waits, in open runs: calls at random times that do not depend on answers.

A service time is all of a call that is not waiting in the queue, so it includes handing the call to the
worker and receiving the answer.
"""

import math
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from ml.backend import Priority, ToolAnswer, ToolCall
from ml.errors import Overloaded
from ml.params import Params
from ml.runtime.local import LocalBackend, LocalConfig
from ml.tools.bg_removal_params import BgRemovalParams
from ml.tools.crop import CropParams
from tests.benchmarks import load
from tests.benchmarks.photos import NAMES, SIZES, jpegs_of
from tests.benchmarks.scaling import simulation
from tests.benchmarks.scaling.simulation import Kind
from tests.support import checkpoints
from tests.support.ml import backends

CUT_OUT, CROP = "cut-out", "crop"
#: Tools and parameters of the calls, by kind.
CALLS: Mapping[str, tuple[str, Params]] = {
    CUT_OUT: ("bg-removal", BgRemovalParams(model="quality")),
    CROP: ("crop", CropParams.model_validate({"width": "800", "height": "800"})),
}
#: The shares of kinds in what arrives, by the name of the mix.
MIXES: Mapping[str, Mapping[str, float]] = {
    "cut-outs": {CUT_OUT: 1.0},
    "half crops": {CUT_OUT: 0.5, CROP: 0.5},
}
LOADS = (0.5, 0.7, 0.85)
#: Mix, workers and share of the capacity of each open run.
POINTS = (
    *(("cut-outs", workers, share) for workers in (1, 2) for share in LOADS),
    ("half crops", 2, 0.7),
)
_SEED = 20_260_101
#: Calls of each photo in a closed run, for every worker.
_ROUNDS = 3
_SECOND_CLOSED_RUN_SECONDS = 35.0  # about what 2 workers take to start and for their closed run
_LEAST_SECONDS = 5.0
_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class ClosedRun:
    """`service_seconds` by `kind photo`. `core_seconds`: what the workers took for a call of a kind."""

    workers: int
    service_seconds: dict[str, list[float]]
    core_seconds: dict[str, float]

    def kinds(self, mix: str) -> list[Kind]:
        """The kinds of calls of a mix with the times measured here, every photo equally often."""
        return [
            Kind(name, tuple(seconds), share / len(NAMES))
            for kind, share in MIXES[mix].items()
            for name, seconds in self.service_seconds.items()
            if name.startswith(f"{kind} ")
        ]


@dataclass(frozen=True)
class OpenCall:
    """`at` is its planned arrival in seconds from the start, `late_seconds` how much later it was sent."""

    at: float
    kind: str
    late_seconds: float
    wait_seconds: float
    service_seconds: float
    ended_at: float


@dataclass(frozen=True)
class OpenRun:
    """Calls at random times, `per_second` on average over `seconds`."""

    mix: str
    workers: int
    load_share: float  # of the capacity of the closed run
    per_second: float
    seconds: float
    seed: int
    calls: list[OpenCall]
    refused: int


def closed_run(backend: LocalBackend, workers: int, rounds: int = _ROUNDS) -> ClosedRun:
    """The service times of every kind and photo with `workers` calls at once."""
    calls = _calls()
    service_seconds: dict[str, list[float]] = {}
    core_seconds: dict[str, float] = {}
    for kind in CALLS:
        names = [name for name in calls if name.startswith(f"{kind} ")]
        # The last calls, which are not all measured beside others, do not count.
        order = names * (rounds * workers) + names[: workers - 1]
        measured: list[_Sent | None] = [None] * len(order)

        def one(number: int, order: list[str] = order, measured: list[_Sent | None] = measured) -> None:
            sent = measured[number] = _Sent(backend, calls[order[number]])
            sent.answer.result()

        before = _worker_cpu_seconds()
        load.run(one, callers=workers, calls=len(order))
        core_seconds[kind] = (_worker_cpu_seconds() - before) / len(order)
        for name, sent in list(zip(order, measured, strict=True))[: len(names) * rounds * workers]:
            assert sent is not None
            service_seconds.setdefault(name, []).append(sent.service_seconds)
    return ClosedRun(workers, service_seconds, core_seconds)


def open_run(
    backend: LocalBackend, closed: ClosedRun, mix: str, load_share: float, seconds: float
) -> OpenRun:
    """Calls of `mix` at `load_share` of the capacity of `closed`, for about `seconds`."""
    kinds = closed.kinds(mix)
    per_second = load_share * capacity_per_second(closed, mix)
    seed = _SEED + 100 * closed.workers + round(100 * load_share)
    arrivals = simulation.poisson_arrivals(kinds, per_second, seconds=seconds, seed=seed)
    calls = _calls()
    sent: list[tuple[simulation.Arrival, float, _Sent]] = []
    refused = 0
    began = time.perf_counter()
    for arrival in arrivals:
        time.sleep(max(0.0, began + arrival.at - time.perf_counter()))
        late_seconds = time.perf_counter() - began - arrival.at
        try:
            sent.append((arrival, late_seconds, _Sent(backend, calls[arrival.kind.name])))
        except Overloaded:
            refused += 1
    done = [_open_call(arrival, late, one, began) for arrival, late, one in sent]
    return OpenRun(mix, closed.workers, load_share, per_second, seconds, seed, done, refused)


def _open_call(arrival: simulation.Arrival, late_seconds: float, sent: "_Sent", began: float) -> OpenCall:
    answer = sent.answer.result(_PATIENCE_SECONDS)
    return OpenCall(
        arrival.at,
        arrival.kind.name,
        late_seconds,
        answer.queue_seconds,
        sent.service_seconds,
        sent.ended_at - began,
    )


def capacity_per_second(closed: ClosedRun, mix: str) -> float:
    """Calls of a mix that the workers serve a second if they are never idle."""
    kinds = closed.kinds(mix)
    shares = sum(kind.share for kind in kinds)
    mean_seconds = sum(kind.share * kind.mean_seconds for kind in kinds) / shares
    return closed.workers / mean_seconds


def measure(seconds: float, say: Callable[[str], None]) -> tuple[list[ClosedRun], list[OpenRun]]:
    """Every point, in about `seconds`, but never with less than a few seconds for each."""
    ends_at = time.monotonic() + seconds
    closed_runs: list[ClosedRun] = []
    open_runs: list[OpenRun] = []
    with tempfile.TemporaryDirectory(prefix="bgeraser-scaling-") as cache:
        for workers, reserved_seconds in ((1, _SECOND_CLOSED_RUN_SECONDS), (2, 0.0)):
            with _backend(workers, Path(cache)) as backend:
                say(f"{workers} workers: service times")
                closed = closed_run(backend, workers)
                closed_runs.append(closed)
                for mix, share in [(mix, share) for mix, count, share in POINTS if count == workers]:
                    left_seconds = ends_at - time.monotonic() - reserved_seconds
                    left = [_expected_share(*point) for point in POINTS[len(open_runs) :]]
                    each_seconds = max(_LEAST_SECONDS, left_seconds * left[0] / sum(left))
                    say(f"{workers} workers: {mix} at {share:.0%} for {each_seconds:.0f} s")
                    open_runs.append(open_run(backend, closed, mix, share, each_seconds))
    return closed_runs, open_runs


def _expected_share(mix: str, workers: int, load_share: float) -> float:
    """Of the time for open runs, so that each has about as many calls."""
    return MIXES[mix][CUT_OUT] / (workers * load_share)


@contextmanager
def _backend(workers: int, cache: Path) -> Iterator[LocalBackend]:
    """Workers of one thread each that have run every kind of call, with the limits that servers have."""
    config = LocalConfig(
        models_dir=checkpoints.models_dir(), cache_dir=cache, workers=workers, threads_per_worker=1
    )
    with backends.running(config) as backend:
        photo = jpegs_of(SIZES["1 MP"])[0]
        for kind in CALLS:
            for answer in [backend.submit(_call(kind, photo)).answer for _ in range(workers)]:
                answer.result()
        yield backend


def _call(kind: str, photo: bytes) -> ToolCall:
    tool, params = CALLS[kind]
    return ToolCall(tool, params, {"image": photo}, Priority.PAID)


def _calls() -> dict[str, ToolCall]:
    photos = dict(zip(NAMES, jpegs_of(SIZES["1 MP"]), strict=True))
    return {f"{kind} {name}": _call(kind, photo) for kind in CALLS for name, photo in photos.items()}


class _Sent:
    """A submitted call. Raises Overloaded."""

    def __init__(self, backend: LocalBackend, call: ToolCall) -> None:
        self._began = time.perf_counter()
        self.ended_at = math.nan  # of time.perf_counter()
        self._noted = threading.Event()
        self.answer: Future[ToolAnswer] = backend.submit(call).answer
        self.answer.add_done_callback(self._note_end)

    def _note_end(self, _: object) -> None:
        self.ended_at = time.perf_counter()
        self._noted.set()

    @property
    def service_seconds(self) -> float:
        """Without the time in the queue. The answer must be there."""
        self._noted.wait(_PATIENCE_SECONDS)
        return self.ended_at - self._began - self.answer.result().queue_seconds


def _worker_cpu_seconds() -> float:
    """Processor time of this process's workers so far."""
    total = 0.0
    for pid in backends.children_pids():
        times = psutil.Process(pid).cpu_times()
        total += times.user + times.system
    return total
