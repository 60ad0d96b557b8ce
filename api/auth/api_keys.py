"""API keys: `bge_live_` or `bge_test_`, 32 random base62 characters, and a 6-character checksum of the rest.

A test key is for trying out a program: its calls cost nothing, and their results are small and marked.

Only the SHA-256 and the first characters are stored. A plain hash is enough: the key carries 190 random bits,
so it cannot be guessed. The checksum allows refusing a mistyped key without querying the database.
"""

import hashlib
import zlib
from datetime import UTC, datetime, timedelta

from sqlalchemy.orm import aliased
from sqlmodel import Session, col, or_, select, update

from api.auth import key_settings
from api.auth.key_settings import KeySettings
from api.auth.models import ApiKey
from api.errors import Forbidden, InvalidApiKey, InvalidParameter, NotFound
from api.memberships import roles
from billing.errors import AccountClosed, AccountSuspended
from billing.identifiers import new_id, random_base62, to_base62
from billing.ledger import accounts, budgets
from billing.ledger.models import Account
from billing.text import is_storable_text

PREFIX, TEST_PREFIX = "bge_live_", "bge_test_"
RANDOM_CHARACTERS = 32
CHECKSUM_CHARACTERS = 6
LENGTH = len(PREFIX) + RANDOM_CHARACTERS + CHECKSUM_CHARACTERS
_SHOWN_CHARACTERS = len(PREFIX) + 4
_TOUCH_EVERY = timedelta(minutes=1)
#: A key that is used from several addresses at once would be written at each call otherwise.
_TOUCH_FOR_ADDRESS_EVERY = timedelta(seconds=10)
_ADDRESS_LENGTH_MAX = 64
_NAME_LENGTH_MAX = 100
#: The limit of usable keys without an expiry per account. Lists and checks read each of them.
LIMIT = 100
#: Including those that expire after a rotation.
_LIMIT_WITH_ENDING = 2 * LIMIT
REFUSAL = "This API key is not valid."
NO_SETTINGS = KeySettings()


def create(
    session: Session,
    account_id: str,
    name: str,
    now: datetime,
    *,
    is_test: bool = False,
    settings: KeySettings = NO_SETTINGS,
    person_id: str | None = None,
) -> tuple[ApiKey, str]:
    """A new key of the account: its row, and the key itself, which is never available again.

    `person_id`: the member who makes it; None: the account's owner. Raises Forbidden for a former member,
    InvalidParameter for a name that cannot be stored, for settings that `key_settings.check` refuses
    and for an account that has `LIMIT` keys, and what `accounts.lock` raises.
    """
    if not name.strip() or not is_storable_text(name):
        raise InvalidParameter("name", "The name of a key must be text without control characters.")
    key_settings.check(settings, now, is_test=is_test)
    key, plain = _add(session, account_id, name, now, settings=settings, is_test=is_test, person_id=person_id)
    if not is_test:
        budgets.create(session, key.family_id, account_id, settings.monthly_limit)
    return key, plain


def _add(
    session: Session,
    account_id: str,
    name: str,
    now: datetime,
    *,
    settings: KeySettings,
    is_test: bool,
    person_id: str | None,
    family_id: str | None = None,
) -> tuple[ApiKey, str]:
    """`family_id`: of the key that the new one replaces."""
    # Lock the account: otherwise two concurrent requests could both see one key less than the limit.
    accounts.lock(session, account_id)
    roles.require_member(session, account_id, person_id)
    found = usable(session, account_id, now)
    lasting = sum(key.replaced_at is None for key in found)
    if lasting >= LIMIT or len(found) >= _LIMIT_WITH_ENDING:
        raise InvalidParameter("name", f"An account has at most {LIMIT} keys. Revoke one first.")
    unchecked = (TEST_PREFIX if is_test else PREFIX) + random_base62(RANDOM_CHARACTERS)
    plain = unchecked + _checksum(unchecked)
    key_id = new_id("key")
    key = ApiKey(
        id=key_id,
        account_id=account_id,
        name=name[:_NAME_LENGTH_MAX],
        first_characters=plain[:_SHOWN_CHARACTERS],
        sha256=hash_of(plain),
        created_at=now,
        expires_at=settings.expires_at,
        chosen_expires_at=settings.expires_at,
        family_id=family_id or key_id,
        is_test=is_test,
        allowed_tools=key_settings.stored_tools(settings.tools),
        created_by_id=person_id,
    )
    session.add(key)
    session.flush()
    return key, plain


