"""A whole site in the test's process, with an account and everybody who may or may not work in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from sqlmodel import Session, select

from api.auth import api_keys, members
from api.editor import projects
from api.editor.models import Project
from api.memberships.models import Role
from billing.ledger import accounts
from tests.support.batch_rows import make_batch
from tests.support.browsing import HTML, Browser, Site, opened_site
from tests.support.editor_rows import edit
from web.admin import routes as admin
from web.editor import routes as editor
from web.plans import routes as plans

OWNER, MEMBER, VIEWER, FORMER, STRANGER = "owner", "member", "viewer", "former", "stranger"
ROLES = {MEMBER: Role.MEMBER, VIEWER: Role.VIEWER}
#: The owner's address, which nobody else may be told.
OWNER_EMAIL = "owner-of-all@example.com"
JSON = {"Accept": "application/json"}


@dataclass
class Team:
    """Browsers by who uses them. All but the stranger's had chosen the owner's account."""

    site: Site
    browsers: dict[str, Browser]
    ids: dict[str, str]
    keys: dict[str, str]
    project: Project
    names: dict[str, str]  # for the parameters of routes

    def run(self, work: Any) -> Any:
        """The result of a transaction's function."""
        return self.site.api.services.database.submit(work).result()

    def send(
        self, who: str, method: str, path: str, *, token: str | None = None, **fields: str
    ) -> httpx.Response:
        """A request of one of our own pages: `path` with the owner's ids, and the right token by default."""
        self.site.clock.move(seconds=5)  # a network address may only be refused so often
        browser = self.browsers[who]
        place = path.format(**self.names)
        if method in ("GET", "HEAD"):
            return browser._send(method, place, headers=HTML)
        csrf_token = self.token(who) if token is None else token
        headers = {"Sec-Fetch-Site": "same-origin", "X-CSRF-Token": csrf_token}
        if place.startswith("/editor/"):
            return browser._send(method, place, headers={**headers, **JSON}, json=dict(fields))
        data = {"csrf_token": csrf_token, **fields}
        return browser._send(method, place, headers={**headers, **HTML}, data=data)

    def token(self, who: str) -> str:
        """The token of the pages that this person sees now."""
        session = self.browsers[who]._send("GET", "/editor/session", headers=JSON).json()
        return str(session["data"]["csrfToken"])

    def call(self, who: str, method: str, path: str) -> httpx.Response:
        """A request of the API with the key that this person made in the owner's account."""
        self.site.clock.move(seconds=5)
        place = path.format(**self.names)
        return self.site.api.request(method, place, headers={"X-Api-Key": self.keys[who]})


@contextmanager
def opened_team(directory: Path, **settings: Any) -> Iterator[Team]:
    with opened_site(directory, **settings) as site:
        plans.add_to(site.api.app)
        editor.add_to(site.api.app, site.api.services)
        admin.add_to(site.api.app)
        yield _assemble(site)


def _assemble(site: Site) -> Team:
    now, submit = site.clock(), site.api.services.database.submit
    people = {OWNER: OWNER_EMAIL, **{who: f"{who}@example.com" for who in (MEMBER, VIEWER, FORMER, STRANGER)}}
    browsers = {who: site.browser().join(email) for who, email in people.items()}

    def prepare(session: Session) -> tuple[dict[str, str], dict[str, str], Project, dict[str, str]]:
        ids = {who: accounts.find_by_email(session, email).id for who, email in people.items()}
        own = ids[OWNER]
        keys = {OWNER: api_keys.create(session, own, "the owner's", now)[1]}
        for who in (MEMBER, VIEWER, FORMER):
            members.add(session, own, ids[who], Role.MEMBER, now)
            keys[who] = api_keys.create(session, own, f"key of {who}", now, person_id=ids[who])[1]
        members.change_role(session, own, ids[VIEWER], Role.VIEWER, now)
        edit(session, own, now)
        project = session.exec(select(Project).where(Project.account_id == own)).one()
        step = projects.steps_of(session, project)[-1]
        batch = make_batch(session, own, now, ["a.png"])
        names = {
            "project_id": project.id,
            "step_id": step.id,
            "image_id": step.image_id,
            "batch_id": batch.id,
            "position": "0",
            "run_id": "run_none",
            "account_id": own,
            "plan": "standard",
            "credits_": "100",
            "provider": "google",
            "name": "index",
            "file_name": "none.webp",
            "tool": "crop",
            "job_id": "job_none",
            "webhook_id": "whe_none",
            "delivery_id": "whd_none",
        }
        return ids, keys, project, names

    ids, keys, project, names = submit(prepare).result()
    team = Team(site, browsers, ids, keys, project, names)
    for who in (MEMBER, VIEWER, FORMER):
        chosen = team.send(who, "POST", "/accounts/choose", account_id=ids[OWNER])
        assert chosen.status_code == 303, chosen.text
    team.run(lambda session: members.remove(session, ids[OWNER], ids[FORMER], now))
    return team
