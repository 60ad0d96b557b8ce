"""One run of the editor, in the memory of the process that does its work."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from api import response_bodies
from api.editor.owners import ProjectOwner
from api.editor.run_states import ENDED, RunState, RunStatus
from api.editor.shared_runs import RunIdentity
from api.errors import status_and_code
from api.memberships import roles
from billing.identifiers import new_id
from ml.backend import Progress
from ml.errors import Cancelled

#: An unbilled run that no browser has polled for this long is stopped.
UNWATCHED_SECONDS = 60.0


class RunFailed(Exception):
    """The call was answered with a stored error. `error` is the `error` object of its body."""

    def __init__(self, status: int, error: Mapping[str, Any]) -> None:
        super().__init__(error.get("message"))
        self.status = status
        self.error = dict(error)


@dataclass(eq=False)
class Run:
    """One run as the browser sees it. `version` grows with every change."""

    owner: ProjectOwner
    project_id: str
    key: str
    tool: str
    is_billed: bool
    id: str = field(default_factory=lambda: new_id("run"))
    status: RunStatus = RunStatus.QUEUED
    stage: str = ""
    fraction: float = 0.0
    queue_position: int = 0
    version: int = 0
    step_id: str | None = None
    error: dict[str, Any] | None = None
    credits_charged: int = 0
    #: How long the work is expected to take once it runs; None if that is unknown.
    expected_seconds: float | None = None
    _began_at: float | None = None  # by the loop's clock
    #: Stops the work; set once it has begun.
    stop: Callable[[], object] | None = None
    is_stopped: bool = False
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _watchers: int = 0
    _unwatched: asyncio.TimerHandle | None = None

    @property
    def has_ended(self) -> bool:
        return self.status in ENDED

    @property
    def identity(self) -> RunIdentity:
        return RunIdentity(self.id, self.project_id, self.key, self.owner.name, self.tool)

    def state(self) -> RunState:
        return RunState(
            id=self.id,
            tool=self.tool,
            status=self.status,
            stage=self.stage,
            fraction=self.fraction,
            queue_position=self.queue_position,
            version=self.version,
            step_id=self.step_id,
            error=self.error,
            credits_charged=self.credits_charged,
            expected_seconds=self.expected_seconds,
            elapsed_seconds=self.elapsed_seconds,
        )

    @property
    def elapsed_seconds(self) -> float:
        """Seconds since the work left the queue."""
        return 0.0 if self._began_at is None else asyncio.get_running_loop().time() - self._began_at

    def cancel(self) -> None:
        """Stop the work at its next step. Does nothing if the run has ended."""
        if self.has_ended or self.is_stopped:
            return
        self.is_stopped = True
        if self.stop is not None:
            self.stop()

    def progressed(self, progress: Progress) -> None:
        if self.has_ended:
            return
        self.status = RunStatus.QUEUED if progress.queue_position else RunStatus.RUNNING
        if self.status is RunStatus.RUNNING and self._began_at is None:
            self._began_at = asyncio.get_running_loop().time()
        self.stage, self.queue_position = progress.stage, progress.queue_position
        self.fraction = max(self.fraction, progress.fraction)
        self._notify()

    def done(self, step_id: str, credits_charged: int) -> None:
        self.status, self.fraction = RunStatus.DONE, 1.0
        self.step_id, self.credits_charged = step_id, credits_charged
        self._notify()

    def failed(self, raised: Exception) -> None:
        if isinstance(raised, Cancelled) and self.is_stopped:
            self.status = RunStatus.CANCELLED
        else:
            self.status = RunStatus.FAILED
            is_of_member = self.owner.person_id is not None
            self.error = _error_data(roles.as_told_to_member(raised) if is_of_member else raised)
        self._notify()

    async def ended_within(self, timeout_seconds: float) -> None:
        """Wait for the end of the run, for at most `timeout_seconds`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                while not self.has_ended:
                    await self._changed.wait()

    async def changed_since(self, version: int, timeout_seconds: float) -> None:
        """Wait for a version newer than `version`, or the end of the run, for at most `timeout_seconds`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                while self.version <= version and not self.has_ended:
                    await self._changed.wait()

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Count a browser that waits for changes. An unbilled run is stopped some time after the last one."""
        self._watchers += 1
        self._stop_timer()
        try:
            yield
        finally:
            self._watchers -= 1
            self.expect_watcher()

    def expect_watcher(self) -> None:
        """Stop an unbilled run unless a browser polls it soon."""
        self._stop_timer()
        if not (self.is_billed or self._watchers or self.has_ended):
            self._unwatched = asyncio.get_running_loop().call_later(UNWATCHED_SECONDS, self.cancel)

    def _stop_timer(self) -> None:
        if self._unwatched is not None:
            self._unwatched.cancel()
            self._unwatched = None

    def _notify(self) -> None:
        if self.has_ended:
            self._stop_timer()
        self.version += 1
        self._changed.set()
        self._changed = asyncio.Event()


def _error_data(raised: Exception) -> dict[str, Any]:
    """The `error` object of the API's bodies, with the HTTP status added."""
    if isinstance(raised, RunFailed):
        return {**raised.error, "status": raised.status}
    return {**response_bodies.error_fields(raised), "status": status_and_code(raised)[0]}
