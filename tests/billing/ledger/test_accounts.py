import threading
from datetime import datetime

import pytest
from sqlmodel import Session

from api.db.database import Database
from billing.errors import AccountClosed, AccountExists, UnknownAccount
from billing.ledger import accounts, ledger
from billing.ledger.models import Account
from billing.ledger.plans import PlanName
from tests.support.builders import DAY, NOON, OWNER, make_account, make_hold


def test_a_new_account_is_free_and_its_periods_start_at_its_creation(session: Session) -> None:
    account = accounts.create(session, email="ada@example.org", now=NOON)
    assert (account.plan, account.available, account.held) == (PlanName.FREE, 0, 0)
    assert account.created_at == account.period_anchor_at == NOON
    assert account.id.startswith("acc_")


def test_an_address_has_one_account_in_any_spelling(session: Session) -> None:
    account = accounts.create(session, email=" Ada@Example.org ", now=NOON)
    with pytest.raises(AccountExists, match=r"ada@example\.org"):
        accounts.create(session, email="ADA@example.ORG", now=NOON)
    assert accounts.find_by_email(session, "aDa@example.org").id == account.id


def test_opening_an_account_twice_concurrently_fails_for_one_caller(
    database: Database,
) -> None:
    outcomes: list[str] = []
    first_has_inserted = threading.Event()

    def open_second() -> None:
        first_has_inserted.wait()
        try:
            with database.transaction() as second:
                accounts.create(second, email="ada@example.org", now=NOON)
            outcomes.append("created")
        except AccountExists:
            outcomes.append("exists")

    thread = threading.Thread(target=open_second)
    thread.start()
    with database.transaction() as first:
        accounts.create(first, email="ada@example.org", now=NOON)
        first_has_inserted.set()
        thread.join(timeout=0.2)  # The second one waits for this transaction, on either database.
    thread.join()
    assert outcomes == ["exists"]


def test_finding_an_address_without_an_account_raises(session: Session) -> None:
    with pytest.raises(UnknownAccount, match=r"nobody@example\.org"):
        accounts.find_by_email(session, "nobody@example.org")


def test_locking_an_unknown_account_raises(session: Session) -> None:
    with pytest.raises(UnknownAccount):
        accounts.lock(session, "acc_none")


def test_locking_refreshes_the_row(database: Database) -> None:
    with database.transaction() as session:
        account_id = make_account(session).id
    with Session(database.engine, expire_on_commit=False) as session:
        stale = session.get_one(Account, account_id)
        session.commit()
        with database.transaction() as other:
            accounts.lock(other, account_id).plan = PlanName.BUSINESS
        assert stale.plan == PlanName.FREE
        assert accounts.lock(session, account_id).plan == PlanName.BUSINESS
        assert stale.plan == PlanName.BUSINESS
        session.rollback()


def test_locking_keeps_changes_of_this_transaction(session: Session) -> None:
    account = make_account(session, credits=1)
    account.rate_full_at = NOON
    make_hold(session, account)
    assert accounts.lock(session, account.id).rate_full_at == NOON


def test_a_closed_account_refuses_every_operation(session: Session) -> None:
    account = make_account(session, credits=1)
    accounts.close(session, account.id, now=NOON)
    with pytest.raises(AccountClosed):
        accounts.lock(session, account.id)
    with pytest.raises(AccountClosed):
        accounts.close(session, account.id, now=NOON)
    assert accounts.find_by_email(session, account.email).closed_at == NOON


@pytest.mark.parametrize("ending", ["capture", "release"])
def test_running_calls_settle_after_their_account_is_closed(session: Session, ending: str) -> None:
    account = make_account(session, credits=2)
    running = make_hold(session, account)
    accounts.close(session, account.id, now=NOON)
    if ending == "capture":
        ledger.capture(session, running.id, lease_owner=OWNER, now=NOON)
    else:
        ledger.release(session, running.id, now=NOON)
    assert (account.available, account.held) == (1 if ending == "capture" else 2, 0)


@pytest.mark.parametrize("later", [NOON, NOON + 20 * DAY])
def test_a_changed_plan_grants_its_credits_with_the_next_period(session: Session, later: datetime) -> None:
    account = make_account(session)
    ledger.refresh(session, account, NOON)
    accounts.change_plan(session, account, PlanName.STANDARD)
    ledger.refresh(session, account, later)
    assert account.available == 15
    ledger.refresh(session, account, NOON + 31 * DAY)
    assert account.available == 500


def test_a_downgrade_keeps_the_credits_of_the_period_until_it_ends(session: Session) -> None:
    account = make_account(session, plan=PlanName.BUSINESS)
    ledger.refresh(session, account, NOON)
    accounts.change_plan(session, account, PlanName.FREE)
    ledger.refresh(session, account, NOON + 30 * DAY)
    assert account.available == 5_000
    ledger.refresh(session, account, NOON + 31 * DAY)
    assert account.available == 15
