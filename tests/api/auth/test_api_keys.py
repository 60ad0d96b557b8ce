"""API keys: their format, hashed storage, rotation and revocation."""

import re
import string
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlmodel import Session, select

from api.auth import api_keys
from api.auth.key_settings import KeySettings
from api.auth.models import ApiKey
from api.db.database import Database
from api.errors import InvalidApiKey, InvalidParameter, NotFound
from billing.errors import AccountClosed
from billing.ledger import accounts
from tests.support.builders import DAY, NOON, make_account

SECOND = timedelta(seconds=1)
HERE, ELSEWHERE = "192.0.2.1", "2001:db8::7"


@pytest.fixture
def account_id(database: Database) -> str:
    with database.transaction() as session:
        return make_account(session).id


def is_good(session: Session, plain: str, now: datetime = NOON) -> bool:
    try:
        api_keys.find(session, plain, now)
    except InvalidApiKey:
        return False
    return True


def test_a_key_has_its_prefix_32_random_characters_and_a_checksum(
    database: Database, account_id: str
) -> None:
    with database.transaction() as session:
        owners = [account_id, make_account(session).id]
        made = {
            api_keys.create(session, owner, "n", NOON)[1] for owner in owners for _ in range(api_keys.LIMIT)
        }
    assert len(made) == 2 * api_keys.LIMIT
    for plain in made:
        assert re.fullmatch(r"bge_live_[0-9A-Za-z]{38}", plain)
        assert api_keys.is_well_formed(plain)
    used = {character for plain in made for character in plain[9:41]}
    assert used == set(string.digits + string.ascii_letters)


def test_the_checksum_of_a_fixed_key_never_changes() -> None:
    """Keys are out there: the checksum's rule must never change. Worked out by hand from CRC-32."""
    assert api_keys.is_well_formed("bge_live_" + "0" * 32 + "1BSNci")
    assert not api_keys.is_well_formed("bge_live_" + "0" * 32 + "1BSNcj")


def test_any_single_wrong_character_is_detected_without_the_database(
    database: Database, account_id: str
) -> None:
    with database.transaction() as session:
        _, plain = api_keys.create(session, account_id, "n", NOON)
    for position in range(len(plain)):
        other = "x" if plain[position] != "x" else "y"
        assert not api_keys.is_well_formed(plain[:position] + other + plain[position + 1 :])


@pytest.mark.parametrize(
    "text",
    ["", "bge_live_", "bge_live_" + "0" * 38, "sk_live_" + "0" * 39, "é" * 47, "x" * 100_000, "\0" * 47],
)
def test_malformed_keys_are_refused(database: Database, text: str) -> None:
    assert not api_keys.is_well_formed(text)
    with database.transaction() as session:
        assert not is_good(session, text)


def test_a_key_finds_its_account_and_an_unknown_one_finds_nothing(
    database: Database, account_id: str
) -> None:
    with database.transaction() as session:
        made, plain = api_keys.create(session, account_id, "laptop", NOON)
        found, account = api_keys.find_with_account(session, plain, NOON)
        assert (found.id, found.name, account.id) == (made.id, "laptop", account_id)
        session.delete(made)
        session.flush()
        assert not is_good(session, plain)


def test_only_a_hash_and_the_first_characters_are_stored(migrated_database_url: str, tmp_path: Path) -> None:
    database = Database(migrated_database_url)
    with database.transaction() as session:
        made, plain = api_keys.create(session, make_account(session).id, "n", NOON)
        api_keys.rotate(session, made.account_id, made.id, grace_seconds=60, now=NOON)
    with database.transaction() as session:
        for row in session.exec(select(ApiKey)):
            assert plain[13:] not in repr(row.model_dump())
    assert made.first_characters == plain[:13]
    assert made.sha256 != plain
    database.close()
    if migrated_database_url.startswith("sqlite"):
        for file in tmp_path.rglob("test.db*"):
            assert plain[13:].encode() not in file.read_bytes()


