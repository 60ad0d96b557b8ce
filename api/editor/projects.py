"""Projects and their steps: create, find, navigate, delete.

Functions take a session and `now`, and never commit. Another owner's project is not found.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlmodel import Session, col, delete, func, select, update

from api.editor.layers import Layers, columns_of, image_ids_of
from api.editor.models import Project, Step
from api.editor.owners import ProjectOwner
from api.errors import InvalidParameter, NotFound
from api.images.models import Image
from billing.identifiers import new_id

#: The limit of steps per project.
STEPS_MAX = 500
#: The limit of undrawn looks per project: clicking through colours must not use up its steps.
LOOKS_MAX = 100
_LISTED = 24
_NAME_LENGTH_MAX = 200
_NO_SUCH_PROJECT = "No such project: it may have expired or been deleted."
_GRACE = timedelta(hours=1)


@dataclass(frozen=True)
class NewStep:
    """A step to be added; its image is stored already."""

    image_id: str
    width: int
    height: int
    format: str
    tool: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    answer: Mapping[str, Any] = field(default_factory=dict)
    parent_id: str | None = None
    is_mask: bool = False
    run_key: str | None = None
    layers: Layers | None = None
    is_rendered: bool = True


def open_project(
    session: Session,
    owner: ProjectOwner,
    first: NewStep,
    *,
    name: str,
    sample: str | None,
    now: datetime,
    retention: timedelta,
) -> tuple[Project, Step]:
    """Create a project whose first step is the opened image."""
    project = Project(
        id=new_id("prj"),
        account_id=owner.account_id,
        session_id=owner.session_id,
        name=_shown_name(name),
        sample=sample,
        current_step_id=new_id("stp"),
        created_at=now,
        used_at=now,
        expires_at=now + retention + _GRACE,
    )
    session.add(project)
    session.flush()
    step = _row(project.id, project.current_step_id, 0, first, now)
    session.add(step)
    session.flush()
    return project, step


def find(session: Session, owner: ProjectOwner, project_id: str, now: datetime) -> Project:
    """The owner's project. Raises `NotFound` if it does not exist, has expired or is another owner's."""
    is_current = (Project.id == project_id, col(Project.expires_at) > now)
    project = session.exec(select(Project).where(*is_current, owner.owns())).one_or_none()
    if project is None:
        raise NotFound(_NO_SUCH_PROJECT)
    return project


def listed(session: Session, owner: ProjectOwner, now: datetime) -> list[tuple[Project, Step]]:
    """The owner's projects with their current steps, most recently used first."""
    statement = (
        select(Project, Step)
        .join(Step, col(Step.id) == col(Project.current_step_id))
        .join(Image, col(Image.id) == col(Step.image_id))
        .where(owner.owns(), col(Project.expires_at) > now, col(Image.expires_at) > now)
        .order_by(col(Project.used_at).desc(), col(Project.id))
        .limit(_LISTED)
    )
    return list(session.exec(statement))


def steps_of(session: Session, project: Project) -> list[Step]:
    """The project's steps, oldest first."""
    return list(session.exec(select(Step).where(Step.project_id == project.id).order_by(col(Step.number))))


def step_of(session: Session, project: Project, step_id: str) -> Step:
    """A step of the project. Raises `NotFound` for other steps."""
    step = session.get(Step, step_id)
    if step is None or step.project_id != project.id:
        raise NotFound("No such step in this project.")
    return step


def step_of_run(session: Session, project: Project, run_key: str) -> Step | None:
    """The step of an earlier run under this key, so that a repeated request creates none."""
    return session.exec(
        select(Step).where(Step.project_id == project.id, Step.run_key == run_key)
    ).one_or_none()


def stored_images(session: Session, steps: list[Step], now: datetime) -> set[str]:
    """The ids of the steps' images that are still stored."""
    ids = [step.image_id for step in steps]
    return set(session.exec(select(Image.id).where(col(Image.id).in_(ids), col(Image.expires_at) > now)))


def lock(session: Session, project: Project) -> Project:
    """The project's current row, locked until the transaction ends, so that step numbers are unique.

    Raises `NotFound` if it was deleted meanwhile.
    """
    # Without `key_share`, PostgreSQL would wait for every transaction that inserts a step of it.
    statement = select(Project).where(Project.id == project.id).with_for_update(key_share=True)
    locked = session.exec(statement.execution_options(populate_existing=True)).one_or_none()
    if locked is None:
        raise NotFound(_NO_SUCH_PROJECT)
    return locked


def count_steps(session: Session, project: Project) -> int:
    return session.exec(select(func.count()).where(Step.project_id == project.id)).one()


