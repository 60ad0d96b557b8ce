"""Shares this process's editor runs with others, and follows and cancels theirs; see `shared_runs`."""

import asyncio
from datetime import datetime

import structlog
from sqlmodel import Session

from api.editor import shared_runs
from api.editor.models import Project
from api.editor.owners import ProjectOwner
from api.editor.run import Run
from api.editor.run_states import RunState, RunStatus
from api.editor.shared_runs import Wishes
from api.errors import NotFound, ServiceUnavailable
from api.services import Services

#: A run that is done sooner is not shared: other processes find its step by its key.
SHARED_AFTER_SECONDS = 0.3
#: How often a process asks what browsers at other processes want of a run.
WISHES_EVERY_SECONDS = 1.0
#: How often a process looks for news of another's run, and how long for one that is not shared yet.
NEWS_EVERY_SECONDS = 0.3
UNSHARED_SECONDS = 1.0
_NO_SUCH_RUN = "No such run. Its result may be among the project's steps."

log = structlog.get_logger()


class RunSharing:
    """For one event loop."""

    def __init__(self, services: Services) -> None:
        self._database = services.database
        self._clock = services.clock

    async def share(self, run: Run) -> None:
        """Let other processes see the run until it has ended, and do what their browsers want of it."""
        await run.ended_within(SHARED_AFTER_SECONDS)
        if run.status is RunStatus.DONE:
            return
        watched_at: datetime | None = None
        time = asyncio.get_running_loop().time
        written_version, written_at = -1, time()
        while True:
            state = run.state()
            is_due = time() >= written_at + shared_runs.WRITE_EVERY_SECONDS
            try:
                if state.version != written_version or is_due:
                    wishes = await self._write(run, state)
                    written_version, written_at = state.version, time()
                else:
                    wishes = await self._read_wishes(run)
            except ServiceUnavailable:
                log.warning("a run could not be shared", run_id=run.id)
            else:
                if wishes.stop:
                    run.cancel()
                if wishes.watched_at != watched_at:
                    watched_at = wishes.watched_at
                    run.expect_watcher()
            if state.has_ended:
                return
            await run.ended_within(WISHES_EVERY_SECONDS)

    async def _write(self, run: Run, state: RunState) -> Wishes:
        now = self._clock()
        return await self._database.run(lambda session: shared_runs.write(session, run.identity, state, now))

    async def _read_wishes(self, run: Run) -> Wishes:
        return await self._database.read(lambda session: shared_runs.wishes_of(session, run.identity))

    async def follow(
        self, owner: ProjectOwner, project: Project, run_id: str, seen: int, timeout_seconds: float
    ) -> RunState:
        """Another process's run; see `Runs.follow`. Raises `NotFound`."""
        time = asyncio.get_running_loop().time
        began = time()
        is_noted = False
        while True:
            state = await self._find(owner, project, run_id)
            if state is None:
                if is_noted or time() >= began + UNSHARED_SECONDS:
                    raise NotFound(_NO_SUCH_RUN)
            elif state.version > seen or state.has_ended or time() >= began + timeout_seconds:
                return state
            elif not is_noted:
                await self._note_watcher(run_id)
                is_noted = True
            await asyncio.sleep(NEWS_EVERY_SECONDS)

    async def cancel(self, owner: ProjectOwner, project: Project, run_id: str) -> RunState:
        """Let another process stop its run. Raises `NotFound`."""
        state = await self._find(owner, project, run_id)
        if state is None:
            raise NotFound(_NO_SUCH_RUN)
        await self._database.run(lambda session: shared_runs.want_stop(session, run_id))
        return state

    async def _find(self, owner: ProjectOwner, project: Project, run_id: str) -> RunState | None:
        now = self._clock()
        return await self._database.read(
            lambda session: shared_runs.find(session, owner.name, project.id, run_id, now)
        )

    async def _note_watcher(self, run_id: str) -> None:
        now = self._clock()

        def note(session: Session) -> None:
            shared_runs.note_watcher(session, run_id, now)

        await self._database.run(note)