def test_a_refusal_does_not_repeat_the_key(database: Database, account_id: str) -> None:
    with database.transaction() as session:
        made, plain = api_keys.create(session, account_id, "n", NOON)
        api_keys.revoke(session, account_id, made.id, NOON)
        with pytest.raises(InvalidApiKey) as refusal:
            api_keys.find(session, plain, NOON)
    assert plain[9:] not in str(refusal.value)


def test_a_revoked_key_is_refused_at_once_in_every_process(migrated_database_url: str) -> None:
    here, elsewhere = Database(migrated_database_url), Database(migrated_database_url)
    with here.transaction() as session:
        made, plain = api_keys.create(session, make_account(session).id, "n", NOON)
    with elsewhere.transaction() as session:
        assert is_good(session, plain)
    with here.transaction() as session:
        api_keys.revoke(session, made.account_id, made.id, NOON)
    with elsewhere.transaction() as session:
        assert not is_good(session, plain)
        again = api_keys.revoke(session, made.account_id, made.id, NOON + SECOND)
        assert again.revoked_at == NOON
    here.close()
    elsewhere.close()


def test_closing_an_account_invalidates_its_keys(database: Database, account_id: str) -> None:
    with database.transaction() as session:
        _, plain = api_keys.create(session, account_id, "n", NOON)
        accounts.close(session, account_id, now=NOON)
        with pytest.raises(AccountClosed):
            api_keys.find(session, plain, NOON)


def test_a_rotated_key_works_until_its_grace_period_ends(database: Database, account_id: str) -> None:
    with database.transaction() as session:
        old, old_plain = api_keys.create(session, account_id, "n", NOON)
        new, new_plain = api_keys.rotate(session, account_id, old.id, grace_seconds=60, now=NOON)
        assert new.name == "n"
        assert is_good(session, old_plain, NOON + 59 * SECOND)
        assert not is_good(session, old_plain, NOON + 60 * SECOND)
        assert is_good(session, new_plain, NOON + 60 * SECOND)


def test_rotating_twice_does_not_extend_the_first_grace_period(database: Database, account_id: str) -> None:
    with database.transaction() as session:
        old, plain = api_keys.create(session, account_id, "n", NOON)
        api_keys.rotate(session, account_id, old.id, grace_seconds=60, now=NOON)
        api_keys.rotate(session, account_id, old.id, grace_seconds=3_600, now=NOON + SECOND)
        assert not is_good(session, plain, NOON + 60 * SECOND)
        with pytest.raises(InvalidApiKey):
            api_keys.rotate(session, account_id, old.id, grace_seconds=60, now=NOON + 60 * SECOND)


def test_the_number_of_keys_is_limited_even_for_concurrent_requests(
    migrated_database_url: str,
) -> None:
    database = Database(migrated_database_url)
    with database.transaction() as session:
        account_id = make_account(session).id
        for _ in range(api_keys.LIMIT - 4):
            api_keys.create(session, account_id, "n", NOON)

    def create(_: int) -> bool:
        try:
            database.submit(lambda session: api_keys.create(session, account_id, "n", NOON) and None).result()
        except InvalidParameter:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(create, range(16))) == 4
    with database.transaction() as session:
        assert len(api_keys.usable(session, account_id, NOON)) == api_keys.LIMIT
        api_keys.revoke(session, account_id, api_keys.listed(session, account_id)[0].id, NOON)
        api_keys.create(session, account_id, "n", NOON)
    database.close()


def test_rotating_does_not_bypass_the_key_limit(database: Database, account_id: str) -> None:
    with database.transaction() as session:
        newest = [api_keys.create(session, account_id, "n", NOON)[0].id for _ in range(api_keys.LIMIT)][-1]
        for _ in range(api_keys.LIMIT):
            newest = api_keys.rotate(session, account_id, newest, grace_seconds=3_600, now=NOON)[0].id
        with pytest.raises(InvalidParameter, match="at most 100 keys"):
            api_keys.rotate(session, account_id, newest, grace_seconds=3_600, now=NOON)


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "a\nb", "", "  "], ids=ascii)
def test_a_name_that_cannot_be_stored_is_refused(database: Database, account_id: str, name: str) -> None:
    with database.transaction() as session:
        with pytest.raises(InvalidParameter) as refused:
            api_keys.create(session, account_id, name, NOON)
        assert refused.value.param == "name"
        assert api_keys.create(session, account_id, "Schlüssel 漢 🔑", NOON)[0].name == "Schlüssel 漢 🔑"


