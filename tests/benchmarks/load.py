"""Bounded loads: a fixed number of calls by a fixed number of callers, and what they saw."""

import queue
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

Result = TypeVar("Result")


@dataclass(frozen=True)
class Measured:
    """The seconds of each call, and those from the first one's start to the last one's end."""

    seconds: tuple[float, ...]
    took_seconds: float

    @property
    def per_second(self) -> float:
        return len(self.seconds) / self.took_seconds

    @property
    def p50_seconds(self) -> float:
        return statistics.median(self.seconds)

    def percentile_seconds(self, percent: float) -> float:
        return percentile(self.seconds, percent)


def run(call: Callable[[int], object], *, callers: int, calls: int) -> Measured:
    """`callers` threads share `calls` calls, `call(0)` to `call(calls - 1)`. The first failure is raised."""
    waiting = queue.SimpleQueue[int]()
    for number in range(calls):
        waiting.put(number)

    def work() -> list[float]:
        seconds = []
        with suppress(queue.Empty):
            while True:
                number = waiting.get_nowait()
                seconds.append(timed(lambda: call(number)))  # noqa: B023 - called at once
        return seconds

    with ThreadPoolExecutor(callers) as pool:
        began = time.perf_counter()
        shares = [pool.submit(work) for _ in range(callers)]
        seconds = tuple(one for share in shares for one in share.result())
        return Measured(seconds, time.perf_counter() - began)


def in_turns(works: Mapping[str, Callable[[], Result]], rounds: int) -> dict[str, list[Result]]:
    """The results of each work, done A B A B, so that other load on the machine affects all of them."""
    results: dict[str, list[Result]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            results[name].append(work())
    return results


def merged(parts: Sequence[Measured]) -> Measured:
    """Several loads, one after the other, as one."""
    return Measured(
        tuple(seconds for one in parts for seconds in one.seconds), sum(one.took_seconds for one in parts)
    )


def timed(work: Callable[[], object]) -> float:
    """The seconds that `work` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that `percent` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * int(percent) // 100) - 1)]
