"""What the lines of an invoice mean."""

from datetime import UTC, datetime, timedelta

import pytest

from billing.ledger.plans import PlanName
from billing.subscriptions.prorations import InvoiceLine, entitlement

FREE, STANDARD, BUSINESS = PlanName.FREE, PlanName.STANDARD, PlanName.BUSINESS
START, END, NEXT = (datetime(2026, month, 10, tzinfo=UTC) for month in (4, 5, 6))  # 30 and 31 days


def change(old: PlanName, new: PlanName, at: datetime, until: datetime = END) -> list[InvoiceLine]:
    """The two lines of a change, with amounts of the right sign."""
    return [InvoiceLine(old, -450, at, until, True), InvoiceLine(new, 2_450, at, until, True)]


def month(plan: PlanName, start: datetime, end: datetime, amount: int = 900) -> InvoiceLine:
    return InvoiceLine(plan, amount, start, end, False)


@pytest.mark.parametrize(
    ("days", "credits_"), [(0, 4_500), (15, 2_250), (20, 1_500), (29.5, 75), (30 - 1 / 24, 6), (30, 0)]
)
def test_an_upgrade_grants_the_remaining_share_of_the_period(days: float, credits_: int) -> None:
    brought = entitlement(change(STANDARD, BUSINESS, START + timedelta(days=days)), START)
    assert (brought.plan, brought.credits, brought.ends_at) == (BUSINESS, credits_, END)


def test_a_downgrade_revokes_as_much_as_the_upgrade_granted() -> None:
    at = START + timedelta(days=7)
    up, down = (
        entitlement(change(*plans, at), START) for plans in ((STANDARD, BUSINESS), (BUSINESS, STANDARD))
    )
    assert up.credits == -down.credits == 3_450
    assert down.plan is STANDARD


@pytest.mark.parametrize("order", [1, -1])
def test_a_renewal_with_prorations_before_it_pays_the_new_month_in_full(order: int) -> None:
    lines = [*change(STANDARD, BUSINESS, START + timedelta(days=15)), month(BUSINESS, END, NEXT, 4_900)]
    brought = entitlement(lines[::order], START)
    assert (brought.plan, brought.starts_at, brought.ends_at) == (BUSINESS, END, NEXT)
    assert brought.credits == 5_000 + 2_250  # the half month that is paid only now


def test_a_downgrade_credit_does_not_reduce_the_paid_month() -> None:
    lines = [*change(BUSINESS, STANDARD, START + timedelta(days=3)), month(STANDARD, END, NEXT)]
    assert entitlement(lines, START).credits == 500


def test_a_shortened_period_revokes_the_remaining_share() -> None:
    now = START + timedelta(days=15)
    lines = [
        InvoiceLine(STANDARD, -450, now, END, True),
        month(BUSINESS, now, now + timedelta(days=30), 4_900),
    ]
    assert entitlement(lines, START).credits == 5_000 - 250


@pytest.mark.parametrize("amount", [0, 900])
def test_a_free_of_charge_month_counts_in_full(amount: int) -> None:
    assert entitlement([month(STANDARD, START, START + timedelta(days=7), amount)], START).credits == 500


def test_a_free_upgrade_during_a_trial_grants_nothing_yet() -> None:
    now = START + timedelta(days=3)
    lines = [InvoiceLine(STANDARD, 0, now, END, True), InvoiceLine(BUSINESS, 0, now, END, True)]
    assert entitlement(lines, END).credits == 0


def test_the_share_refers_to_the_period_of_the_subscription_at_month_ends() -> None:
    anchor = datetime(2026, 1, 31, 12, tzinfo=UTC)
    end = datetime(2026, 2, 28, 12, tzinfo=UTC)
    assert entitlement(change(STANDARD, BUSINESS, end - timedelta(days=14), end), anchor).credits == 2_250
