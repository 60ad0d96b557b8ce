"""What the dashboard does with the API keys of an account. Independent of Gradio."""

from dataclasses import dataclass

from sqlmodel import Session

from api.auth import api_keys, key_settings
from api.auth.key_settings import KeyBudget, KeySettings
from api.auth.models import ApiKey
from api.services import Services

DEFAULT_NAME = "my key"
GRACE_HOURS = 24


@dataclass(frozen=True, eq=False)
class ShownKey:
    """A usable key, what limits it, and its count of this month.

    Compared by identity, because Gradio hashes a list to see whether it has changed.
    """

    key: ApiKey
    settings: KeySettings
    budget: KeyBudget | None  # None: a test key


async def create(
    services: Services, account_id: str, name: str, settings: KeySettings, *, is_test: bool
) -> str:
    """A new key, which is never available again. Raises InvalidParameter."""
    now = services.clock()

    def work(session: Session) -> str:
        chosen = name.strip() or DEFAULT_NAME
        return api_keys.create(session, account_id, chosen, now, is_test=is_test, settings=settings)[1]

    return await services.database.run(work)


async def listed(services: Services, account_id: str) -> list[ShownKey]:
    """The account's keys that are neither revoked nor expired, newest first."""

    def read(session: Session) -> list[ShownKey]:
        now = services.clock()
        found = [
            ShownKey(key, key_settings.of(session, key), key_settings.budget_of(session, key, now))
            for key in api_keys.usable(session, account_id, now)
        ]
        session.expunge_all()
        return found

    return await services.database.read(read)


async def revoke(services: Services, account_id: str, key_id: str) -> None:
    """Raises NotFound."""
    now = services.clock()
    await services.database.run(lambda session: api_keys.revoke(session, account_id, key_id, now) and None)


async def rotate(services: Services, account_id: str, key_id: str) -> str:
    """The new key. Raises NotFound, InvalidApiKey, InvalidParameter."""
    now = services.clock()

    def work(session: Session) -> str:
        grace_seconds = GRACE_HOURS * 3600
        return api_keys.rotate(session, account_id, key_id, grace_seconds=grace_seconds, now=now)[1]

    return await services.database.run(work)


async def change(services: Services, account_id: str, key_id: str, settings: KeySettings) -> None:
    """Raises NotFound, InvalidApiKey, InvalidParameter."""
    now = services.clock()
    await services.database.run(
        lambda session: api_keys.change_settings(session, account_id, key_id, settings, now)
    )
