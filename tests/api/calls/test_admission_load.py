"""Limits and balances are exact under concurrent threads and processes."""

from datetime import timedelta

import pytest
from sqlmodel import Session, col, func, select

from api.calls import admission
from api.calls.admission import Refused
from api.db.database import Database
from api.errors import RateLimited
from billing.ledger import budgets
from billing.ledger.audit import audit
from billing.ledger.models import Account, Entry, EntryKind, Hold, HoldStatus
from billing.ledger.plans import PlanName
from tests.support.load import NOON, Load, account_with, admit, admitted, run


def make_accounts(url: str, number: int, credits: int, plan: PlanName = PlanName.BUSINESS) -> list[str]:
    database = Database(url)
    with database.transaction() as session:
        made = [account_with(session, credits, plan).id for _ in range(number)]
    database.close()
    return made


def captures(session: Session, account_id: str) -> int:
    return session.exec(
        select(func.count()).where(Entry.account_id == account_id, Entry.kind == EntryKind.CAPTURE)
    ).one()


def check_exactly_sold_out(url: str, load: Load, credits: int) -> None:
    """More charges than credits: every credit is spent once, and all other calls are refused."""
    report = run(load)
    sold = len(load.account_ids) * credits
    assert report.outcomes == {"charged": sold, "InsufficientCredits": load.calls - sold}
    assert len(report.bodies) == sold
    database = Database(url)
    with database.transaction() as session:
        for account_id in load.account_ids:
            account = session.get_one(Account, account_id)
            assert (account.available, account.held) == (0, 0)
            assert captures(session, account_id) == credits
        assert audit(session) == []
    database.close()


@pytest.mark.notices(fault="no lock")
def test_600_charges_by_8_threads_in_4_processes_sell_every_credit_once(migrated_database_url: str) -> None:
    account_ids = make_accounts(migrated_database_url, 2, credits=200)
    load = Load(migrated_database_url, account_ids, calls=600, processes=4, threads=2)
    check_exactly_sold_out(migrated_database_url, load, credits=200)


@pytest.mark.long
@pytest.mark.timeout(3_600)
def test_10_000_charges_by_52_threads_in_4_processes_sell_every_credit_once(
    migrated_database_url: str,
) -> None:
    account_ids = make_accounts(migrated_database_url, 20, credits=375)
    load = Load(migrated_database_url, account_ids, calls=10_000, processes=4, threads=13)
    check_exactly_sold_out(migrated_database_url, load, credits=375)


def test_50_simultaneous_calls_in_2_processes_spend_exactly_the_limit_of_their_key(
    migrated_database_url: str,
) -> None:
    (account_id,) = make_accounts(migrated_database_url, 1, credits=200)
    database = Database(migrated_database_url)
    with database.transaction() as session:
        budgets.create(session, "key_limited", account_id, 10)
    load = Load(
        migrated_database_url, [account_id], calls=50, processes=2, threads=25, budget_id="key_limited"
    )
    report = run(load)
    assert report.outcomes == {"charged": 10, "BudgetSpent": 40}
    with database.transaction() as session:
        assert captures(session, account_id) == 10
        assert budgets.used(session, "key_limited", NOON) == 10
        assert session.get_one(Account, account_id).available == 190
        assert audit(session) == []
    database.close()


def test_1000_simultaneous_calls_in_4_processes_get_exactly_the_rate(migrated_database_url: str) -> None:
    (account_id,) = make_accounts(migrated_database_url, 1, credits=2_000)
    report = run(Load(migrated_database_url, [account_id], calls=1_000, processes=4, threads=4))
    assert report.outcomes == {"charged": 600, "RateLimited": 400}

    database = Database(migrated_database_url)
    with database.transaction() as session:
        state = admission.rate_of(session.get_one(Account, account_id), NOON)
        assert (state.remaining, state.retry_after_seconds) == (0, 1)
        assert state.reset_at == NOON + timedelta(minutes=1)
    # Obeying Retry-After succeeds: by then ten calls have come back, and not one more.
    with database.transaction() as session:
        later = NOON + timedelta(seconds=state.retry_after_seconds)
        for number in range(10):
            admitted(session, account_id, key=f"later-{number}", now=later)
        outcome = admit(session, account_id, key="later-10", now=later)
        assert isinstance(outcome, Refused)
        assert isinstance(outcome.error, RateLimited)
    database.close()


def test_100_simultaneous_calls_in_4_processes_get_exactly_the_concurrency(
    migrated_database_url: str,
) -> None:
    (account_id,) = make_accounts(migrated_database_url, 1, credits=200, plan=PlanName.STANDARD)
    load = Load(migrated_database_url, [account_id], calls=100, processes=4, threads=4, settle=False)
    report = run(load)
    assert report.outcomes == {"Admitted": 10, "RateLimited": 90}
    database = Database(migrated_database_url)
    with database.transaction() as session:
        open_holds = select(func.count()).where(col(Hold.status) == HoldStatus.OPEN)
        assert session.exec(open_holds).one() == 10
    database.close()
