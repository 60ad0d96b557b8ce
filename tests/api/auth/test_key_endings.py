"""Keys that are about to end are announced once, in time, and only while they work."""

import asyncio
import json
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from sqlmodel import select

from api.alerts.models import AlertKind
from api.auth import api_keys, key_endings, members
from api.auth.key_endings import NOTICE, EndReason
from api.db.database import Database
from api.http.openapi_webhooks import EndingKey
from api.webhooks import endpoints
from api.webhooks.models import WebhookEvent, WebhookMessage
from billing.ledger import accounts
from tests.support.alert_rows import WITH_MAIL, alerts_of
from tests.support.load import NOON, account_with
from tests.support.member_rows import make_member

HOUR = timedelta(hours=1)
DAY_SECONDS = 86_400


@pytest.fixture
def database(migrated_database_url: str) -> Iterator[Database]:
    opened = Database(migrated_database_url)
    yield opened
    opened.close()


@pytest.fixture
def account_id(database: Database) -> str:
    with database.transaction() as session:
        return account_with(session, credits=1).id


def rotated(database: Database, account_id: str, grace_seconds: int = DAY_SECONDS, name: str = "CI") -> str:
    """The id of a key that another one has replaced."""
    with database.transaction() as session:
        key, _ = api_keys.create(session, account_id, name, NOON)
        api_keys.rotate(session, account_id, key.id, grace_seconds=grace_seconds, now=NOON)
        return key.id


def announce(database: Database, now: datetime) -> int:
    return asyncio.run(key_endings.announce_due(database, WITH_MAIL, now))


def test_a_replaced_key_is_announced_before_its_grace_ends(database: Database, account_id: str) -> None:
    key_id = rotated(database, account_id)
    end = NOON + timedelta(days=1)
    assert announce(database, NOON) == 0
    assert announce(database, end - NOTICE[EndReason.ROTATED] - HOUR) == 0
    assert announce(database, end - NOTICE[EndReason.ROTATED]) == 1
    assert announce(database, end - HOUR) == 0
    with database.transaction() as session:
        (alert,) = alerts_of(session, account_id)
        assert alert.kind == AlertKind.KEY_ENDING
        facts = json.loads(alert.facts)
        assert facts == {
            "keyId": key_id,
            "name": "CI",
            "firstCharacters": facts["firstCharacters"],
            "endsAt": "2026-01-16T12:00:00Z",
            "reason": "rotated",
        }
        assert facts["firstCharacters"].startswith("bge_live_")
        EndingKey.model_validate(facts)  # as the OpenAPI document describes it
        assert alert.expires_at is not None
        assert alert.expires_at > end


def test_keys_that_ended_were_revoked_or_belong_to_a_closed_account_are_not_announced(
    database: Database, account_id: str
) -> None:
    end = NOON + timedelta(days=1)
    key_id = rotated(database, account_id)
    assert announce(database, end) == 0
    with database.transaction() as session:
        api_keys.revoke(session, account_id, key_id, NOON)
    assert announce(database, end - HOUR) == 0
    with database.transaction() as session:
        closed = account_with(session, credits=0).id
    rotated(database, closed)
    with database.transaction() as session:
        accounts.close(session, closed, now=NOON)
    assert announce(database, end - HOUR) == 0


def test_more_keys_than_one_batch_are_announced(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_endings, "_BATCH", 2)
    for _ in range(5):
        with database.transaction() as session:
            account_id = account_with(session, credits=0).id
        rotated(database, account_id)
    assert announce(database, NOON + 20 * HOUR) == 5
    assert announce(database, NOON + 20 * HOUR) == 0


def test_several_processes_at_once_announce_a_key_once(database: Database, account_id: str) -> None:
    rotated(database, account_id)

    async def all_at_once() -> list[int]:
        works = [key_endings.announce_due(database, WITH_MAIL, NOON + 20 * HOUR) for _ in range(8)]
        return await asyncio.gather(*works)

    assert sum(asyncio.run(all_at_once())) == 1


def test_a_member_hears_of_the_own_key_and_the_owner_of_every_key(
    database: Database, account_id: str
) -> None:
    with database.transaction() as session:
        member = make_member(session, account_id, NOON)
        other = make_member(session, account_id, NOON)
        for person in (member, other):
            endpoints.create(
                session, person.id, "https://example.com/theirs", [WebhookEvent.KEY_ENDING], NOON
            )
        key, _ = api_keys.create(session, account_id, "CI", NOON, person_id=member.id)
        api_keys.rotate(session, account_id, key.id, grace_seconds=DAY_SECONDS, now=NOON, person_id=member.id)
    assert announce(database, NOON + 20 * HOUR) == 2
    assert announce(database, NOON + 20 * HOUR) == 0
    with database.transaction() as session:
        facts = [
            [json.loads(alert.facts) for alert in alerts_of(session, each)]
            for each in (account_id, member.id, other.id)
        ]
        assert [len(each) for each in facts] == [1, 1, 0]
        assert facts[1][0] == {**facts[0][0], "isOfAnother": True}
        EndingKey.model_validate(facts[0][0])
        # The message with the account's data is for the account's own webhooks.
        assert session.exec(select(WebhookMessage)).all() == []


def test_a_member_who_was_removed_hears_nothing(database: Database, account_id: str) -> None:
    with database.transaction() as session:
        member = make_member(session, account_id, NOON)
        key, _ = api_keys.create(session, account_id, "CI", NOON, person_id=member.id)
        api_keys.rotate(session, account_id, key.id, grace_seconds=DAY_SECONDS, now=NOON, person_id=member.id)
        members.remove(session, account_id, member.id, NOON)
    assert announce(database, NOON + 20 * HOUR) == 0