def require_room(steps: int) -> None:
    """Raises `InvalidParameter` if a project cannot take another step; `steps` includes those of active runs.

    Call it before a run is admitted, because a charged result is always added.
    """
    if steps >= STEPS_MAX:
        raise InvalidParameter("project", f"A project has at most {STEPS_MAX} steps; start a new one.")


def add_step(
    session: Session, project: Project, new_step: NewStep, now: datetime, retention: timedelta
) -> Step:
    """Add a step to a project from `lock`. It becomes the current one unless it is a mask."""
    highest = session.exec(select(func.max(Step.number)).where(Step.project_id == project.id)).one()
    number = 0 if highest is None else highest + 1
    step = _row(project.id, new_id("stp"), number, new_step, now)
    session.add(step)
    touch(project, now, retention)
    if not new_step.is_mask:
        project.current_step_id = step.id
    session.add(project)
    session.flush()
    return step


def record_rendering(session: Session, step: Step, image: NewStep) -> bool:
    """Let a step show its look, drawn at full size. False if that was recorded already.

    The step is one of a project from `lock`.
    """
    if step.is_rendered:
        return False
    step.image_id, step.format = image.image_id, image.format
    step.width, step.height = image.width, image.height
    step.is_rendered = True
    session.add(step)
    session.flush()
    return True


def remove_oldest_look(session: Session, project: Project) -> str | None:
    """Delete the oldest of more than `LOOKS_MAX` looks that were never drawn; its id, if there is one.

    The steps made from it become children of its parent, so that the history stays connected.
    """
    looks = [
        step
        for step in steps_of(session, project)
        if not step.is_rendered and step.run_key is None and step.id != project.current_step_id
    ]
    if len(looks) < LOOKS_MAX:
        return None
    oldest = looks[0]
    children = update(Step).where(col(Step.project_id) == project.id, col(Step.parent_id) == oldest.id)
    session.execute(children.values(parent_id=oldest.parent_id))
    session.delete(oldest)
    session.flush()
    return oldest.id


def set_current_step(
    session: Session, project: Project, step_id: str, now: datetime, retention: timedelta
) -> None:
    """Make any step the current one (undo, redo). Raises `NotFound`; `InvalidParameter` for a mask."""
    step = step_of(session, project, step_id)
    if step.is_mask:
        raise InvalidParameter("stepId", "A mask cannot be the current step.")
    project.current_step_id = step.id
    touch(project, now, retention)
    session.add(project)


def touch(project: Project, now: datetime, retention: timedelta) -> None:
    project.used_at = now
    project.expires_at = max(project.expires_at, now + retention + _GRACE)


def delete_project(session: Session, project: Project) -> list[str]:
    """Delete the project and its steps; returns the ids of their images, which the caller deletes."""
    image_ids = list(session.execute(image_ids_of(col(Step.project_id) == project.id)).scalars())
    _delete(session, [project.id])
    return image_ids


def delete_of_account(session: Session, account_id: str, _now: datetime) -> None:
    """Delete all projects of an account that is deleted. Its images are deleted elsewhere."""
    _delete(session, list(session.exec(select(Project.id).where(Project.account_id == account_id))))


def delete_expired(session: Session, now: datetime, *, limit: int) -> int:
    """Delete up to `limit` expired projects; returns the number deleted. Images expire separately."""
    expired = select(Project.id).where(col(Project.expires_at) <= now).limit(limit)
    project_ids = list(session.exec(expired))
    _delete(session, project_ids)
    return len(project_ids)


def _delete(session: Session, project_ids: list[str]) -> None:
    session.execute(delete(Step).where(col(Step.project_id).in_(project_ids)))
    session.execute(delete(Project).where(col(Project.id).in_(project_ids)))


def _row(project_id: str, step_id: str, number: int, new_step: NewStep, now: datetime) -> Step:
    return Step(
        id=step_id,
        project_id=project_id,
        parent_id=new_step.parent_id,
        number=number,
        tool=new_step.tool,
        params=json.dumps(dict(new_step.params)),
        answer=json.dumps(dict(new_step.answer)),
        image_id=new_step.image_id,
        width=new_step.width,
        height=new_step.height,
        format=new_step.format,
        is_mask=new_step.is_mask,
        run_key=new_step.run_key,
        created_at=now,
        is_rendered=new_step.is_rendered,
        **columns_of(new_step.layers),
    )


def _shown_name(name: str) -> str:
    """A file name without folders and unprintable characters, for display. Never used as a path."""
    last = name.replace("\\", "/").rpartition("/")[2]
    return "".join(letter for letter in last if letter.isprintable())[:_NAME_LENGTH_MAX] or "picture"