def test_the_key_of_another_account_is_not_found(database: Database, account_id: str) -> None:
    with database.transaction() as session:
        made, plain = api_keys.create(session, account_id, "n", NOON)
        stranger = make_account(session).id
        with pytest.raises(NotFound):
            api_keys.revoke(session, stranger, made.id, NOON)
        with pytest.raises(NotFound):
            api_keys.rotate(session, stranger, made.id, grace_seconds=0, now=NOON)
        assert api_keys.listed(session, stranger) == []
        assert [key.id for key in api_keys.listed(session, account_id)] == [made.id]
        assert is_good(session, plain)


def test_last_used_is_updated_at_most_once_a_minute_and_never_moves_back(
    database: Database, account_id: str
) -> None:
    with database.transaction() as session:
        made, _ = api_keys.create(session, account_id, "n", NOON)
    seen = []
    for seconds in (0, 59, 60, 1, 119, 120):
        now = NOON + seconds * SECOND
        with database.transaction() as session:
            key = session.get_one(ApiKey, made.id)
            due = api_keys.touch_is_due(key, HERE, now)
            api_keys.touch(session, made.id, HERE, now)
        with database.transaction() as session:
            used_at = session.get_one(ApiKey, made.id).last_used_at
            assert due == (used_at == now)
            seen.append(used_at)
    assert seen == [NOON + seconds * SECOND for seconds in (0, 0, 60, 60, 60, 120)]


def test_a_use_from_another_address_is_recorded_sooner(database: Database, account_id: str) -> None:
    with database.transaction() as session:
        made, _ = api_keys.create(session, account_id, "n", NOON)
        api_keys.touch(session, made.id, HERE, NOON)
    for seconds, address, expected in (
        (9, ELSEWHERE, HERE),
        (10, ELSEWHERE, ELSEWHERE),
        (15, HERE, ELSEWHERE),
    ):
        now = NOON + seconds * SECOND
        with database.transaction() as session:
            due = api_keys.touch_is_due(session.get_one(ApiKey, made.id), address, now)
            api_keys.touch(session, made.id, address, now)
        with database.transaction() as session:
            assert session.get_one(ApiKey, made.id).last_used_address == expected
        assert due == (address == expected)


def test_a_test_key_has_a_prefix_of_its_own_and_no_budget(database: Database, account_id: str) -> None:
    with database.transaction() as session:
        made, plain = api_keys.create(session, account_id, "n", NOON, is_test=True)
        assert api_keys.find(session, plain, NOON).is_test
        assert api_keys.budget_id_of(made) is None
    assert plain.startswith("bge_test_")
    assert len(plain) == len("bge_test_") + 32 + 6
    assert api_keys.is_well_formed(plain)
    assert not api_keys.is_well_formed(plain.replace("bge_test_", "bge_live_"))


def test_an_expired_key_says_so_and_a_revoked_one_does_not(database: Database, account_id: str) -> None:
    with database.transaction() as session:
        settings = KeySettings(expires_at=NOON + DAY)
        made, plain = api_keys.create(session, account_id, "n", NOON, settings=settings)
        assert api_keys.find(session, plain, NOON + DAY - SECOND).id == made.id
        with pytest.raises(InvalidApiKey, match="expired at 2026-01-16 12:00 UTC"):
            api_keys.find(session, plain, NOON + DAY)
        api_keys.revoke(session, account_id, made.id, NOON)
        with pytest.raises(InvalidApiKey, match="not valid"):
            api_keys.find(session, plain, NOON)
