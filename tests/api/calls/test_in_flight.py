"""The registry of running work: shared work, and what a shutdown waits for."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from api.calls.in_flight import RunningWork
from tests.support.waiting import run_ready_tasks


def _slow(gate: asyncio.Event, ends: list[str]) -> Callable[[], Coroutine[Any, Any, bytes]]:
    async def work() -> bytes:
        try:
            await gate.wait()
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise
        ends.append("done")
        return b"made"

    return work


def test_shared_work_goes_on_until_the_last_who_waits_has_left() -> None:
    async def main() -> None:
        running, gate = RunningWork(), asyncio.Event()
        ends: list[str] = []
        first, second = (asyncio.create_task(running.share("a", _slow(gate, ends))) for _ in range(2))
        await run_ready_tasks()
        first.cancel()
        await run_ready_tasks()
        assert ends == []
        second.cancel()
        await run_ready_tasks()
        assert ends == ["cancelled"]
        again = asyncio.create_task(running.share("a", _slow(gate, ends)))
        gate.set()
        assert await again == b"made"
        assert ends == ["cancelled", "done"]
        assert (running._tasks, running._shared) == (set(), {})

    asyncio.run(main())


def test_shared_work_that_begins_while_its_forerunner_is_cancelled_is_its_own() -> None:
    async def main() -> None:
        running, gate = RunningWork(), asyncio.Event()
        ends: list[str] = []
        first = asyncio.create_task(running.share("a", _slow(gate, ends)))
        await run_ready_tasks()
        first.cancel()
        second = asyncio.create_task(running.share("a", _slow(gate, ends)))
        await run_ready_tasks()
        gate.set()
        assert await second == b"made"

    asyncio.run(main())


def test_a_shutdown_waits_for_shared_work() -> None:
    async def main() -> None:
        running, gate = RunningWork(), asyncio.Event()
        ends: list[str] = []
        done = asyncio.create_task(running.share("a", _slow(gate, ends)))
        await run_ready_tasks()
        shutdown = asyncio.create_task(running.settle_all(grace_seconds=60))
        await run_ready_tasks()
        assert not shutdown.done()
        gate.set()
        await shutdown
        assert (await done, ends) == (b"made", ["done"])

    asyncio.run(main())
