"""Authentication by headers and keys, and the rate limit for invalid keys."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest

from api.auth import api_keys, authenticator
from api.auth.authenticator import Authenticator, Caller
from api.auth.models import ApiKey
from api.db.database import Database
from api.errors import InvalidApiKey, RateLimited
from billing.ledger.plans import PlanName
from tests.support.builders import NOON, make_account

UNKNOWN = "bge_live_" + "0" * 32 + "1BSNci"  # of good form
SECOND = timedelta(seconds=1)


@asynccontextmanager
async def open_authenticator(database: Database) -> AsyncIterator[Authenticator]:
    opened = Authenticator(database)
    yield opened
    await opened.close()


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test())


def make_key(database: Database) -> tuple[str, str]:
    with database.transaction() as session:
        key, plain = api_keys.create(session, make_account(session, plan=PlanName.STANDARD).id, "n", NOON)
        return key.id, plain


async def ask(
    door: Authenticator, plain: str, address: str = "192.0.2.1", now: datetime = NOON
) -> Caller | type[Exception]:
    try:
        return await door.authenticate(
            authorization=f"Bearer {plain}", x_api_key=None, address=address, now=now
        )
    except (InvalidApiKey, RateLimited) as error:
        return type(error)


@pytest.mark.parametrize(
    ("authorization", "x_api_key", "key"),
    [
        ("Bearer one", None, "one"),
        ("bearer  one ", None, "one"),
        (None, " two ", "two"),
        ("Bearer one", "two", "one"),
        ("Basic dXNlcg==", "two", "two"),
        ("Bearer", "two", "two"),
    ],
)
def test_the_bearer_token_precedes_the_x_api_key_header(
    authorization: str | None, x_api_key: str | None, key: str
) -> None:
    assert authenticator.key_in(authorization, x_api_key) == key


@pytest.mark.parametrize(
    ("authorization", "x_api_key"),
    [(None, None), ("", ""), ("Bearer ", " "), ("Basic x", None), ("one", None)],
)
def test_a_request_without_a_key_is_not_authenticated(
    authorization: str | None, x_api_key: str | None
) -> None:
    with pytest.raises(InvalidApiKey):
        authenticator.key_in(authorization, x_api_key)


def test_a_valid_key_yields_account_and_plan_and_updates_last_used_once_a_minute(database: Database) -> None:
    key_id, plain = make_key(database)

    async def test() -> None:
        async with open_authenticator(database) as door:
            callers = await asyncio.gather(*(ask(door, plain) for _ in range(20)))
            for caller in callers:
                assert isinstance(caller, Caller)
                assert (caller.key_id, caller.plan) == (key_id, PlanName.STANDARD)

    run(test)
    with database.transaction() as session:
        assert session.get_one(ApiKey, key_id).last_used_at == NOON


def test_invalid_keys_are_rate_limited_per_address(database: Database) -> None:
    _, plain = make_key(database)

    async def test() -> None:
        async with open_authenticator(database) as door:
            answers = [await ask(door, UNKNOWN) for _ in range(40)]
            assert answers == [InvalidApiKey] * 30 + [RateLimited] * 10
            assert await ask(door, "nonsense") is RateLimited
            # Behind a proxy or a shared network that address is everybody's: good keys are served.
            assert isinstance(await ask(door, plain), Caller)
            assert await ask(door, UNKNOWN) is RateLimited
            assert isinstance(await ask(door, plain, address="192.0.2.2"), Caller)
            assert isinstance(await ask(door, plain, now=NOON + 2 * SECOND), Caller)

    run(test)


def test_lookups_for_an_address_over_the_limit_run_one_at_a_time(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, plain = make_key(database)
    running, most, lookups = 0, 0, 0
    read = database.read

    async def counted(work: Any) -> Any:
        nonlocal running, most, lookups
        running, lookups = running + 1, lookups + 1
        most = max(most, running)
        try:
            return await read(work)
        finally:
            running -= 1

    async def test() -> None:
        nonlocal most, lookups
        async with open_authenticator(database) as door:
            for _ in range(30):
                await ask(door, UNKNOWN)
            most, lookups = 0, 0
            answers = await asyncio.gather(*(ask(door, UNKNOWN) for _ in range(50)), ask(door, plain))
            assert answers[:-1] == [RateLimited] * 50
            assert isinstance(answers[-1], Caller)
            assert most == 1
            lookups = 0
            # Without the right checksum no database is asked at all.
            assert [await ask(door, "bge_live_nonsense") for _ in range(5)] == [RateLimited] * 5
            assert lookups == 0

    monkeypatch.setattr(database, "read", counted)
    run(test)


def test_a_recently_valid_key_bypasses_the_limit_until_it_is_revoked(database: Database) -> None:
    key_id, plain = make_key(database)

    async def test() -> None:
        async with open_authenticator(database) as door:
            assert isinstance(await ask(door, plain), Caller)
            for _ in range(40):
                await ask(door, UNKNOWN)
            assert isinstance(await ask(door, plain), Caller)

            def revoke() -> None:
                with database.transaction() as session:
                    account_id = session.get_one(ApiKey, key_id).account_id
                    api_keys.revoke(session, account_id, key_id, NOON)

            await asyncio.to_thread(revoke)
            assert await ask(door, plain) is InvalidApiKey
            assert await ask(door, plain) is RateLimited

    run(test)


def test_the_number_of_tracked_addresses_is_bounded(database: Database) -> None:
    async def test() -> None:
        async with open_authenticator(database) as door:
            for _ in range(30):
                await ask(door, "nonsense", address="first")
            assert await ask(door, "nonsense", address="first") is RateLimited
            for number in range(authenticator.CACHE_SIZE):
                door._count_invalid(f"address-{number}", NOON)
            assert len(door._invalid_by_address) == authenticator.CACHE_SIZE
            assert await ask(door, "nonsense", address="first") is InvalidApiKey

    run(test)
