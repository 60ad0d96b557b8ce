"""Recently used background images, on both databases."""

from datetime import timedelta

from sqlmodel import Session

from api.db.database import Database
from api.editor import backgrounds, projects
from api.editor.layers import Layers
from api.editor.owners import ProjectOwner
from api.editor.projects import NewStep
from api.images.models import Image
from billing.identifiers import new_id
from tests.support.builders import NOON, make_account

LIFE = timedelta(hours=24)


def stored_image(session: Session, account_id: str, *, life: timedelta = LIFE) -> str:
    image = Image(
        id=new_id("img"),
        account_id=account_id,
        kind="upload",
        format="png",
        width=30,
        height=20,
        size_bytes=100,
        sha256="0" * 64,
        created_at=NOON,
        expires_at=NOON + life,
    )
    session.add(image)
    session.flush()
    return image.id


def test_the_last_used_backgrounds_are_listed_once_while_they_are_stored(database: Database) -> None:
    with database.transaction() as session:
        owner = ProjectOwner(make_account(session).id)
        other = ProjectOwner(make_account(session).id)
        first = NewStep(stored_image(session, owner.account_id), 30, 20, "png")
        project, _ = projects.open_project(
            session, owner, first, name="a.png", sample=None, now=NOON, retention=LIFE
        )
        used = [stored_image(session, owner.account_id) for _ in range(10)]
        gone = stored_image(session, owner.account_id, life=timedelta(seconds=-1))
        foreign = stored_image(session, other.account_id)
        for number, image_id in enumerate([used[3], gone, foreign, *used]):
            layers = Layers(first.image_id, first.image_id, 30, 20, {"bg_image_id": image_id})
            step = NewStep(first.image_id, 30, 20, "png", tool="bg-removal", layers=layers)
            projects.add_step(session, project, step, NOON + timedelta(seconds=number), LIFE)
        assert backgrounds.recent(session, owner, NOON) == used[::-1][:8]
        assert backgrounds.recent(session, other, NOON) == []