def is_well_formed(text: str) -> bool:
    """Whether `text` has the form of a key and a valid checksum. Does not query the database."""
    if len(text) != LENGTH or not text.startswith((PREFIX, TEST_PREFIX)) or not text.isascii():
        return False
    return text[-CHECKSUM_CHARACTERS:] == _checksum(text[:-CHECKSUM_CHARACTERS])


def hash_of(plain: str) -> str:
    return hashlib.sha256(plain.encode()).hexdigest()


def find(session: Session, plain: str, now: datetime) -> ApiKey:
    """The row of a key that is valid at `now`. Writes nothing; see `touch`.

    Raises InvalidApiKey for a malformed, unknown or revoked key alike, and with another message for one that
    has expired, which only its holder can know; AccountClosed and AccountSuspended for a valid key of such an
    account.
    """
    return find_with_account(session, plain, now)[0]


def find_with_account(session: Session, plain: str, now: datetime) -> tuple[ApiKey, Account]:
    """As `find`, with the account the key belongs to."""
    if not is_well_formed(plain):
        raise InvalidApiKey(REFUSAL)
    maker = aliased(Account)
    row = session.exec(
        select(ApiKey, Account, maker.suspended_at)
        .join(Account, col(Account.id) == col(ApiKey.account_id))
        .join(maker, col(maker.id) == col(ApiKey.created_by_id), isouter=True)
        .where(ApiKey.sha256 == hash_of(plain))
    ).one_or_none()
    if row is None:
        raise InvalidApiKey(REFUSAL)
    key, account, maker_suspended_at = row
    _check(key, now)
    if maker_suspended_at is not None:
        raise AccountSuspended("The account of the person who made this key is suspended.")
    if account.closed_at is not None:
        raise AccountClosed("This account was closed.")
    if account.suspended_at is not None:
        raise AccountSuspended("This account is suspended.")
    return key, account


def check(session: Session, key_id: str, now: datetime) -> None:
    """Raise InvalidApiKey if the key has been revoked, has expired or was deleted."""
    key = session.get(ApiKey, key_id, populate_existing=True)
    if key is None:
        raise InvalidApiKey(REFUSAL)
    _check(key, now)


def touch_is_due(key: ApiKey, address: str, now: datetime) -> bool:
    """Whether the use of the key from `address` is to be recorded."""
    if key.last_used_at is None:
        return True
    is_elsewhere = key.last_used_address != address[:_ADDRESS_LENGTH_MAX]
    return key.last_used_at <= now - (_TOUCH_FOR_ADDRESS_EVERY if is_elsewhere else _TOUCH_EVERY)


def touch(session: Session, key_id: str, address: str, now: datetime) -> None:
    """Record the use of the key, at most once a minute, or every ten seconds if its address changes.

    In its own transaction, never in a call's.
    """
    shown = address[:_ADDRESS_LENGTH_MAX]
    used_at, used_from = col(ApiKey.last_used_at), col(ApiKey.last_used_address)
    is_elsewhere = or_(used_from.is_(None), used_from != shown) & (used_at <= now - _TOUCH_FOR_ADDRESS_EVERY)
    due = or_(used_at.is_(None), used_at <= now - _TOUCH_EVERY, is_elsewhere)
    changed = update(ApiKey).where(col(ApiKey.id) == key_id, due)
    session.execute(changed.values(last_used_at=now, last_used_address=shown))


def listed(session: Session, account_id: str) -> list[ApiKey]:
    """All keys of the account, including revoked ones, newest first."""
    newest_first = col(ApiKey.created_at).desc()
    return list(session.exec(select(ApiKey).where(ApiKey.account_id == account_id).order_by(newest_first)))


def usable(session: Session, account_id: str, now: datetime) -> list[ApiKey]:
    """The account's keys that are neither revoked nor expired, newest first."""
    works = select(ApiKey).where(
        col(ApiKey.account_id) == account_id,
        col(ApiKey.revoked_at).is_(None),
        or_(col(ApiKey.expires_at).is_(None), col(ApiKey.expires_at) > now),
    )
    return list(session.exec(works.order_by(col(ApiKey.created_at).desc())))


