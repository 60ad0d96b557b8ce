"""How far credits have run down: each level once, until new credits arrive."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlmodel import Session

from api.db.database import Database
from billing.ledger import accounts, ledger, levels
from billing.ledger.models import Account, CreditLevel, GrantKind
from billing.ledger.plans import PlanName
from tests.support.builders import DAY, NOON, make_account, make_grant, make_hold, unique

LOW, EXHAUSTED = CreditLevel.LOW, CreditLevel.EXHAUSTED


@pytest.fixture
def session(migrated_database_url: str) -> Iterator[Session]:
    database = Database(migrated_database_url)
    with database.transaction() as opened:
        yield opened
    database.close()


def spend(session: Session, account: Account, count: int = 1) -> list[CreditLevel]:
    """Spend credits one by one; the levels that were reached."""
    reached = []
    for _ in range(count):
        accounts.lock(session, account.id)
        held = make_hold(session, account)
        ledger.capture(session, held.id, lease_owner="process-1", now=NOON, account=account)
        reached.append(levels.lower(session, account))
    return [each for each in reached if each is not None]


def of_plan(session: Session, account: Account, amount: int, days: int = 30) -> None:
    ledger.grant(
        session,
        account,
        kind=GrantKind.PLAN,
        amount=amount,
        reference=unique("plan"),
        expires_at=NOON + timedelta(days=days),
        now=NOON,
    )


def test_a_fifth_and_nothing_are_reached_once(session: Session) -> None:
    account = make_account(session, credits=10)
    assert spend(session, account, 7) == []
    assert spend(session, account) == [LOW]
    assert spend(session, account) == []
    assert spend(session, account) == [EXHAUSTED]


def test_credits_that_come_back_do_not_repeat_a_level(session: Session) -> None:
    account = make_account(session, credits=10)
    spend(session, account, 7)
    last = make_hold(session, account)
    ledger.capture(session, last.id, lease_owner="process-1", now=NOON)
    assert levels.lower(session, account) is LOW
    for _ in range(3):
        ledger.refund(session, last.id, now=NOON)
        accounts.lock(session, account.id)
        assert account.available == 3
        last = make_hold(session, account)
        ledger.capture(session, last.id, lease_owner="process-1", now=NOON)
        assert levels.lower(session, account) is None


def test_held_credits_count_as_left(session: Session) -> None:
    account = make_account(session, credits=5)
    held = [make_hold(session, account) for _ in range(5)]
    reached = []
    for each in held:
        ledger.capture(session, each.id, lease_owner="process-1", now=NOON)
        reached.append(levels.lower(session, account))
    assert reached == [None, None, None, LOW, EXHAUSTED]


def test_new_credits_begin_again_with_all_that_are_there(session: Session) -> None:
    account = make_account(session, credits=10)
    assert spend(session, account, 9) == [LOW]
    make_grant(session, account, 24)
    assert account.low_credits == 5  # of the 25 that are there
    assert spend(session, account, 19) == []
    assert spend(session, account, 6) == [LOW, EXHAUSTED]


def test_a_period_counts_what_it_brought(session: Session) -> None:
    """An upgrade adds to the period's credits; other credits do not count."""
    account = make_account(session, credits=100, plan=PlanName.STANDARD)
    of_plan(session, account, 50)
    assert account.low_credits == 10
    of_plan(session, account, 200)
    assert account.low_credits == 50
    of_plan(session, account, 40, days=60)
    assert account.low_credits == 8


def test_a_limit_that_was_jumped_over_is_met_by_the_next_credit(session: Session) -> None:
    account = make_account(session, credits=2)
    make_grant(session, account, 98, expires_at=NOON + DAY)
    ledger.expire_due(session, account, NOON + 2 * DAY)
    assert (account.available, account.low_credits) == (2, 20)
    assert spend(session, account, 2) == [LOW, EXHAUSTED]


def test_all_at_once_is_only_exhausted(session: Session) -> None:
    account = make_account(session, credits=1)
    assert spend(session, account) == [EXHAUSTED]


def test_credits_that_have_ended_already_restart_nothing(session: Session) -> None:
    account = make_account(session, credits=10)
    spend(session, account, 8)
    make_grant(session, account, 50, expires_at=NOON - DAY)
    assert (account.low_credits, account.level) == (2, LOW)


def test_the_latest_grant_is_named(session: Session) -> None:
    account = make_account(session, credits=1)
    latest = make_grant(session, account, 5, now=NOON + DAY)
    assert levels.latest_grant(session, account.id) == latest.id
    assert levels.latest_grant(session, make_account(session).id) == ""
