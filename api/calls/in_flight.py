"""The calls that this process runs at the moment, and who waits for each.

A call runs in a task of its own: a connection that breaks can neither stop it half-way nor leave its hold
open. When nobody waits for a call any more it is withdrawn if no worker has begun it; work that has begun is
finished, charged and kept for the retry, unless the one who waited asked to stop it.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog

from api.errors import status_and_code
from ml.backend import Ticket, ToolAnswer

T = TypeVar("T")
log = structlog.get_logger()


@dataclass(frozen=True)
class CompletedCall:
    """A call that succeeded: its kept body, and the picture itself while this process has it at hand."""

    body: bytes
    image_id: str
    picture: ToolAnswer
    credits_remaining: int


class InFlightCall:
    """A call of this process that holds a credit."""

    def __init__(self, replay_id: str, hold_id: str) -> None:
        self.replay_id = replay_id
        self.hold_id = hold_id
        self.result: asyncio.Future[CompletedCall] = asyncio.get_running_loop().create_future()
        self.waiting = 0
        self._ticket: Ticket | None = None
        self._is_stopped = False

    def succeeded(self, finished: CompletedCall) -> None:
        self.result.set_result(finished)

    def failed(self, error: Exception) -> None:
        self.result.set_exception(error)
        self.result.exception()  # Looked at here, because often nobody joined.

    def submitted(self, ticket: Ticket) -> None:
        """The backend has it; who left in the meantime is heard now."""
        self._ticket = ticket
        if self.waiting == 0:
            self._give_up()

    def one_left(self, *, stop: bool = False) -> None:
        """`stop`: and wants it stopped half-way too, which happens if nobody else waits for it."""
        self.waiting -= 1
        if self.waiting == 0:
            self._is_stopped = stop
            self._give_up()

    def cancel(self) -> None:
        """Stop the work, whoever waits."""
        if self._ticket is not None:
            self._ticket.cancel()

    def _give_up(self) -> None:
        if self._ticket is None:
            return
        if self._is_stopped:
            self._ticket.cancel()
        else:
            self._ticket.drop_if_queued()


class CallWaiter:
    """Whether the one who asked still waits for the answer."""

    def __init__(self) -> None:
        self._call: InFlightCall | None = None
        self.has_left = False

    def wait_for(self, call: InFlightCall) -> None:
        self._call = call
        call.waiting += 1
        if self.has_left:
            call.one_left()

    def leave(self) -> None:
        """Gone: work that has begun is finished and charged all the same."""
        self._end(stop=False)

    def stop(self) -> None:
        """Does not want it any more: work that has begun is stopped, and its hold released."""
        self._end(stop=True)

    def _end(self, *, stop: bool) -> None:
        if self.has_left:
            return
        self.has_left = True
        if self._call is not None:
            self._call.one_left(stop=stop)


class InFlightCalls:
    """One process's running calls. How many there are is bounded by the accounts' concurrency limits."""

    def __init__(self) -> None:
        self._calls: dict[str, InFlightCall] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run `work` to its end, whoever waits for it."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def add(self, call: InFlightCall) -> None:
        self._calls[call.replay_id] = call

    def remove(self, call: InFlightCall) -> None:
        self._calls.pop(call.replay_id, None)

    def find(self, replay_id: str) -> InFlightCall | None:
        return self._calls.get(replay_id)

    def hold_ids(self) -> list[str]:
        """The open holds whose leases this process has to keep alive."""
        return [call.hold_id for call in self._calls.values()]

    def cancel_work(self, lost_hold_ids: set[str]) -> None:
        """Stop work that can no longer be charged, because its hold was lost."""
        for call in self._calls.values():
            if call.hold_id in lost_hold_ids:
                call.cancel()

    async def settle_all(self, patience_seconds: float) -> None:
        """Let every call finish for `patience_seconds`, then stop the rest; their holds are released."""
        if not self._tasks:
            return
        log.info("waiting for running calls", calls=len(self._tasks))
        _, late = await asyncio.wait(self._tasks, timeout=patience_seconds)
        for call in self._calls.values():
            call.cancel()
        if late:
            # Cancelling makes a worker's call fail within 5 s; settling that failure is one transaction.
            _, stuck = await asyncio.wait(late, timeout=10)
            for task in stuck:
                task.cancel()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception) and status_and_code(error)[0] == 500:
            # The one who asked may be gone, and then nobody else would ever learn of it.
            log.error("a call failed", exc_info=error)
