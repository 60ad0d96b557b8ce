"""Waiting in tests for a condition, instead of sleeping for a guessed time."""

import asyncio
import time
from collections.abc import Callable

#: How long a test waits before it fails; never a measure of speed.
PATIENCE_SECONDS = 180.0


def wait_until(condition: Callable[[], bool], *, every_seconds: float = 0.02) -> None:
    """Polls `condition` until it holds. Fails the test after PATIENCE_SECONDS."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"{condition} did not hold within {PATIENCE_SECONDS:.0f} s"
        time.sleep(every_seconds)


async def run_ready_tasks() -> None:
    """Lets the other tasks of this event loop run until each of them waits for something.

    Only for tasks that wait for each other and for events, not for threads, sockets or timers.
    """
    for _ in range(100):
        await asyncio.sleep(0)
