"""A row in every table of the editor, for tests that copy or migrate whole databases."""

from datetime import datetime, timedelta

from sqlmodel import Session

from api.editor import projects
from api.editor.owners import ProjectOwner
from api.editor.projects import NewStep
from billing.identifiers import new_id


def edit(session: Session, account_id: str, now: datetime) -> None:
    """A project of the account, with what one tool made."""
    life = timedelta(hours=24)
    opened = NewStep(new_id("img"), 60, 40, "jpg")
    project, first = projects.open_project(
        session, ProjectOwner(account_id), opened, name="a.jpg", sample=None, now=now, retention=life
    )
    made = NewStep(new_id("img"), 30, 40, "png", tool="crop", params={"width": "30"}, parent_id=first.id)
    projects.add_step(session, project, made, now, life)
