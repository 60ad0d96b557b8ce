"""What the dashboard does with the API keys of an account. Independent of Gradio."""

from dataclasses import dataclass

from sqlmodel import Session

from api.auth import api_keys, key_settings, members
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
    maker: str | None = None  # the address of the member who made it; None: the account's owner
    is_changeable: bool = True  # by whoever looks at the list


async def create(
    services: Services,
    account_id: str,
    name: str,
    settings: KeySettings,
    *,
    is_test: bool,
    member_id: str | None = None,
) -> str:
    """A new key, which is never available again. `member_id`: see `SignedInVisitor`; likewise below.

    Raises InvalidParameter, Forbidden.
    """
    now = services.clock()

    def work(session: Session) -> str:
        chosen = name.strip() or DEFAULT_NAME
        return api_keys.create(
            session, account_id, chosen, now, is_test=is_test, settings=settings, person_id=member_id
        )[1]

    return await services.database.run(work)


async def listed(services: Services, account_id: str, member_id: str | None = None) -> list[ShownKey]:
    """The account's keys that are neither revoked nor expired, newest first."""

    def read(session: Session) -> list[ShownKey]:
        now = services.clock()
        keys = api_keys.usable(session, account_id, now)
        makers = members.names_of(session, {key.created_by_id for key in keys if key.created_by_id})
        found = [
            ShownKey(
                key,
                key_settings.of(session, key),
                key_settings.budget_of(session, key, now),
                makers.get(key.created_by_id or ""),
                is_changeable=member_id is None or key.created_by_id == member_id,
            )
            for key in keys
        ]
        session.expunge_all()
        return found

    return await services.database.read(read)


async def revoke(services: Services, account_id: str, key_id: str, member_id: str | None = None) -> None:
    """Raises NotFound, Forbidden."""
    now = services.clock()

    def work(session: Session) -> None:
        api_keys.revoke(session, account_id, key_id, now, person_id=member_id)

    await services.database.run(work)


async def rotate(services: Services, account_id: str, key_id: str, member_id: str | None = None) -> str:
    """The new key. Raises NotFound, Forbidden, InvalidApiKey, InvalidParameter."""
    now = services.clock()

    def work(session: Session) -> str:
        grace_seconds = GRACE_HOURS * 3600
        _, plain = api_keys.rotate(
            session, account_id, key_id, grace_seconds=grace_seconds, now=now, person_id=member_id
        )
        return plain

    return await services.database.run(work)


async def change(
    services: Services, account_id: str, key_id: str, settings: KeySettings, member_id: str | None = None
) -> None:
    """Raises NotFound, Forbidden, InvalidApiKey, InvalidParameter."""
    now = services.clock()
    await services.database.run(
        lambda session: api_keys.change_settings(
            session, account_id, key_id, settings, now, person_id=member_id
        )
    )
