from datetime import UTC, datetime, timedelta

import pytest
from sqlmodel import Session, col, select

from billing.errors import DuplicateReference, InvalidGrant
from billing.ledger import ledger
from billing.ledger.models import Account, Entry, EntryKind, Grant, GrantKind
from billing.ledger.plans import PlanName
from billing.subscriptions.revocation import revoke
from tests.support.builders import DAY, NOON, SECOND, make_account, make_grant, make_hold, unique


def entries(session: Session, account: Account) -> list[tuple[str, int]]:
    rows = session.exec(select(Entry).where(Entry.account_id == account.id).order_by(col(Entry.id))).all()
    return [(row.kind, row.amount) for row in rows]


def test_a_grant_adds_its_credits_with_one_entry(session: Session) -> None:
    account = make_account(session)
    granted = make_grant(session, account, 7, reference="goodwill:hello")
    assert (granted.available, account.available) == (7, 7)
    entry = session.exec(select(Entry)).one()
    assert (entry.kind, entry.amount, entry.reference) == (EntryKind.GRANT, 7, "goodwill:hello")
    assert entry.created_at == NOON


@pytest.mark.parametrize("amount", [0, -1, -1_000_000, 1_000_001, 10**30])
def test_an_invalid_amount_is_refused_and_writes_nothing(session: Session, amount: int) -> None:
    account = make_account(session)
    with pytest.raises(InvalidGrant, match="1 to 1,000,000 credits"):
        make_grant(session, account, amount)
    assert session.exec(select(Grant)).all() == []
    assert account.available == 0


@pytest.mark.parametrize("amount", [1, 1_000_000])
def test_the_smallest_and_the_largest_grant_are_accepted(session: Session, amount: int) -> None:
    account = make_account(session, credits=amount)
    assert account.available == amount


def test_a_reference_grants_once_across_accounts_and_the_transaction_stays_usable(session: Session) -> None:
    first, second = make_account(session), make_account(session)
    make_grant(session, first, 3, reference="stripe:in_1")
    for account in (first, second):
        with pytest.raises(DuplicateReference, match="stripe:in_1"):
            make_grant(session, account, 3, reference="stripe:in_1")
    make_grant(session, second, 4, reference="stripe:in_2")
    assert (first.available, second.available) == (3, 4)


def test_a_reference_used_by_another_kind_of_entry_grants_nothing(session: Session) -> None:
    account = make_account(session)
    make_grant(session, account, 3, reference="stripe:in_1")
    revoke(session, account, grant_reference="stripe:in_1", amount=1, reference="stripe:ch_1", now=NOON)
    with pytest.raises(DuplicateReference, match="stripe:ch_1"):
        make_grant(session, account, 3, reference="stripe:ch_1")
    assert account.available == 2
    assert session.exec(select(Grant.reference)).all() == ["stripe:in_1"]


def test_a_grant_in_the_past_expires_at_once(session: Session) -> None:
    account = make_account(session)
    granted = make_grant(session, account, 3, expires_at=NOON)
    assert (granted.available, account.available) == (0, 0)
    assert entries(session, account) == [("grant", 3), ("expiry", -3)]


def test_a_grant_expires_at_its_end_and_not_a_microsecond_earlier(session: Session) -> None:
    account = make_account(session)
    make_grant(session, account, 3, expires_at=NOON + DAY)
    ledger.expire_due(session, account, NOON + DAY - timedelta(microseconds=1))
    assert account.available == 3
    ledger.expire_due(session, account, NOON + DAY)
    assert account.available == 0
    ledger.expire_due(session, account, NOON + 2 * DAY)
    assert entries(session, account) == [("grant", 3), ("expiry", -3)]


def test_a_grant_without_an_end_never_expires(session: Session) -> None:
    account = make_account(session, credits=3)
    ledger.expire_due(session, account, NOON + 36_500 * DAY)
    assert account.available == 3


def test_expiry_takes_only_credits_that_are_not_held(session: Session) -> None:
    account = make_account(session)
    granted = make_grant(session, account, 3, expires_at=NOON + DAY)
    make_hold(session, account)
    ledger.expire_due(session, account, NOON + DAY)
    assert (account.available, account.held) == (0, 1)
    assert (granted.available, granted.held) == (0, 1)
    assert entries(session, account) == [("grant", 3), ("expiry", -2)]


def test_expiry_leaves_grants_of_other_accounts_unchanged(session: Session) -> None:
    account, other = make_account(session), make_account(session)
    make_grant(session, other, 3, expires_at=NOON + DAY)
    ledger.expire_due(session, account, NOON + 2 * DAY)
    assert other.available == 3


