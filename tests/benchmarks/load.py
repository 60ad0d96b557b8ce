"""Bounded loads: a fixed number of calls by a fixed number of callers, and what they saw."""

import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
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
    seconds: list[float] = []
    failures: list[BaseException] = []
    lock = threading.Lock()
    remaining = iter(range(calls))

    def work() -> None:
        while True:
            with lock:
                number = next(remaining, None)
            if number is None or failures:
                return
            began = time.perf_counter()
            try:
                call(number)
            except BaseException as error:
                failures.append(error)
                raise
            took = time.perf_counter() - began
            with lock:
                seconds.append(took)

    threads = [threading.Thread(target=work) for _ in range(callers)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took_seconds = time.perf_counter() - began
    if failures:
        raise failures[0]
    return Measured(tuple(seconds), took_seconds)


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
