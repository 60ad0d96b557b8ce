"""The idempotency keys of the editor's billed runs, and the pictures that they name.

The call log records no file names. A run's key names its project, which has one, for as long as the answers
of runs are kept for retries.
"""

from collections.abc import Collection

from sqlmodel import Session, col, select

from api.calls.idempotency import RetryKind
from api.calls.models import Replay
from api.editor.models import Project
from billing.ledger.models import Hold

_PREFIX = "editor"
_REQUEST = "request:"


def idempotency_key(project_id: str, run_key: str) -> str:
    """The key of a run's call. Under it a repeated run is a replay."""
    return f"{_PREFIX}:{project_id}:{run_key}"


def picture_names(session: Session, account_id: str, request_ids: Collection[str]) -> dict[str, str]:
    """The names of the pictures that these requests of the account edited, by request, as far as known."""
    references = [f"{_REQUEST}{request_id}" for request_id in request_ids]
    held = session.exec(
        select(Hold.reference, Replay.retry_key)
        .join(Replay, col(Replay.hold_id) == col(Hold.id))
        .where(col(Hold.reference).in_(references), col(Replay.account_id) == account_id)
    )
    prefix = f"{RetryKind.KEYED}{_PREFIX}:"
    project_ids = {
        reference.removeprefix(_REQUEST): key.removeprefix(prefix).partition(":")[0]
        for reference, key in held
        if key.startswith(prefix)
    }
    # Callers choose their own idempotency keys, so the project must be one of theirs.
    names = dict(
        session.exec(
            select(Project.id, Project.name).where(
                col(Project.id).in_(set(project_ids.values())), col(Project.account_id) == account_id
            )
        ).all()
    )
    return {request: names[project] for request, project in project_ids.items() if project in names}