@pytest.mark.parametrize(
    ("plan", "credits", "kind"),
    [
        (PlanName.FREE, 15, GrantKind.MONTHLY),
        (PlanName.STANDARD, 500, GrantKind.PLAN),
        (PlanName.BUSINESS, 5_000, GrantKind.PLAN),
    ],
)
def test_each_plan_grants_its_credits(session: Session, plan: PlanName, credits: int, kind: str) -> None:
    account = make_account(session, plan=plan)
    ledger.refresh(session, account, NOON)
    granted = session.exec(select(Grant)).one()
    assert (granted.amount, granted.kind, account.available) == (credits, kind, credits)
    assert granted.reference == f"grant:{account.id}:2026-01-15"
    assert (granted.starts_at, granted.expires_at) == (NOON, NOON + 31 * DAY)


def test_a_period_grants_its_credits_once(session: Session) -> None:
    account = make_account(session)
    for days in (0, 0, 1, 30):
        ledger.refresh(session, account, NOON + days * DAY)
    assert account.available == 15
    assert account.period_ends_at == NOON + 31 * DAY


def test_unused_credits_expire_with_their_period_and_the_next_one_grants_new_ones(session: Session) -> None:
    account = make_account(session)
    ledger.refresh(session, account, NOON)
    ledger.refresh(session, account, NOON + 31 * DAY - SECOND)
    assert account.available == 15
    ledger.refresh(session, account, NOON + 31 * DAY)
    assert account.available == 15
    assert entries(session, account) == [("grant", 15), ("expiry", -15), ("grant", 15)]


def test_credits_without_an_expiry_outlive_the_period(session: Session) -> None:
    account = make_account(session, credits=4)
    ledger.refresh(session, account, NOON)
    ledger.refresh(session, account, NOON + 31 * DAY)
    assert account.available == 19


def test_an_account_idle_for_seven_months_gets_the_current_month_only(session: Session) -> None:
    account = make_account(session)
    ledger.refresh(session, account, NOON)
    ledger.refresh(session, account, datetime(2026, 8, 20, tzinfo=UTC))
    assert account.available == 15
    assert entries(session, account) == [("grant", 15), ("expiry", -15), ("grant", 15)]
    assert account.period_ends_at == datetime(2026, 9, 15, 12, tzinfo=UTC)


def test_twelve_months_from_the_31st_yield_twelve_grants(session: Session) -> None:
    account = make_account(session, now=datetime(2027, 12, 31, 23, 59, tzinfo=UTC))
    for hours in range(0, 366 * 24, 6):  # 2028 has a leap day.
        ledger.refresh(session, account, datetime(2027, 12, 31, 23, 59, tzinfo=UTC) + timedelta(hours=hours))
        assert account.available == 15
    references = session.exec(select(Grant.reference).order_by(col(Grant.starts_at))).all()
    days = ["2027-12-31", "2028-01-31", "2028-02-29", "2028-03-31", "2028-04-30", "2028-05-31", "2028-06-30"]
    days += ["2028-07-31", "2028-08-31", "2028-09-30", "2028-10-31", "2028-11-30"]
    assert references == [f"grant:{account.id}:{day}" for day in days]


def test_a_clock_set_back_across_the_start_of_the_period_grants_nothing_twice(session: Session) -> None:
    account = make_account(session)
    ledger.refresh(session, account, NOON)
    for step in (31 * DAY, 31 * DAY - SECOND, 31 * DAY, 0 * DAY, 31 * DAY):
        ledger.refresh(session, account, NOON + step)
        assert account.available == 15
    assert len(session.exec(select(Grant)).all()) == 2


def test_a_clock_that_was_a_year_ahead_does_not_prevent_later_grants(
    session: Session,
) -> None:
    account = make_account(session)
    ledger.refresh(session, account, NOON)
    ledger.refresh(session, account, NOON + 365 * DAY)
    for days in (1, 31, 59, 365):
        ledger.refresh(session, account, NOON + days * DAY)
    references = session.exec(select(Grant.reference).order_by(col(Grant.starts_at))).all()
    starts = ["2026-01-15", "2026-02-15", "2026-03-15", "2027-01-15"]
    assert references == [f"grant:{account.id}:{start}" for start in starts]


def test_an_anchor_moved_within_its_day_grants_nothing_twice(session: Session) -> None:
    account = make_account(session)
    ledger.refresh(session, account, NOON)
    account.period_anchor_at = NOON - timedelta(hours=3)
    ledger.refresh(session, account, NOON)
    assert account.available == 15
    assert account.period_ends_at == NOON + 31 * DAY - timedelta(hours=3)


def test_stale_sessions_grant_a_period_once(session: Session) -> None:
    account = make_account(session)
    ledger.refresh(session, account, NOON)
    account.period_ends_at = None  # As a session sees it that read the row before.
    ledger.refresh(session, account, NOON)
    assert account.available == 15


def test_starts_at_is_given(session: Session) -> None:
    account = make_account(session)
    granted = ledger.grant(
        session,
        account,
        kind=GrantKind.PLAN,
        amount=500,
        reference=unique("stripe"),
        starts_at=NOON - DAY,
        expires_at=NOON + 30 * DAY,
        now=NOON,
    )
    assert (granted.starts_at, granted.created_at) == (NOON - DAY, NOON)
