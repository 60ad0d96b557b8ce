"""Runs: a tool applied to a step, going on while the browser asks how far it is.

A run lives in this process. What it makes is a step in the database, found again under the run's key: a
browser that asks for the same run once more gets that step, and pays nothing twice.
"""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import structlog

from api import bodies
from api.editor.models import Project, Step
from api.editor.owners import Owner
from api.errors import NotFound, RateLimited, status_and_code
from api.services import Services
from billing.identifiers import new_id
from ml.backend import Progress
from ml.errors import Cancelled

_KEPT_SECONDS = 600.0
_AT_ONCE = 1000

log = structlog.get_logger()


class RunStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


_ENDED = frozenset({RunStatus.DONE, RunStatus.FAILED, RunStatus.CANCELLED})


class RunFailed(Exception):
    """What the call answered instead of a picture: the error part of its body."""

    def __init__(self, status: int, error: Mapping[str, Any]) -> None:
        super().__init__(error.get("message"))
        self.status = status
        self.error = dict(error)


@dataclass(eq=False)
class Run:
    """One run as the browser sees it. `version` grows with every change."""

    owner: Owner
    project_id: str
    key: str
    id: str = field(default_factory=lambda: new_id("run"))
    status: RunStatus = RunStatus.QUEUED
    stage: str = ""
    fraction: float = 0.0
    queue_position: int = 0
    version: int = 0
    step_id: str | None = None
    error: dict[str, Any] | None = None
    credits_charged: int = 0
    #: Asks the work to stop; set by whoever does it.
    stop: Callable[[], None] | None = None
    is_stopped: bool = False
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def has_ended(self) -> bool:
        return self.status in _ENDED

    def cancel(self) -> None:
        """The work stops at its next step. Nothing happens to a run that has ended."""
        if self.has_ended or self.is_stopped:
            return
        self.is_stopped = True
        if self.stop is not None:
            self.stop()

    def progressed(self, progress: Progress) -> None:
        if self.has_ended:
            return
        self.status = RunStatus.QUEUED if progress.queue_position else RunStatus.RUNNING
        self.stage, self.queue_position = progress.stage, progress.queue_position
        self.fraction = max(self.fraction, progress.fraction)
        self._tell()

    def done(self, step_id: str, credits_charged: int) -> None:
        self.status, self.fraction = RunStatus.DONE, 1.0
        self.step_id, self.credits_charged = step_id, credits_charged
        self._tell()

    def failed(self, raised: Exception) -> None:
        if isinstance(raised, Cancelled) and self.is_stopped:
            self.status = RunStatus.CANCELLED
        else:
            self.status = RunStatus.FAILED
            self.error = _told(raised)
        self._tell()

    async def changed_since(self, version: int, patience_seconds: float) -> None:
        """Returns when there is something newer than `version`, or after `patience_seconds`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_seconds):
                while self.version <= version and not self.has_ended:
                    await self._changed.wait()

    def _tell(self) -> None:
        self.version += 1
        self._changed.set()
        self._changed = asyncio.Event()


@dataclass(frozen=True)
class Done:
    """What the work of a run came to."""

    step: Step
    credits_charged: int


WorkOf = Callable[[Run], Awaitable[Done]]


class Runs:
    """This process's runs; those that ended are remembered for ten minutes."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._runs: dict[str, Run] = {}

    def find(self, owner: Owner, project: Project, run_id: str) -> Run:
        """Raises `NotFound`, for another owner's too."""
        run = self._runs.get(run_id)
        if run is None or run.owner.name != owner.name or run.project_id != project.id:
            raise NotFound("No such run: look at the project's steps.")
        return run

    def of_key(self, project: Project, key: str) -> Run | None:
        """The run that this key started before. One that failed may be tried again under its key."""
        for run in self._runs.values():
            is_over = run.status in (RunStatus.FAILED, RunStatus.CANCELLED)
            if run.project_id == project.id and run.key == key and not is_over:
                return run
        return None

    def ended(self, owner: Owner, project: Project, step: Step) -> Run:
        """The run that made `step`, after this process forgot it."""
        run = Run(owner, project.id, step.run_key or "")
        self._remember(run)
        run.done(step.id, 0)
        self._forget_later(run)
        return run

    def start(self, owner: Owner, project: Project, key: str, work: WorkOf) -> Run:
        """Begin `work(run)`, which returns what it made. Raises `RateLimited` if far too much is going on."""
        if len(self._runs) >= _AT_ONCE:
            raise RateLimited("The editor is busy.", 5)
        run = Run(owner, project.id, key)
        self._remember(run)
        self._services.running.start(self._watch(run, work))
        return run

    async def _watch(self, run: Run, work: WorkOf) -> None:
        try:
            done = await work(run)
            run.done(done.step.id, done.credits_charged)
        except Exception as error:
            if status_and_code(error)[0] == 500 and not isinstance(error, RunFailed):
                log.exception("a run failed", run_id=run.id, project_id=run.project_id)
            run.failed(error)
        finally:
            self._forget_later(run)

    def _remember(self, run: Run) -> None:
        self._runs[run.id] = run

    def _forget_later(self, run: Run) -> None:
        asyncio.get_running_loop().call_later(_KEPT_SECONDS, self._runs.pop, run.id, None)


def _told(raised: Exception) -> dict[str, Any]:
    """The error part of the API's bodies, with its status."""
    if isinstance(raised, RunFailed):
        return {**raised.error, "status": raised.status}
    status, body = bodies.failure(raised, "")
    return {**json.loads(body)["error"], "status": status}
