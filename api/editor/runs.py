"""Runs: tools applied to steps in the background, while the browser polls their progress.

A run is in the memory of the process that does its work, and in a row by which other processes show and
cancel it (`run_sharing`). Its result is a step in the database, stored under the run's key: a browser that
starts the same run again gets that step and is charged once.
"""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from api.editor.models import Project, Step
from api.editor.owners import ProjectOwner
from api.editor.run import Run, RunFailed
from api.editor.run_sharing import RunSharing
from api.editor.run_states import RunState, RunStatus
from api.errors import RateLimited, status_and_code
from api.services import Services
from ml.errors import Overloaded

#: How long ended runs are remembered, and how many per owner and in total.
_KEPT_SECONDS = 600.0
_KEPT_OF_OWNER = 64
_KEPT = 4096
#: The limit of active runs in this process.
_AT_ONCE = 1000

log = structlog.get_logger()


@dataclass(frozen=True)
class Done:
    """The result of a run."""

    step: Step
    credits_charged: int


RunWork = Callable[[Run], Awaitable[Done]]


class Runs:
    """The runs that browsers poll in this process, including those that ended in the last ten minutes.

    The work itself is in the registry of running work, `Services.running`, and leaves it when it ends.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._sharing = RunSharing(services)
        self._runs: dict[str, Run] = {}
        self._by_key: dict[tuple[str, str], Run] = {}  # by project and key, the newest
        self._active: Counter[tuple[str, ...]] = Counter()
        self._ended: OrderedDict[str, float] = OrderedDict()  # end times by the loop's clock, oldest first
        self._ended_of: dict[str, deque[str]] = {}

    async def follow(
        self, owner: ProjectOwner, project: Project, run_id: str, seen: int, timeout_seconds: float
    ) -> RunState:
        """A run of the project, once its version is newer than `seen` or it has ended, or after the timeout.

        Raises `NotFound`, also for another owner's.
        """
        run = self._find(owner, project, run_id)
        if run is None:
            return await self._sharing.follow(owner, project, run_id, seen, timeout_seconds)
        with run.watched():
            await run.changed_since(seen, timeout_seconds)
        return run.state()

    async def cancel(self, owner: ProjectOwner, project: Project, run_id: str) -> RunState:
        """Stop the work of a run at its next step, in whichever process. Raises `NotFound`."""
        run = self._find(owner, project, run_id)
        if run is not None:
            run.cancel()
            return run.state()
        return await self._sharing.cancel(owner, project, run_id)

    def _find(self, owner: ProjectOwner, project: Project, run_id: str) -> Run | None:
        run = self._runs.get(run_id)
        if run is None or run.owner.name != owner.name or run.project_id != project.id:
            return None
        return run

    def of_key(self, project: Project, key: str) -> Run | None:
        """The run that was started with this key. None if it failed or was cancelled: it may be retried."""
        run = self._by_key.get((project.id, key))
        is_over = run is None or run.status in (RunStatus.FAILED, RunStatus.CANCELLED)
        return None if is_over else run

    def active_in(self, project: Project) -> int:
        """The number of runs that may still add a step to the project."""
        return self._active["project", project.id]

    def ids_of(self, project: Project) -> set[str]:
        """The ids of this process's runs of the project."""
        return {run.id for run in self._runs.values() if run.project_id == project.id}

    def active_of(self, project_id: str) -> Run | None:
        """The newest run that may still add a step to the project."""
        if not self._active["project", project_id]:
            return None
        runs = reversed(self._runs.values())
        return next((run for run in runs if run.project_id == project_id and not run.has_ended), None)

    def ended(self, owner: ProjectOwner, project: Project, step: Step) -> Run:
        """An ended run for `step`, whose own run this process does not know any more."""
        run = Run(owner, project.id, step.run_key or "", step.tool or "", is_billed=True)
        self._remember(run)
        run.done(step.id, 0)
        self._record_end(run)
        return run

    def start(
        self, owner: ProjectOwner, project: Project, key: str, tool: str, work: RunWork, *, is_billed: bool
    ) -> Run:
        """Start `work(run)`. The caller has admitted unbilled work by `api.calls.unbilled_admission`.

        Raises `RateLimited` if the owner has as many active billed runs as its plan allows calls at once,
        `Overloaded` if this process has too many runs.
        """
        if is_billed and self._active["billed", owner.name] >= owner.concurrent_calls:
            raise RateLimited(f"Your plan runs {owner.concurrent_calls} calls at once; wait for one.", 1)
        if self._active["all",] >= _AT_ONCE:
            raise Overloaded("The editor is busy.", 5)
        run = Run(owner, project.id, key, tool, is_billed)
        self._remember(run)
        self._active.update(_counters_of(run))
        run.expect_watcher()
        self._services.running.start(self._watch(run, work))
        self._services.running.start(self._sharing.share(run))
        return run

    def cancel_all(self, project_id: str) -> None:
        """Cancel the runs of a project that is deleted: nobody could get their results."""
        for run in [run for run in self._runs.values() if run.project_id == project_id]:
            run.cancel()

    async def _watch(self, run: Run, work: RunWork) -> None:
        try:
            done = await work(run)
            run.done(done.step.id, done.credits_charged)
        except Exception as error:
            if status_and_code(error)[0] == 500 and not isinstance(error, RunFailed):
                log.exception("a run failed", run_id=run.id, project_id=run.project_id)
            run.failed(error)
        finally:
            self._active -= Counter(_counters_of(run))
            self._record_end(run)

    def _remember(self, run: Run) -> None:
        self._runs[run.id] = run
        self._by_key[run.project_id, run.key] = run

    def _record_end(self, run: Run) -> None:
        now = asyncio.get_running_loop().time()
        self._ended[run.id] = now
        ended_ids = self._ended_of.setdefault(run.owner.name, deque())
        ended_ids.append(run.id)
        if len(ended_ids) > _KEPT_OF_OWNER:
            self._forget(ended_ids[0])
        while len(self._ended) > _KEPT or next(iter(self._ended.values())) < now - _KEPT_SECONDS:
            self._forget(next(iter(self._ended)))

    def _forget(self, run_id: str) -> None:
        del self._ended[run_id]
        run = self._runs.pop(run_id)
        if self._by_key.get((run.project_id, run.key)) is run:
            del self._by_key[run.project_id, run.key]
        ended_ids = self._ended_of[run.owner.name]
        ended_ids.remove(run_id)
        if not ended_ids:
            del self._ended_of[run.owner.name]


def _counters_of(run: Run) -> list[tuple[str, ...]]:
    billed = [("billed", run.owner.name)] if run.is_billed else []
    return [("all",), ("project", run.project_id), *billed]
