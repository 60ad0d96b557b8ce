"""A bounded load: a fixed number of calls by a fixed number of callers, and what they saw."""

import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Measured:
    calls: int
    failures: int
    per_second: float
    p50_seconds: float
    p95_seconds: float


def run(call: Callable[[int], bool], *, callers: int, calls: int) -> Measured:
    """`callers` threads share `calls` calls; `call(i)` says whether call i succeeded."""
    seconds: list[float] = []
    failures = 0
    lock = threading.Lock()
    remaining = iter(range(calls))

    def work() -> None:
        nonlocal failures
        while True:
            with lock:
                number = next(remaining, None)
            if number is None:
                return
            began = time.perf_counter()
            succeeded = call(number)
            took = time.perf_counter() - began
            with lock:
                seconds.append(took)
                failures += not succeeded

    threads = [threading.Thread(target=work) for _ in range(callers)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    whole = time.perf_counter() - began
    return Measured(calls, failures, calls / whole, statistics.median(seconds), percentile(seconds, 95))


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that `percent` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * int(percent) // 100) - 1)]
