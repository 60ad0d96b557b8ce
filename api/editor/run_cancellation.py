"""Cancels a run by its key, for a browser that does not know whether the server has received the run.

The request that starts the run may be received later, or by another process at this moment. Therefore the
key is refused first: the account's replay row keeps a billed call from being admitted, and the shared row
keeps any run from being started and an unbilled one from adding its step. Only then the run is looked for.
"""

from sqlmodel import Session

from api import response_bodies
from api.calls import admission
from api.calls.admission import KeyState
from api.calls.execution import CREDITS_PER_CALL
from api.editor import projects, run_names, shared_runs
from api.editor.models import Project, Step
from api.editor.owners import ProjectOwner
from api.editor.run_states import RunState
from api.editor.runs import Runs
from api.errors import IdempotencyInProgress
from api.services import Services
from billing.identifiers import new_id
from ml.errors import Cancelled

_RETRY_SECONDS = 1


async def is_known(services: Services, runs: Runs, project: Project, key: str) -> bool:
    """Whether a run with this key has been started, or cancelled."""
    if runs.of_key(project, key) is not None:
        return True

    def is_stored(session: Session) -> bool:
        step = projects.step_of_run(session, project, key)
        return step is not None or shared_runs.has_key(session, project.id, key)

    return await services.database.read(is_stored)


async def cancel(services: Services, runs: Runs, owner: ProjectOwner, project: Project, key: str) -> RunState:
    """The state of the run with this key: being stopped, cancelled, or done if it was done before.

    A cancelled run is not charged, even if the request that starts it arrives later. One that is done
    without a step was charged, and the request that started it leads to its result. Raises
    `IdempotencyInProgress` if the run's call cannot be reached yet: repeat the request.
    """
    key_state = KeyState.REFUSED if owner.is_guest else await _refuse_call(services, owner, project, key)

    def refuse(session: Session) -> Step | RunState | None:
        locked = projects.lock(session, project)
        step = projects.step_of_run(session, locked, key)
        if key_state is KeyState.CHARGED:  # maybe since it was refused: its step may still have to be added
            shared_runs.allow(session, project.id, key)
            return step
        if step is not None:
            return step
        return shared_runs.refuse(session, project.id, key, owner.name, services.clock())

    shared = await services.database.run(refuse)
    run = runs.of_key(project, key)
    if run is not None:
        run.cancel()
        return run.state()
    if not isinstance(shared, RunState):
        charged = CREDITS_PER_CALL if key_state is KeyState.CHARGED else 0
        step_id, tool = (None, None) if shared is None else (shared.id, shared.tool)
        return RunState.done(new_id("run"), tool or "", step_id, charged)
    if shared.has_ended and key_state is KeyState.RUNNING:
        raise IdempotencyInProgress("The run is being stopped.", _RETRY_SECONDS)
    return shared


async def _refuse_call(services: Services, owner: ProjectOwner, project: Project, key: str) -> KeyState:
    _, body = response_bodies.failure(Cancelled("The run was cancelled."), new_id("req"))

    def refuse(session: Session) -> KeyState:
        return admission.refuse_key(
            session,
            account_id=owner.account_id,
            idempotency_key=run_names.idempotency_key(project.id, key),
            body=body,
            now=services.clock(),
        )

    return await services.database.run(refuse)
