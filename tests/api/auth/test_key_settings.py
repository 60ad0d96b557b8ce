"""The settings of keys: what they may be, and what they do to keys that replaced each other."""

from datetime import timedelta

import pytest

from api.auth import api_keys, key_settings
from api.auth.key_settings import KeySettings
from api.db.database import Database
from api.errors import InvalidApiKey, InvalidParameter, NotFound
from billing.ledger import budgets
from ml.catalogue import TOOLS
from tests.support.builders import DAY, NOON, make_account

SECOND = timedelta(seconds=1)


@pytest.fixture
def account_id(database: Database) -> str:
    with database.transaction() as session:
        return make_account(session).id


@pytest.mark.parametrize(
    ("settings", "is_test", "problem"),
    [
        (KeySettings(monthly_limit=0), False, "from 1 to 1,000,000"),
        (KeySettings(monthly_limit=1_000_001), False, "from 1 to 1,000,000"),
        (KeySettings(monthly_limit=5), True, "costs nothing"),
        (KeySettings(tools=frozenset()), False, "at least one tool"),
        (KeySettings(tools=frozenset({"crop", "no-tool"})), False, "no-tool is not a tool"),
        (KeySettings(expires_at=NOON), False, "in the past"),
    ],
)
def test_impossible_settings_are_refused(
    database: Database, account_id: str, settings: KeySettings, is_test: bool, problem: str
) -> None:
    with database.transaction() as session, pytest.raises(InvalidParameter, match=problem):
        api_keys.create(session, account_id, "n", NOON, is_test=is_test, settings=settings)


def test_a_key_without_settings_may_do_everything_and_is_counted(database: Database, account_id: str) -> None:
    with database.transaction() as session:
        key, _ = api_keys.create(session, account_id, "n", NOON)
        assert key_settings.of(session, key) == KeySettings()
        assert key_settings.tools_of(key) is None
        budget = key_settings.budget_of(session, key, NOON)
        assert budget is not None
        assert (budget.monthly_limit, budget.used, budget.renews_at) == (None, 0, budgets.renews_at(NOON))
        test, _ = api_keys.create(session, account_id, "n", NOON, is_test=True)
        assert key_settings.budget_of(session, test, NOON) is None


def test_the_names_of_all_tools_can_be_stored() -> None:
    assert all("," not in name for name in TOOLS)
    assert key_settings.stored_tools({"crop", "brush"}) == "brush,crop"
    assert key_settings.stored_tools(None) is None


def test_an_ended_key_cannot_be_changed(database: Database, account_id: str) -> None:
    with database.transaction() as session:
        key, _ = api_keys.create(session, account_id, "n", NOON, settings=KeySettings(expires_at=NOON + DAY))
        with pytest.raises(InvalidApiKey):
            api_keys.change_settings(session, account_id, key.id, KeySettings(), NOON + DAY)


def test_a_rotation_keeps_the_settings_and_shares_the_count(database: Database, account_id: str) -> None:
    chosen = KeySettings(monthly_limit=7, tools=frozenset({"crop"}), expires_at=NOON + 30 * DAY)
    with database.transaction() as session:
        old, _ = api_keys.create(session, account_id, "n", NOON, settings=chosen)
        new, _ = api_keys.rotate(session, account_id, old.id, grace_seconds=3600, now=NOON)
        assert key_settings.of(session, new) == chosen
        assert api_keys.budget_id_of(new) == api_keys.budget_id_of(old) == old.id
        # Rotated again in its grace period, the old one still passes on the day that was chosen.
        third, _ = api_keys.rotate(session, account_id, old.id, grace_seconds=3600, now=NOON)
        assert (old.expires_at, third.expires_at) == (NOON + 3600 * SECOND, NOON + 30 * DAY)


def test_a_change_acts_on_all_keys_of_a_rotation_but_prolongs_no_replaced_one(
    database: Database, account_id: str
) -> None:
    with database.transaction() as session:
        old, _ = api_keys.create(session, account_id, "n", NOON)
        new, _ = api_keys.rotate(session, account_id, old.id, grace_seconds=3600, now=NOON)
        chosen = KeySettings(monthly_limit=3, tools=frozenset({"crop"}), expires_at=NOON + DAY)
        api_keys.change_settings(session, account_id, new.id, chosen, NOON)
        assert key_settings.of(session, old) == key_settings.of(session, new) == chosen
        assert (old.expires_at, new.expires_at) == (NOON + 3600 * SECOND, NOON + DAY)
        api_keys.change_settings(session, account_id, new.id, KeySettings(), NOON)
        assert (old.expires_at, new.expires_at) == (NOON + 3600 * SECOND, None)
        stranger = make_account(session).id
        with pytest.raises(NotFound):
            api_keys.change_settings(session, stranger, new.id, chosen, NOON)