def revoke(
    session: Session, account_id: str, key_id: str, now: datetime, *, person_id: str | None = None
) -> ApiKey:
    """Revoke the key at once in every process: nothing caches the validity of a key.

    `person_id`: the member who asks for it, None: the account's owner. Members may only do so with keys that
    they made, and likewise in `rotate` and `change_settings`. Raises NotFound, Forbidden.
    """
    key = _owned(session, account_id, key_id, person_id)
    if key.revoked_at is None:
        key.revoked_at = now
        session.add(key)
        session.flush()
    return key


def revoke_of_person(session: Session, account_id: str, person_id: str, now: datetime) -> None:
    """Revoke the keys that a member made in the account. The account is locked."""
    session.execute(
        update(ApiKey)
        .where(
            col(ApiKey.account_id) == account_id,
            col(ApiKey.created_by_id) == person_id,
            col(ApiKey.revoked_at).is_(None),
        )
        .values(revoked_at=now)
    )


def rotate(
    session: Session,
    account_id: str,
    key_id: str,
    *,
    grace_seconds: int,
    now: datetime,
    person_id: str | None = None,
) -> tuple[ApiKey, str]:
    """Create a key of the same name and settings; the old one stays valid for `grace_seconds`.

    Both share one limit and its count. The new one expires on the day that was chosen for the old one: a
    rotation must not extend an access that was to end. The new key is made by the person who rotates. Raises
    NotFound, Forbidden, InvalidApiKey, and what `create` raises.
    """
    accounts.lock(session, account_id)  # before the key's row: all locks are taken in this order
    old = _owned(session, account_id, key_id, person_id)
    end = now + timedelta(seconds=max(0, grace_seconds))
    if old.revoked_at is not None or (old.expires_at is not None and old.expires_at <= now):
        raise InvalidApiKey("This API key has ended and cannot be rotated.")
    # A second rotation must not extend the first grace period.
    old.expires_at = end if old.expires_at is None else min(end, old.expires_at)
    old.replaced_at = old.replaced_at or now
    session.add(old)
    session.flush()
    settings = KeySettings(None, key_settings.tools_of(old), old.chosen_expires_at)
    return _add(
        session,
        account_id,
        old.name,
        now,
        settings=settings,
        is_test=old.is_test,
        family_id=old.family_id,
        person_id=person_id,
    )


def change_settings(
    session: Session,
    account_id: str,
    key_id: str,
    settings: KeySettings,
    now: datetime,
    *,
    person_id: str | None = None,
) -> None:
    """Change what the key may do.

    Raises NotFound, Forbidden, InvalidApiKey for an ended key, InvalidParameter.
    """
    accounts.lock(session, account_id)
    roles.require_member(session, account_id, person_id)
    key = _owned(session, account_id, key_id, person_id)
    if key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= now):
        raise InvalidApiKey("This API key has ended and cannot be changed.")
    key_settings.check(settings, now, is_test=key.is_test)
    key_settings.change(session, key, settings)


def budget_id_of(key: ApiKey) -> str | None:
    """Where the key's calls count; None for a test key, whose calls cost nothing."""
    return None if key.is_test else key.family_id


def budget_id_of_id(session: Session, key_id: str | None) -> str | None:
    """As `budget_id_of`, for the id of a key; None for the web editor, which has none."""
    key = None if key_id is None else session.get(ApiKey, key_id)
    return None if key is None else budget_id_of(key)


def forget_uses(session: Session, account_id: str) -> None:
    """Forget from where the account's keys were used, because the account is deleted."""
    session.execute(update(ApiKey).where(col(ApiKey.account_id) == account_id).values(last_used_address=None))


def _check(key: ApiKey, now: datetime) -> None:
    if key.revoked_at is not None:
        raise InvalidApiKey(REFUSAL)
    if key.expires_at is not None and key.expires_at <= now:
        ended = key.expires_at.astimezone(UTC)
        raise InvalidApiKey(f"This API key expired at {ended:%Y-%m-%d %H:%M} UTC.")


def _owned(session: Session, account_id: str, key_id: str, person_id: str | None) -> ApiKey:
    key = session.exec(
        select(ApiKey).where(ApiKey.id == key_id, ApiKey.account_id == account_id).with_for_update()
    ).one_or_none()
    if key is None:
        raise NotFound("There is no such API key.")
    if person_id is not None and key.created_by_id != person_id:
        raise Forbidden("This key was made by somebody else. You may only change your own keys.")
    return key


def _checksum(text: str) -> str:
    return to_base62(zlib.crc32(text.encode()), CHECKSUM_CHARACTERS)
