"""Work that several ask for at the same moment, done once."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Runs one task a name; who asks meanwhile waits for the same one. Nothing is kept after it ended."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[T]] = {}
        self._waiting: dict[asyncio.Task[T], int] = {}

    async def do(self, name: str, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What the running task of this name, else a new one of `work`, returns or raises.

        It goes on for the others when one who waits is cancelled, and is cancelled with the last one.
        """
        task = self._tasks.get(name)
        if task is None:
            task = self._tasks[name] = asyncio.create_task(work())
            self._waiting[task] = 0
            task.add_done_callback(lambda ended: self._ended(name, ended))
        self._waiting[task] += 1
        try:
            return await asyncio.shield(task)
        finally:
            self._left(name, task)

    def _left(self, name: str, task: asyncio.Task[T]) -> None:
        self._waiting[task] -= 1
        if self._waiting[task]:
            return
        del self._waiting[task]
        if not task.done():
            # Whoever asks from now on begins anew instead of joining work that is being cancelled.
            del self._tasks[name]
            task.cancel()

    def _ended(self, name: str, task: asyncio.Task[T]) -> None:
        if self._tasks.get(name) is task:
            del self._tasks[name]
        if not task.cancelled():
            task.exception()  # Retrieved here, because all who waited may be gone.
