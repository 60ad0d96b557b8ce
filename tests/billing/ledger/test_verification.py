"""An account with an unverified address neither receives nor spends credits."""

import pytest

from api.db.database import Database
from billing.errors import AddressUnverified
from billing.ledger import accounts, ledger
from billing.ledger.models import Account
from tests.support.builders import NOON, SECOND, make_grant, make_hold


def unverified(database: Database) -> str:
    with database.transaction() as session:
        return accounts.create(session, email="a@example.com", now=NOON, is_verified=False).id


def test_free_credits_are_granted_once_when_the_address_is_verified(database: Database) -> None:
    account_id = unverified(database)
    seen = []
    for step in range(4):
        with database.transaction() as session:
            account = accounts.lock(session, account_id)
            if step >= 2:
                accounts.verify(session, account, now=NOON + step * SECOND)
            ledger.refresh(session, account, NOON + step * SECOND)
            seen.append(account.available)
    assert seen == [0, 0, 15, 15]
    with database.transaction() as session:
        assert session.get_one(Account, account_id).verified_at == NOON + 2 * SECOND


def test_other_credits_cannot_be_spent_before_verification(database: Database) -> None:
    account_id = unverified(database)
    with database.transaction() as session:
        account = accounts.lock(session, account_id)
        make_grant(session, account, 5)
        with pytest.raises(AddressUnverified):
            make_hold(session, account)
        accounts.verify(session, account, now=NOON)
        assert make_hold(session, account).amount == 1


def test_accounts_created_by_an_operator_are_verified(database: Database) -> None:
    with database.transaction() as session:
        account = accounts.create(session, email="a@example.com", now=NOON)
        ledger.refresh(session, accounts.lock(session, account.id), NOON)
        assert account.available == 15
