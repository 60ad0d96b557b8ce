"""Editor runs as the other processes see them.

A run is in the memory of the process that does its work (`runs`). That process writes it to a row now and
then, so that a browser whose next request reaches another process can follow and cancel it there. A row that
has not been written for some time belongs to a process that died: its run counts as unknown, and the browser
starts it again under the same key, unless it was cancelled: a row whose stop is wanted refuses its key.
"""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlmodel import Session, col, delete, select

from api.editor.models import SharedRun
from api.editor.run_states import ENDED, RunState, RunStatus
from billing.identifiers import new_id

#: A process writes its active runs at least so often, and counts as dead after the other time.
WRITE_EVERY_SECONDS = 5.0
_PRESUMED_DEAD = timedelta(seconds=20)
#: How long the rows of ended runs are kept.
_KEPT = timedelta(minutes=15)


@dataclass(frozen=True)
class RunIdentity:
    """What of a run never changes. `owner`: see `ProjectOwner.name`."""

    run_id: str
    project_id: str
    key: str
    owner: str
    tool: str


@dataclass(frozen=True)
class Wishes:
    """What browsers at other processes want of a run. `watched_at`: when one asked for it last."""

    stop: bool
    watched_at: datetime | None


def write(session: Session, identity: RunIdentity, state: RunState, now: datetime) -> Wishes:
    """Write the run's current state; answers what other processes have written meanwhile."""
    row = session.get(SharedRun, identity.run_id)
    if row is None:
        row = SharedRun(
            id=identity.run_id,
            project_id=identity.project_id,
            key=identity.key,
            owner=identity.owner,
            tool=identity.tool,
            status=state.status.value,
            state="",
            written_at=now,
        )
    row.status = state.status.value
    row.state = json.dumps(state.as_data())
    row.written_at = now
    session.add(row)
    return wishes_of(session, identity)


def wishes_of(session: Session, identity: RunIdentity) -> Wishes:
    row = session.get(SharedRun, identity.run_id)
    stop = is_refused(session, identity.project_id, identity.key)
    return Wishes(stop, None if row is None else row.watched_at)


def find(session: Session, owner: str, project_id: str, run_id: str, now: datetime) -> RunState | None:
    """The run of another process, if it is known and that process lives."""
    row = session.get(SharedRun, run_id)
    if row is None or row.owner != owner or row.project_id != project_id:
        return None
    return _state(row, now)


def of_key(session: Session, project_id: str, key: str, now: datetime) -> RunState | None:
    """The newest run with this key; a cancelled one if the key is refused.

    None if the run failed or was stopped, but not by its user: it may be retried.
    """
    rows = session.exec(_of_key(project_id, key).order_by(col(SharedRun.written_at).desc())).all()
    state = next((found for row in rows if (found := _state(row, now)) is not None), None)
    if state is not None and state.status not in (RunStatus.FAILED, RunStatus.CANCELLED):
        return state
    refused = next((row for row in rows if row.is_stop_wanted), None)
    return None if refused is None else RunState.cancelled(refused.id, refused.tool)


def active_of(session: Session, project_id: str, now: datetime) -> RunState | None:
    """The newest run that may still add a step to the project."""
    rows = _active(project_id, now).order_by(col(SharedRun.written_at).desc()).limit(1)
    row = session.exec(rows).first()
    return None if row is None else _state(row, now)


def count_active(session: Session, project_id: str, now: datetime, *, except_ids: set[str]) -> int:
    """The number of runs that may still add a step to the project, without those with `except_ids`."""
    return sum(row.id not in except_ids for row in session.exec(_active(project_id, now)))


def note_watcher(session: Session, run_id: str, now: datetime) -> None:
    """A browser follows the run here."""
    row = session.get(SharedRun, run_id)
    if row is not None:
        row.watched_at = now
        session.add(row)


def want_stop(session: Session, run_id: str) -> None:
    """Let the run's process stop it."""
    row = session.get(SharedRun, run_id)
    if row is not None:
        row.is_stop_wanted = True
        session.add(row)


def refuse(session: Session, project_id: str, key: str, owner: str, now: datetime) -> RunState:
    """Stop the run with this key and start none any more; returns its state, or that of a cancelled one.

    The project must be locked, so that a step under this key is added before this or not at all.
    """
    rows = session.exec(_of_key(project_id, key)).all()
    for row in rows:
        row.is_stop_wanted = True
        session.add(row)
    if not rows:
        state = RunState.cancelled(new_id("run"), tool="")
        row = SharedRun(
            id=state.id,
            project_id=project_id,
            key=key,
            owner=owner,
            tool=state.tool,
            status=state.status.value,
            state=json.dumps(state.as_data()),
            is_stop_wanted=True,
            written_at=now,
        )
        session.add(row)
    session.flush()
    state_now = of_key(session, project_id, key, now)
    assert state_now is not None
    return state_now


def allow(session: Session, project_id: str, key: str) -> None:
    """Take back `refuse`."""
    for row in session.exec(_of_key(project_id, key)):
        row.is_stop_wanted = False
        session.add(row)


def has_key(session: Session, project_id: str, key: str) -> bool:
    """Whether a run with this key has been shared, or refused."""
    return session.exec(_of_key(project_id, key).limit(1)).first() is not None


def is_refused(session: Session, project_id: str, key: str) -> bool:
    """Whether the user has cancelled the run with this key."""
    wanted = _of_key(project_id, key).where(col(SharedRun.is_stop_wanted).is_(True))
    return session.exec(wanted.limit(1)).first() is not None


def want_stop_of_project(session: Session, project_id: str) -> None:
    for row in session.exec(select(SharedRun).where(SharedRun.project_id == project_id)):
        row.is_stop_wanted = True
        session.add(row)


def delete_expired(session: Session, now: datetime, *, limit: int) -> int:
    """Delete up to `limit` rows that nobody asks for any more; returns their number."""
    ids = session.exec(select(SharedRun.id).where(SharedRun.written_at <= now - _KEPT).limit(limit)).all()
    session.execute(delete(SharedRun).where(col(SharedRun.id).in_(ids)))
    return len(ids)


def _of_key(project_id: str, key: str) -> Any:
    return select(SharedRun).where(SharedRun.project_id == project_id, SharedRun.key == key)


def _active(project_id: str, now: datetime) -> Any:
    return select(SharedRun).where(
        SharedRun.project_id == project_id,
        col(SharedRun.status).not_in([status.value for status in ENDED]),
        SharedRun.written_at > now - _PRESUMED_DEAD,
    )


def _state(row: SharedRun, now: datetime) -> RunState | None:
    state = RunState.of_data(row.id, row.tool, json.loads(row.state))
    is_known = state.has_ended or row.written_at > now - _PRESUMED_DEAD
    return state if is_known else None
