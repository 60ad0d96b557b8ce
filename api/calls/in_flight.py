"""This process's running work: billed calls, editor runs, uploads being stored and previews being rendered.

Work runs in its own task, so that a broken connection cannot interrupt it, and a shutdown waits for all of
it. What happens when nobody waits for the result any more depends on the work:

- A billed call is withdrawn if it is still queued. Once it has started it is finished, charged and kept for
  the retry, unless the caller asked to stop it.
- Work that several callers share, such as rendering a preview, is cancelled.
- Other unbilled work is stopped by its own code: `api.editor.runs` stops a run that no browser polls.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

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

    @property
    def expected_seconds(self) -> float | None:
        """See `Ticket`; None before the backend has accepted the call too."""
        return None if self._ticket is None else self._ticket.expected_seconds

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
    """Whether one caller still waits for its answer.

    `leaving_cancels`: the caller's protocol has no other way to cancel than to disconnect.
    """

    def __init__(self, *, leaving_cancels: bool = False) -> None:
        self._leaving_cancels = leaving_cancels
        self._call: InFlightCall | None = None
        self._is_stopped = False
        self.has_left = False

    def wait_for(self, call: InFlightCall) -> None:
        self._call = call
        call.waiting += 1
        if self.has_left:
            call.remove_waiter(stop=self._is_stopped)

    def leave(self) -> None:
        """The caller disconnected. Unless that cancels, work that has started is finished and charged."""
        self._end(stop=self._leaving_cancels)

    def stop(self) -> bool:
        """The caller cancelled: work that has started is stopped, and its hold released.

        Returns whether the call ends soon. It may still succeed, because its work was done already. False: it
        has not been admitted, or goes on for other callers.
        """
        self._end(stop=True)
        return self._call is not None and self._call.waiting == 0

    def _end(self, *, stop: bool) -> None:
        if self.has_left:
            return
        self.has_left = True
        self._is_stopped = stop
        if self._call is not None:
            self._call.remove_waiter(stop=stop)


class _SharedTask(Generic[T]):
    """Work that several callers wait for."""

    def __init__(self, task: asyncio.Task[T]) -> None:
        self.task = task
        self.waiting = 0


class RunningWork:
    """The registry of this process's running work.

    Admission bounds it: the accounts' concurrency limits and `api.calls.unbilled_admission`.
    """

    def __init__(self) -> None:
        self._calls: dict[str, InFlightCall] = {}
        self._shared: dict[str, _SharedTask[Any]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run `work` in a task that does not end with its caller."""
        return self._create_task(work, _log_unforeseen_error)

    async def share(self, name: str, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of the running work of this name, else of new `work`. Results are not cached.

        The work continues while anyone waits for it, and is cancelled with its last waiter.
        """
        shared = self._shared.get(name)
        if shared is None:
            # Its waiters report its errors.
            shared = self._shared[name] = _SharedTask(self._create_task(work(), lambda _error: None))
            shared.task.add_done_callback(lambda _task: self._remove_shared(name, shared))
        shared.waiting += 1
        try:
            return await asyncio.shield(shared.task)
        finally:
            shared.waiting -= 1
            if shared.waiting == 0 and not shared.task.done():
                # Later callers start new work instead of waiting for work that is being cancelled.
                self._remove_shared(name, shared)
                shared.task.cancel()

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
        """Let all work finish within `grace_seconds`, then cancel the rest and release its holds."""
        if not self._tasks:
            return
        log.info("waiting for running work", tasks=len(self._tasks))
        _, late = await asyncio.wait(self._tasks, timeout=grace_seconds)
        for call in self._calls.values():
            call.cancel()
        if late:
            # Cancelling makes a worker's call fail within 5 s; settling that failure is one transaction.
            _, stuck = await asyncio.wait(late, timeout=10)
            for task in stuck:
                task.cancel()

    def _create_task(
        self, work: Coroutine[Any, Any, T], on_error: Callable[[BaseException], None]
    ) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)

        def ended(task: asyncio.Task[T]) -> None:
            self._tasks.discard(task)
            # Reading the error also keeps asyncio from warning that nobody did.
            if not task.cancelled() and (error := task.exception()) is not None:
                on_error(error)

        task.add_done_callback(ended)
        return task

    def _remove_shared(self, name: str, shared: _SharedTask[Any]) -> None:
        if self._shared.get(name) is shared:
            del self._shared[name]


def _log_unforeseen_error(error: BaseException) -> None:
    """The caller may have disconnected, and then nothing else would report the error."""
    if isinstance(error, CallFailed):
        error = error.error
    if isinstance(error, Exception) and status_and_code(error)[0] == 500:
        log.error("a call failed", exc_info=error)
