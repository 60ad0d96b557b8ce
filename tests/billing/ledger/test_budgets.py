"""Budgets: what they count, in which month, and what they refuse."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlmodel import Session, select

from api.db.database import Database
from billing.errors import BudgetSpent, DuplicateReference, HoldNotCaptured, InsufficientCredits
from billing.ledger import budgets, ledger
from billing.ledger.audit import audit
from billing.ledger.models import Account, Entry, Hold, HoldStatus
from tests.support.builders import NOON, OWNER, make_account, unique

FEBRUARY = datetime(2026, 2, 1, tzinfo=UTC)


@pytest.fixture
def budget(database: Database) -> tuple[str, str]:
    """An account with ten credits, and its budget of two."""
    with database.transaction() as session:
        account = make_account(session, credits=10)
        budget_id = unique("key")
        budgets.create(session, budget_id, account.id, 2)
        return account.id, budget_id


def hold(session: Session, budget: tuple[str, str], now: datetime = NOON, reference: str = "") -> Hold:
    return ledger.hold(
        session,
        session.get_one(Account, budget[0]),
        reference=reference or unique("request"),
        lease_owner=OWNER,
        lease_seconds=30,
        now=now,
        budget_id=budget[1],
    )


def test_a_spent_budget_refuses_and_names_its_limit_and_the_next_month(
    database: Database, budget: tuple[str, str]
) -> None:
    with database.transaction() as session:
        for _ in range(2):
            hold(session, budget)
        for attempt in (hold, lambda *_: budgets.require_room(session, budget[1], NOON)):
            with pytest.raises(BudgetSpent) as refused:
                attempt(session, budget)
            assert (refused.value.limit, refused.value.renews_at) == (2, FEBRUARY)
        assert budgets.used(session, budget[1], NOON) == 2
        account = session.get_one(Account, budget[0])
        assert (account.available, account.held) == (8, 2)
        assert audit(session) == []


@pytest.mark.parametrize("ending", ["released", "expired", "refunded"])
def test_what_cost_nothing_in_the_end_is_given_back(
    database: Database, budget: tuple[str, str], ending: str
) -> None:
    with database.transaction() as session:
        held = hold(session, budget)
        later = NOON + timedelta(seconds=31)
        if ending == "refunded":
            ledger.capture(session, held.id, lease_owner=OWNER, now=NOON)
            assert budgets.used(session, budget[1], NOON) == 1
            ledger.refund(session, held.id, now=later)
        elif ending == "released":
            ledger.release(session, held.id, now=later)
        else:
            ledger.release(session, held.id, now=later, status=HoldStatus.EXPIRED)
        assert budgets.used(session, budget[1], NOON) == 0
        assert audit(session) == []


def test_a_call_counts_in_the_month_in_which_it_began(database: Database, budget: tuple[str, str]) -> None:
    last_second = FEBRUARY - timedelta(seconds=1)
    with database.transaction() as session:
        held = [hold(session, budget, last_second) for _ in range(2)]
        hold(session, budget, FEBRUARY)
        ledger.capture(session, held[0].id, lease_owner=OWNER, now=FEBRUARY)
        ledger.release(session, held[1].id, now=FEBRUARY)
        used = [budgets.used(session, budget[1], now) for now in (last_second, FEBRUARY)]
        assert used == [1, 1]
        assert audit(session) == []


def test_a_lower_limit_acts_at_once_and_a_higher_one_goes_on(
    database: Database, budget: tuple[str, str]
) -> None:
    with database.transaction() as session:
        hold(session, budget)
        budgets.set_limit(session, budget[1], 1)
        with pytest.raises(BudgetSpent):
            hold(session, budget)
        budgets.set_limit(session, budget[1], None)
        for _ in range(4):
            hold(session, budget)
        assert budgets.used(session, budget[1], NOON) == 5
        assert budgets.limit_of(session, budget[1]) is None


def test_a_refused_hold_counts_nothing(database: Database, budget: tuple[str, str]) -> None:
    with database.transaction() as session:
        reference = unique("request")
        hold(session, budget, reference=reference)
        with pytest.raises(DuplicateReference):
            hold(session, budget, reference=reference)
        poor = make_account(session)
        budgets.create(session, poor.id, poor.id, 5)
        with pytest.raises(InsufficientCredits):
            hold(session, (poor.id, poor.id))
        assert (budgets.used(session, budget[1], NOON), budgets.used(session, poor.id, NOON)) == (1, 0)
        assert audit(session) == []


def test_a_hold_of_nothing_changes_no_balance_and_has_no_entry(database: Database) -> None:
    with database.transaction() as session:
        account = make_account(session)
        held = ledger.hold_nothing(
            session, account, reference=unique("request"), lease_owner=OWNER, lease_seconds=30, now=NOON
        )
        assert (held.amount, held.grant_id, account.available, account.held) == (0, None, 0, 0)
        ledger.capture(session, held.id, lease_owner=OWNER, now=NOON)
        with pytest.raises(HoldNotCaptured):
            ledger.refund(session, held.id, now=NOON)
        released = ledger.hold_nothing(
            session, account, reference=unique("request"), lease_owner=OWNER, lease_seconds=30, now=NOON
        )
        ledger.release(session, released.id, now=NOON)
        assert session.exec(select(Entry).where(Entry.account_id == account.id)).all() == []
        assert audit(session) == []


def test_the_month_renews_at_midnight_utc_of_the_first() -> None:
    december = datetime(2026, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    assert budgets.renews_at(december) == datetime(2027, 1, 1, tzinfo=UTC)
    assert budgets.month_id("key_1", december) == "key_1:2026-12"
    assert budgets.month_id("key_1", datetime(2027, 1, 1, tzinfo=UTC)) == "key_1:2027-01"
