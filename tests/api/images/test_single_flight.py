"""Shared work runs once, as long as one caller waits for it."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from api.images.single_flight import SingleFlight
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


def test_shared_work_continues_until_the_last_waiter_leaves() -> None:
    async def main() -> None:
        shared, gate = SingleFlight[bytes](), asyncio.Event()
        ends: list[str] = []
        first, second = (asyncio.create_task(shared.do("a", _slow(gate, ends))) for _ in range(2))
        await run_ready_tasks()
        first.cancel()
        await run_ready_tasks()
        assert ends == []
        second.cancel()
        await run_ready_tasks()
        assert ends == ["cancelled"]
        again = asyncio.create_task(shared.do("a", _slow(gate, ends)))
        gate.set()
        assert await again == b"made"
        assert ends == ["cancelled", "done"]
        assert (shared._tasks, shared._waiting) == ({}, {})

    asyncio.run(main())


def test_work_started_while_a_previous_flight_is_cancelled_is_independent() -> None:
    async def main() -> None:
        shared, gate = SingleFlight[bytes](), asyncio.Event()
        ends: list[str] = []
        first = asyncio.create_task(shared.do("a", _slow(gate, ends)))
        await run_ready_tasks()
        first.cancel()
        second = asyncio.create_task(shared.do("a", _slow(gate, ends)))
        await run_ready_tasks()
        gate.set()
        assert await second == b"made"

    asyncio.run(main())
