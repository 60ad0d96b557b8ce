"""Runs that another process of the same database does, here another registry."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlmodel import select

from api.editor import run_sharing, shared_runs
from api.editor.models import SharedRun
from api.editor.owners import ProjectOwner
from api.editor.run import Run
from api.editor.run_states import RunState, RunStatus
from api.editor.runs import Done, Runs
from api.errors import NotFound
from ml.backend import Progress
from tests.api.editor.test_runs import OWNER, PROJECT, STEP, at_once, ended, until_stopped
from tests.support.apps import LocalApi, local_api


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalApi]:
    monkeypatch.setattr(run_sharing, "SHARED_AFTER_SECONDS", 0.0)
    monkeypatch.setattr(run_sharing, "WISHES_EVERY_SECONDS", 0.05)
    monkeypatch.setattr(run_sharing, "NEWS_EVERY_SECONDS", 0.02)
    with local_api(tmp_path) as opened:
        yield opened


def rows(api: LocalApi) -> list[SharedRun]:
    with api.services.database.transaction() as session:
        return list(session.exec(select(SharedRun)))


async def follow(registry: Runs, run: Run, seen: int = -1, owner: ProjectOwner = OWNER) -> RunState:
    return await registry.follow(owner, PROJECT, run.id, seen, 10)


def test_a_run_is_followed_and_cancelled_elsewhere(api: LocalApi) -> None:
    async def main() -> None:
        here, elsewhere = Runs(api.services), Runs(api.services)
        run = here.start(OWNER, PROJECT, "a", "crop", until_stopped, is_billed=True)
        first = await follow(elsewhere, run)
        assert (first.status, first.id, first.tool) == (RunStatus.QUEUED, run.id, "crop")
        run.progressed(Progress("inference", 0.5, 0))
        second = await follow(elsewhere, run, first.version)
        assert (second.status, second.stage, second.fraction) == (RunStatus.RUNNING, "inference", 0.5)
        following = asyncio.create_task(follow(elsewhere, run, second.version))
        await elsewhere.cancel(OWNER, PROJECT, run.id)
        assert (await following).status is RunStatus.CANCELLED
        assert run.status is RunStatus.CANCELLED

    api.call(main)


def test_a_result_and_a_failure_are_seen_elsewhere(api: LocalApi) -> None:
    async def fail(_: Run) -> Done:
        await asyncio.sleep(0.1)
        raise NotFound("No such image.")

    async def succeed(_: Run) -> Done:
        await asyncio.sleep(0.1)
        return Done(STEP, 1)

    async def main() -> None:
        here, elsewhere = Runs(api.services), Runs(api.services)
        for key, work, status in (("a", succeed, RunStatus.DONE), ("b", fail, RunStatus.FAILED)):
            run = here.start(OWNER, PROJECT, key, "crop", work, is_billed=True)
            state = await follow(elsewhere, run)
            while not state.has_ended:
                state = await follow(elsewhere, run, state.version)
            assert state == run.state() or state.status is status
            assert (state.step_id, state.credits_charged) == ((STEP.id, 1) if work is succeed else (None, 0))
            assert (state.error or {}).get("code") == (None if work is succeed else "NOT_FOUND")

    api.call(main)


def test_a_run_is_found_by_its_key_unless_it_may_be_retried(api: LocalApi) -> None:
    def known(key: str) -> RunState | None:
        with api.services.database.transaction() as session:
            return shared_runs.of_key(session, PROJECT.id, key, api.services.clock())

    async def main() -> None:
        here, elsewhere = Runs(api.services), Runs(api.services)
        run = here.start(OWNER, PROJECT, "a", "crop", until_stopped, is_billed=True)
        await follow(elsewhere, run)
        assert known("a") is not None
        assert known("b") is None
        run.cancel()
        await ended(run)
        while (await follow(elsewhere, run)).status is not RunStatus.CANCELLED:
            pass
        assert known("a") is None

    api.call(main)


def test_others_cannot_follow_or_cancel_it(api: LocalApi) -> None:
    async def main() -> None:
        here, elsewhere = Runs(api.services), Runs(api.services)
        run = here.start(OWNER, PROJECT, "a", "crop", until_stopped, is_billed=True)
        await follow(elsewhere, run)
        for registry in (here, elsewhere):
            with pytest.raises(NotFound):
                await follow(registry, run, owner=ProjectOwner("acc_2"))
            with pytest.raises(NotFound):
                await registry.cancel(ProjectOwner("acc_2"), PROJECT, run.id)
        assert not run.is_stopped
        run.cancel()
        await ended(run)

    api.call(main)


def test_the_run_of_a_process_that_died_is_unknown(api: LocalApi) -> None:
    async def main() -> None:
        here, elsewhere = Runs(api.services), Runs(api.services)
        run = here.start(OWNER, PROJECT, "a", "crop", until_stopped, is_billed=True)
        await follow(elsewhere, run)
        api.clock.move(seconds=30)
        # This process is not dead and would write again; the clock is ahead of its last time only now.
        with api.services.database.transaction() as session:
            now = api.services.clock()
            assert shared_runs.find(session, OWNER.name, PROJECT.id, run.id, now) is None
            assert shared_runs.of_key(session, PROJECT.id, "a", now) is None
            assert shared_runs.active_of(session, PROJECT.id, now) is None
            assert shared_runs.count_active(session, PROJECT.id, now, except_ids=set()) == 0
        run.cancel()
        await ended(run)

    api.call(main)


def test_active_runs_count_once(api: LocalApi) -> None:
    async def main() -> None:
        here, elsewhere = Runs(api.services), Runs(api.services)
        run = here.start(OWNER, PROJECT, "a", "crop", until_stopped, is_billed=True)
        await follow(elsewhere, run)
        with api.services.database.transaction() as session:
            now = api.services.clock()
            ids = here.ids_of(PROJECT)
            assert shared_runs.count_active(session, PROJECT.id, now, except_ids=ids) == 0
            ids = elsewhere.ids_of(PROJECT)
            assert shared_runs.count_active(session, PROJECT.id, now, except_ids=ids) == 1
            active = shared_runs.active_of(session, PROJECT.id, now)
            assert active is not None
            assert active.id == run.id
        run.cancel()
        await ended(run)

    api.call(main)


def test_a_browser_elsewhere_keeps_an_unbilled_run(api: LocalApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.editor.run.UNWATCHED_SECONDS", 3.0)

    async def main() -> None:
        here, elsewhere = Runs(api.services), Runs(api.services)
        run = here.start(OWNER, PROJECT, "watched", "crop", until_stopped, is_billed=False)
        left = here.start(OWNER, PROJECT, "left", "crop", until_stopped, is_billed=False)
        while not left.has_ended:
            api.clock.move(milliseconds=1)  # so that each time of watching differs
            await elsewhere.follow(OWNER, PROJECT, run.id, run.version, 0.1)
        assert left.status is RunStatus.CANCELLED
        assert not run.has_ended
        await ended(run)
        assert run.status is RunStatus.CANCELLED

    api.call(main)


def test_runs_that_are_done_at_once_leave_no_row(api: LocalApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_sharing, "SHARED_AFTER_SECONDS", 5.0)

    async def main() -> None:
        here = Runs(api.services)
        run = here.start(OWNER, PROJECT, "a", "crop", at_once, is_billed=True)
        await ended(run)
        await api.services.running.settle_all(5)

    api.call(main)
    assert rows(api) == []


def test_rows_are_deleted_some_time_after_their_run(api: LocalApi) -> None:
    async def main() -> None:
        here = Runs(api.services)
        run = here.start(OWNER, PROJECT, "a", "crop", until_stopped, is_billed=True)
        await asyncio.sleep(0.1)
        run.cancel()
        await ended(run)
        await api.services.running.settle_all(5)

    api.call(main)
    (row,) = rows(api)
    assert row.status == "cancelled"
    for minutes, left in ((10, 1), (10, 0)):
        api.clock.move(minutes=minutes)
        with api.services.database.transaction() as session:
            shared_runs.delete_expired(session, api.services.clock(), limit=10)
        assert len(rows(api)) == left
