"""Cancelling a run by its key, wherever it is and whenever its request arrives. Registries are processes."""

from datetime import timedelta

import pytest
from sqlmodel import Session

from api.calls import admission
from api.editor import run_cancellation, run_names, run_service, run_sharing, shared_runs
from api.editor.models import Project
from api.editor.owners import ProjectOwner
from api.editor.run import Run
from api.editor.run_requests import RunRequest
from api.editor.run_states import RunStatus
from api.editor.runs import Done, Runs
from api.errors import IdempotencyInProgress
from billing.ledger.models import Account
from ml.catalogue import TOOLS
from tests.api.editor.test_runs import STEP, ended, until_stopped
from tests.api.editor.test_shared_runs import api as api
from tests.support import load
from tests.support.apps import LocalApi
from tests.support.builders import make_account


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
    monkeypatch.setattr(run_sharing, "SHARED_AFTER_SECONDS", 0.0 if is_shared else 0.5)

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
