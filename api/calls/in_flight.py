"""This process's running calls, and the callers that wait for each of them.

A call runs in its own task, so that a broken connection can neither interrupt it nor leave its hold open.
When nobody waits for a call any more, it is withdrawn if it is still queued. Work that has started is
finished, charged and kept for the retry, unless the caller asked to stop it.
"""

import asyncio
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog

from api.calls.account_status import AccountStatus
from api.calls.types import CallFailed, CallResult
from api.errors import status_and_code
from ml.backend import Ticket, ToolAnswer

T = TypeVar("T")
log = structlog.get_logger()


@dataclass(frozen=True)
class CompletedCall:
    """A call that succeeded. `body` is its stored JSON body, and `data` is the `data` in it."""

    data: Mapping[str, Any]
    body: bytes
    image_id: str
    picture: ToolAnswer
    credits_remaining: int

    def result(self, replay_id: str, account_status: AccountStatus, *, is_replay: bool) -> CallResult:
        return CallResult(
            200,
            self.data,
            None,
            self.body,
            account_status,
            replay_id,
            self.image_id,
            is_replay,
            self.picture,
        )


class InFlightCall:
    """A call of this process that holds a credit."""

    def __init__(self, replay_id: str, hold_id: str) -> None:
        self.replay_id = replay_id
        self.hold_id = hold_id
        self.result: asyncio.Future[CompletedCall] = asyncio.get_running_loop().create_future()
        self.waiting = 0
        self._ticket: Ticket | None = None
        self._is_stopped = False

    def succeeded(self, completed: CompletedCall) -> None:
        self.result.set_result(completed)

    def failed(self, error: Exception) -> None:
        self.result.set_exception(error)
        self.result.exception()  # Retrieve it so that asyncio does not warn.

    def submitted(self, ticket: Ticket) -> None:
        """The backend has accepted the call; withdraw it if nobody waits for it any more."""
        self._ticket = ticket
        if self.waiting == 0:
            self._withdraw()

    def remove_waiter(self, *, stop: bool = False) -> None:
        """`stop`: also stop running work, provided that nobody else waits for it."""
        self.waiting -= 1
        if self.waiting == 0:
            self._is_stopped = stop
            self._withdraw()

    def cancel(self) -> None:
        """Stop the work even if callers still wait for it."""
        if self._ticket is not None:
            self._ticket.cancel()

    def _withdraw(self) -> None:
        if self._ticket is None:
            return
        if self._is_stopped:
            self._ticket.cancel()
        else:
            self._ticket.drop_if_queued()


class CallWaiter:
    """Whether one caller still waits for its answer."""

    def __init__(self) -> None:
        self._call: InFlightCall | None = None
        self.has_left = False

    def wait_for(self, call: InFlightCall) -> None:
        self._call = call
        call.waiting += 1
        if self.has_left:
            call.remove_waiter()

    def leave(self) -> None:
        """The caller disconnected: work that has started is still finished and charged."""
        self._end(stop=False)

    def stop(self) -> None:
        """The caller cancelled: work that has started is stopped, and its hold released."""
        self._end(stop=True)

    def _end(self, *, stop: bool) -> None:
        if self.has_left:
            return
        self.has_left = True
        if self._call is not None:
            self._call.remove_waiter(stop=stop)


class InFlightCalls:
    """The registry of this process's running work, which a shutdown waits for.

    The accounts' concurrency limits bound the number of calls in it.
    """

    def __init__(self) -> None:
        self._calls: dict[str, InFlightCall] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run `work` in a task that does not end with its caller."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)
        return task

    def add(self, call: InFlightCall) -> None:
        self._calls[call.replay_id] = call

    def remove(self, call: InFlightCall) -> None:
        self._calls.pop(call.replay_id, None)

    def find(self, replay_id: str) -> InFlightCall | None:
        return self._calls.get(replay_id)

    def hold_ids(self) -> list[str]:
        """The open holds whose leases this process renews."""
        return [call.hold_id for call in self._calls.values()]

    def cancel_work(self, lost_hold_ids: set[str]) -> None:
        """Stop work that can no longer be charged because its hold was lost."""
        for call in self._calls.values():
            if call.hold_id in lost_hold_ids:
                call.cancel()

    async def settle_all(self, grace_seconds: float) -> None:
        """Let running work finish within `grace_seconds`, then cancel the rest and release its holds."""
        if not self._tasks:
            return
        log.info("waiting for running calls", calls=len(self._tasks))
        _, late = await asyncio.wait(self._tasks, timeout=grace_seconds)
        for call in self._calls.values():
            call.cancel()
        if late:
            # Cancelling makes a worker's call fail within 5 s; settling that failure is one transaction.
            _, stuck = await asyncio.wait(late, timeout=10)
            for task in stuck:
                task.cancel()

    def _task_ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, CallFailed):
            error = error.error
        if isinstance(error, Exception) and status_and_code(error)[0] == 500:
            # The caller may have disconnected, and then nothing else would report the error.
            log.error("a call failed", exc_info=error)
