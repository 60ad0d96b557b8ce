"""Projects, their steps and owners, on both databases. The clock is simulated."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlmodel import Session, col, select

from api.db.database import Database
from api.editor import owners, projects
from api.editor.layers import Layers, image_ids_of, layers_of
from api.editor.models import Project, Step
from api.editor.owners import ProjectOwner
from api.editor.projects import NewStep
from api.errors import InvalidParameter, NotFound
from api.images.models import Image
from billing.identifiers import new_id
from billing.ledger import accounts
from tests.support.builders import NOON, make_account

DAY = timedelta(hours=24)
SECOND = timedelta(seconds=1)


@pytest.fixture
def owner(database: Database) -> ProjectOwner:
    with database.transaction() as session:
        return ProjectOwner(make_account(session).id)


def picture(session: Session, account_id: str, kind: str = "upload") -> NewStep:
    """A stored picture as the step that shows it."""
    image_id = new_id("img")
    session.add(
        Image(
            id=image_id,
            account_id=account_id,
            kind=kind,
            format="png",
            size_bytes=1,
            sha256="",
            created_at=NOON,
            expires_at=NOON + DAY,
        )
    )
    session.flush()
    return NewStep(image_id, 60, 40, "png")


def opened(session: Session, owner: ProjectOwner, name: str = "a.jpg") -> tuple[Project, Step]:
    first = picture(session, owner.account_id)
    return projects.open_project(session, owner, first, name=name, sample=None, now=NOON, retention=DAY)


def made(session: Session, owner: ProjectOwner, project: Project, parent: Step, **facts: object) -> Step:
    found = picture(session, owner.account_id, "result")
    new = NewStep(found.image_id, 60, 40, "png", tool="crop", parent_id=parent.id, **facts)  # type: ignore[arg-type]
    return projects.add_step(session, project, new, NOON, DAY)


def test_steps_are_numbered_and_the_newest_image_is_the_current_step(
    database: Database, owner: ProjectOwner
) -> None:
    with database.transaction() as session:
        project, first = opened(session, owner)
        one = made(session, owner, project, first)
        mask = made(session, owner, project, one, is_mask=True)
        assert [step.number for step in projects.steps_of(session, project)] == [0, 1, 2]
        assert project.current_step_id == one.id
        with pytest.raises(InvalidParameter):
            projects.set_current_step(session, project, mask.id, NOON, DAY)
        projects.set_current_step(session, project, first.id, NOON, DAY)
        assert project.current_step_id == first.id


def test_use_extends_the_life_of_a_project(database: Database, owner: ProjectOwner) -> None:
    with database.transaction() as session:
        project, first = opened(session, owner)
        later = NOON + DAY
        projects.set_current_step(session, project, first.id, later, DAY)
        assert projects.find(session, owner, project.id, later + DAY)
        past = later + DAY + timedelta(hours=2)
        with pytest.raises(NotFound):
            projects.find(session, owner, project.id, past)
        assert projects.delete_expired(session, past, limit=10) == 1
        assert list(session.exec(select(Step))) == []


def test_a_project_is_visible_to_its_owner_only(database: Database, owner: ProjectOwner) -> None:
    with database.transaction() as session:
        guests = accounts.create(session, email=owners.GUESTS_EMAIL, now=NOON).id
        one, other = ProjectOwner(guests, "ses_one"), ProjectOwner(guests, "ses_other")
        strangers = (owner, other, ProjectOwner(guests))
        project, _ = opened(session, one)
        assert projects.find(session, one, project.id, NOON).id == project.id
        for stranger in strangers:
            with pytest.raises(NotFound):
                projects.find(session, stranger, project.id, NOON)
            assert projects.listed(session, stranger, NOON) == []


def test_a_step_of_another_project_is_not_found(database: Database, owner: ProjectOwner) -> None:
    with database.transaction() as session:
        project, _ = opened(session, owner)
        _, elsewhere = opened(session, owner)
        with pytest.raises(NotFound):
            projects.step_of(session, project, elsewhere.id)


def test_signing_up_keeps_the_projects_and_images_of_the_guest(
    database: Database, owner: ProjectOwner
) -> None:
    with database.transaction() as session:
        guests = accounts.create(session, email=owners.GUESTS_EMAIL, now=NOON).id
        guest, other = ProjectOwner(guests, "ses_guest"), ProjectOwner(guests, "ses_other")
        project, first = opened(session, guest)
        step = made(session, guest, project, first)
        left, left_first = opened(session, other)
        owners.adopt(session, "ses_guest", owner.account_id, NOON)
        session.expire_all()
        assert projects.find(session, owner, project.id, NOON)
        for image_id in (first.image_id, step.image_id):
            assert session.get_one(Image, image_id).account_id == owner.account_id
        assert projects.find(session, other, left.id, NOON)
        assert session.get_one(Image, left_first.image_id).account_id == guests
        owners.adopt(session, "ses_nobody", owner.account_id, NOON)


def look(session: Session, owner: ProjectOwner, project: Project, parent: Step, color: str) -> Step:
    layers = Layers("img_cut", parent.image_id, 60, 40, {"bg_color": color})
    new = NewStep(
        "img_cut", 60, 40, "png", "bg-removal", parent_id=parent.id, layers=layers, is_rendered=False
    )
    return projects.add_step(session, project, new, NOON, DAY)


def test_a_look_is_drawn_once(database: Database, owner: ProjectOwner) -> None:
    with database.transaction() as session:
        project, first = opened(session, owner)
        red = look(session, owner, project, first, "red")
        layers = layers_of(red)
        assert layers is not None
        assert (layers.cutout_id, layers.photo_id, layers.look) == (
            "img_cut",
            first.image_id,
            {"bg_color": "red"},
        )
        assert layers_of(first) is None
        drawn = NewStep("img_red", 50, 30, "png")
        assert projects.record_rendering(session, red, drawn)
        assert (red.image_id, red.width, red.is_rendered) == ("img_red", 50, True)
        assert not projects.record_rendering(session, red, NewStep("img_again", 1, 1, "png"))
        assert red.image_id == "img_red"
        # The kept cut-out goes with the project, although no step shows it any more.
        assert set(projects.delete_project(session, project)) == {first.image_id, "img_red", "img_cut"}


def test_the_layers_of_a_crop_go_with_the_project(database: Database, owner: ProjectOwner) -> None:
    with database.transaction() as session:
        project, first = opened(session, owner)
        layers = Layers("img_cut", "img_photo", 60, 40, {"bg_image_id": "img_behind"}, "img_behind")
        new = NewStep("img_cut", 60, 40, "png", "crop", parent_id=first.id, layers=layers, is_rendered=False)
        step = projects.add_step(session, project, new, NOON, DAY)
        assert layers_of(step) == layers
        images = {first.image_id, "img_cut", "img_photo", "img_behind"}
        condition = col(Step.project_id) == project.id
        assert set(session.execute(image_ids_of(condition)).scalars()) == images, "as adoption finds them"
        assert set(projects.delete_project(session, project)) == images


def test_the_oldest_undrawn_look_makes_room_and_the_history_stays_connected(
    database: Database, owner: ProjectOwner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projects, "LOOKS_MAX", 3)
    with database.transaction() as session:
        project, first = opened(session, owner)
        chain = [first]
        for color in ("red", "green", "blue", "white"):
            assert projects.remove_oldest_look(session, project) is None
            chain.append(look(session, owner, project, chain[-1], color))
        # The current look does not count.
        assert projects.remove_oldest_look(session, project) == chain[1].id
        session.expire_all()
        left = projects.steps_of(session, project)
        assert [step.id for step in left] == [step.id for step in (chain[0], *chain[2:])]
        assert chain[2].parent_id == first.id
        projects.record_rendering(session, chain[2], NewStep("img_green", 60, 40, "png"))
        assert projects.remove_oldest_look(session, project) is None, "drawn looks stay"


def test_deleting_an_account_deletes_its_projects(database: Database, owner: ProjectOwner) -> None:
    with database.transaction() as session:
        opened(session, owner)
        projects.delete_of_account(session, owner.account_id, NOON)
        assert list(session.exec(select(Project))) == []


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\p\\a.jpg", "a.jpg"),
        ("a\x00\nb.png", "ab.png"),
        ("", "picture"),
    ],
)
def test_names_are_stored_without_folders(
    database: Database, owner: ProjectOwner, name: str, shown: str
) -> None:
    with database.transaction() as session:
        assert opened(session, owner, name)[0].name == shown


def test_a_full_project_refuses_runs_but_still_adds_a_charged_step(
    database: Database, owner: ProjectOwner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projects, "STEPS_MAX", 2)
    with database.transaction() as session:
        project, first = opened(session, owner)
        projects.require_room(projects.count_steps(session, project))
        made(session, owner, project, first)
        with pytest.raises(InvalidParameter):
            projects.require_room(projects.count_steps(session, project))
        assert made(session, owner, project, first).number == 2


def test_steps_added_concurrently_get_distinct_numbers(database: Database, owner: ProjectOwner) -> None:
    with database.transaction() as session:
        project, first = opened(session, owner)
    together = threading.Barrier(6)

    def add(_: int) -> int:
        with database.transaction() as session:
            if database.engine.dialect.name == "postgresql":
                session.execute(text("select 1"))
                together.wait(60)  # all transactions are open; on SQLite only one can be
            locked = projects.lock(session, projects.find(session, owner, project.id, NOON))
            return made(session, owner, locked, first).number

    with ThreadPoolExecutor(6) as threads:
        numbers = list(threads.map(add, range(6)))
    assert sorted(numbers) == [1, 2, 3, 4, 5, 6]


def test_a_concurrently_deleted_project_cannot_be_locked(database: Database, owner: ProjectOwner) -> None:
    with database.transaction() as session:
        project, _ = opened(session, owner)
        projects.delete_project(session, project)
        with pytest.raises(NotFound):
            projects.lock(session, project)
