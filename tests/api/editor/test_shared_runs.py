"""Runs that another process of the same database does, here another registry."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlmodel import Session, select

from api.calls import admission
from api.editor import run_cancellation, run_names, run_service, runs, shared_runs
from api.editor.models import Project, SharedRun
from api.editor.owners import ProjectOwner
from api.editor.run_requests import RunRequest
from api.editor.run_states import RunState, RunStatus
from api.editor.runs import Done, Run, Runs
from api.errors import IdempotencyInProgress, NotFound
from billing.ledger.models import Account
from ml.backend import Progress
from ml.catalogue import TOOLS
from tests.api.editor.test_runs import OWNER, PROJECT, STEP, at_once, ended, until_stopped
from tests.support import load
from tests.support.apps import LocalApi, local_api
from tests.support.builders import make_account


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalApi]:
    monkeypatch.setattr(runs, "_SHARED_AFTER_SECONDS", 0.0)
    monkeypatch.setattr(runs, "_WISHES_EVERY_SECONDS", 0.05)
    monkeypatch.setattr(runs, "_NEWS_EVERY_SECONDS", 0.02)
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


def stored_project(api: LocalApi) -> tuple[ProjectOwner, Project]:
    """A new account's project that the database has."""
    with api.services.database.transaction() as session:
        account = make_account(session, credits=3, now=api.clock())
        project = Project(
            id="prj_stored",
            account_id=account.id,
            name="a",
            current_step_id="stp_1",
            created_at=api.clock(),
            used_at=api.clock(),
            expires_at=api.clock() + timedelta(hours=1),
        )
        session.add(project)
        return ProjectOwner(account.id), project


@pytest.mark.parametrize("is_shared", [True, False])
def test_a_run_is_cancelled_by_its_key_elsewhere_and_started_nowhere_again(
    api: LocalApi, monkeypatch: pytest.MonkeyPatch, is_shared: bool
) -> None:
    owner, project = stored_project(api)
    services = api.services
    monkeypatch.setattr(runs, "_SHARED_AFTER_SECONDS", 0.0 if is_shared else 0.5)

    async def main() -> None:
        here, elsewhere = Runs(services), Runs(services)
        run = here.start(owner, project, "a", "crop", until_stopped, is_billed=True)
        if is_shared:
            await elsewhere.follow(owner, project, run.id, -1, 10)
        state = await run_cancellation.cancel(services, elsewhere, owner, project, "a")
        assert (state.id == run.id, state.has_ended) == (is_shared, not is_shared)
        await ended(run)
        assert run.status is RunStatus.CANCELLED
        await services.running.settle_all(5)
        again = await run_cancellation.cancel(services, elsewhere, owner, project, "a")
        assert again.status is RunStatus.CANCELLED
        known = await services.database.read(
            lambda session: shared_runs.of_key(session, project.id, "a", services.clock())
        )
        assert known is not None  # a request that arrives now gets this instead of starting a run
        assert known.status is RunStatus.CANCELLED

    api.call(main)


def test_a_call_that_runs_elsewhere_is_cancelled_once_it_can_be_reached(api: LocalApi) -> None:
    owner, project = stored_project(api)
    services = api.services
    key = run_names.idempotency_key(project.id, "a")

    def admit_call(session: Session) -> admission.AdmissionOutcome:
        return load.admit(session, owner.account_id, key=key, now=services.clock())

    async def main() -> None:
        registry = Runs(services)
        assert isinstance(await services.database.run(admit_call), admission.Admitted)
        with pytest.raises(IdempotencyInProgress):
            await run_cancellation.cancel(services, registry, owner, project, "a")
        api.clock.move(seconds=60)  # the other process has died
        state = await run_cancellation.cancel(services, registry, owner, project, "a")
        assert state.status is RunStatus.CANCELLED
        late = await services.database.run(admit_call)
        assert isinstance(late, admission.Refused)

    api.call(main)
    with services.database.transaction() as session:
        assert session.get_one(Account, owner.account_id).held == 0


def test_a_call_that_was_charged_before_it_could_be_cancelled_leads_to_its_result(api: LocalApi) -> None:
    owner, project = stored_project(api)
    services = api.services
    key, now = run_names.idempotency_key(project.id, "a"), api.clock()

    async def main() -> None:
        registry = Runs(services)
        call = await services.database.run(
            lambda session: load.admitted(session, owner.account_id, key=key, now=now)
        )
        with pytest.raises(IdempotencyInProgress):
            await run_cancellation.cancel(services, registry, owner, project, "a")
        await services.database.run(lambda session: load.succeed(session, call, now=now))
        # Its process died before it added the step.
        state = await run_cancellation.cancel(services, registry, owner, project, "a")
        assert (state.status, state.step_id, state.credits_charged) == (RunStatus.DONE, None, 1)
        with services.database.transaction() as session:
            assert not shared_runs.is_refused(session, project.id, "a")
            assert shared_runs.of_key(session, project.id, "a", now) is None
            assert isinstance(load.admit(session, owner.account_id, key=key, now=now), admission.Replayed)

    api.call(main)


def test_a_request_that_was_admitted_before_its_key_was_refused_does_no_work(api: LocalApi) -> None:
    owner, project = stored_project(api)
    services = api.services
    request = RunRequest(
        project=project,
        source=STEP,
        tool=TOOLS["crop"],
        params=TOOLS["crop"].params(),
        form={},
        file_ids={},
        run_key="a",
        base_url="",
    )

    async def work(run: Run) -> Done:
        return await run_service.execute(services, owner, request, run)

    async def main() -> None:
        here, elsewhere = Runs(services), Runs(services)
        await run_cancellation.cancel(services, elsewhere, owner, project, "a")
        run = here.start(owner, project, "a", "crop", work, is_billed=False)
        await ended(run)
        assert run.status is RunStatus.CANCELLED

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
    monkeypatch.setattr(runs, "_UNWATCHED_SECONDS", 1.0)

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
    monkeypatch.setattr(runs, "_SHARED_AFTER_SECONDS", 5.0)

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
