"""Runs concurrent requests for the same work once."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Runs one task per name and shares its result with all who request it meanwhile. Caches nothing."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[T]] = {}
        self._waiting: dict[asyncio.Task[T], int] = {}

    async def do(self, name: str, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of the running task of this name, else of a new task of `work`.

        The task continues while anyone waits for it, and is cancelled with its last waiter.
        """
        task = self._tasks.get(name)
        if task is None:
            task = self._tasks[name] = asyncio.create_task(work())
            self._waiting[task] = 0
            task.add_done_callback(lambda done: self._task_ended(name, done))
        self._waiting[task] += 1
        try:
            return await asyncio.shield(task)
        finally:
            self._remove_waiter(name, task)

    def _remove_waiter(self, name: str, task: asyncio.Task[T]) -> None:
        self._waiting[task] -= 1
        if self._waiting[task]:
            return
        del self._waiting[task]
        if not task.done():
            # Later requests start a new task instead of joining one that is being cancelled.
            del self._tasks[name]
            task.cancel()

    def _task_ended(self, name: str, task: asyncio.Task[T]) -> None:
        if self._tasks.get(name) is task:
            del self._tasks[name]
        if not task.cancelled():
            task.exception()  # Retrieve it so that asyncio does not warn.
