"""The dashboard's events check the role of the visitor, whatever the page shows."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from api.auth import members, sessions
from api.auth.models import ApiKey
from api.memberships.models import Role
from api.webhooks.models import WebhookEndpoint
from tests.support.apps import LocalApi, local_api
from tests.support.gradio_site import JOIN, Site, Visitor
from tests.support.load import account_with
from tests.support.member_rows import make_member


class Team:
    """Somebody with this role in an account, with the dashboard of that account."""

    def __init__(self, api: LocalApi, role: Role) -> None:
        self.api, self.site, now = api, Site(api), api.clock()
        with api.services.database.transaction() as session:
            self.account_id = account_with(session, credits=5, now=now).id
            if role is Role.OWNER:
                self.person_id = self.account_id
            else:
                self.person_id = make_member(session, self.account_id, now, role).id
            made = sessions.create(session, self.person_id, now=now)
            members.choose(session, made.session_id, self.person_id, self.account_id)
        self.visitor = Visitor(self.site, self.person_id, made.token)

    def send(self, name: str, outputs: int, data: list[Any]) -> int:
        """Send the event of the function `name` that takes as many arguments as `data` has."""
        functions = self.site.gradio.get_blocks().fns.values()
        function = next(
            each
            for each in functions
            if each.name == name and len(each.inputs) == len(data) and len(each.outputs) == outputs
        )
        event = {
            "data": data,
            "fn_index": function._id,
            "trigger_id": function.targets[0][0],
            "session_hash": "page",
        }
        answer = self.site.request("POST", JOIN, self.visitor.token, json=event)
        if answer.status_code == 200:
            self.site.work_through()
        return answer.status_code

    def generate(self) -> int:
        function = self.site.function("generate")
        tools = [choice for _, choice in function.inputs[2].choices]
        return self.send("generate", len(function.outputs), ["n", "live", tools, "", ""])

    def add_webhook(self) -> int:
        return self.send("run", 3, ["https://shop.example.com/", "All events"])

    def rows(self, table: Any) -> list[Any]:
        with self.api.services.database.transaction() as session:
            return list(session.exec(select(table).where(table.account_id == self.account_id)))


@pytest.fixture
def api(tmp_path: Path) -> Iterator[LocalApi]:
    with local_api(tmp_path) as opened:
        yield opened


@pytest.mark.parametrize(
    ("role", "keys", "webhooks"), [(Role.OWNER, 1, 1), (Role.MEMBER, 1, 0), (Role.VIEWER, 0, 0)]
)
def test_viewers_make_no_keys_and_only_owners_make_webhooks(
    api: LocalApi, capfd: pytest.CaptureFixture[str], role: Role, keys: int, webhooks: int
) -> None:
    team = Team(api, role)
    assert (team.generate(), team.add_webhook()) == (200, 200)
    made = team.rows(ApiKey)
    assert len(made) == keys
    assert [key.created_by_id for key in made] == [None if role is Role.OWNER else team.person_id] * keys
    shown = [each for each in team.rows(WebhookEndpoint) if each.url == "https://shop.example.com/"]
    assert len(shown) == webhooks
    # What is refused as expected looks like no failure of the server.
    assert "Traceback" not in "".join(capfd.readouterr())


def test_a_page_of_an_account_that_one_was_removed_from_does_nothing(api: LocalApi) -> None:
    team = Team(api, Role.MEMBER)
    assert team.generate() == 200
    with api.services.database.transaction() as session:
        members.remove(session, team.account_id, team.person_id, api.clock())
    assert team.generate() == 404  # the page is out of date
    assert [key.revoked_at is None for key in team.rows(ApiKey)] == [False]
    with api.services.database.transaction() as session:
        assert session.exec(select(ApiKey).where(ApiKey.account_id == team.person_id)).all() == []
