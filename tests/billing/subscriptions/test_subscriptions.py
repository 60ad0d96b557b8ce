"""The plan of a subscription, its grace period, and repeated refunds and disputes."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlmodel import Session, select

from billing.ledger.models import Account
from billing.ledger.plans import PlanName
from billing.subscriptions import subscriptions
from billing.subscriptions.models import Reversal, ReversalKind
from billing.subscriptions.types import CustomerFacts, InvoiceFacts, ReversalFacts, SubscriptionFacts
from tests.support.builders import DAY, NOON, make_account

SECOND = timedelta(seconds=1)
SUBSCRIPTION = SubscriptionFacts(
    id="sub_1",
    item_id="si_1",
    price_id="price_1",
    plan=PlanName.STANDARD,
    status="active",
    created_at=NOON,
    anchor_at=NOON,
    period_starts_at=NOON,
    period_ends_at=NOON + 30 * DAY,
)
INVOICE = InvoiceFacts(
    id="in_1",
    subscription_id="sub_1",
    plan=PlanName.STANDARD,
    entitled=500,
    amount_paid=900,
    currency="usd",
    created_at=NOON,
    period_starts_at=NOON,
    period_ends_at=NOON + 30 * DAY,
)


@pytest.mark.notices(fault="grace from the start of the period")
def test_the_grace_period_starts_at_the_failed_payment() -> None:
    """Stripe charges a renewal an hour after the period's start, and retries may fail days later."""
    failed_at = NOON + 3 * DAY
    unpaid = replace(SUBSCRIPTION, status="past_due", unpaid_since=failed_at)
    end = failed_at + 7 * DAY
    assert subscriptions.plan_given(unpaid, (INVOICE,), end - SECOND) is PlanName.STANDARD
    assert subscriptions.plan_given(unpaid, (INVOICE,), end) is PlanName.FREE
    assert subscriptions.grace_end(unpaid) == end


def reversal(kind: ReversalKind, amount: int, reversal_id: str) -> ReversalFacts:
    return ReversalFacts(reversal_id, kind, amount, NOON)


DISPUTE = reversal(ReversalKind.DISPUTE, 900, "du_1")


def apply(session: Session, account: Account, *reversals: ReversalFacts) -> int:
    """The available credits once Stripe shows exactly these reversals; a second look changes nothing."""
    facts = CustomerFacts("cus_1", (SUBSCRIPTION,), (replace(INVOICE, reversals=reversals),))
    subscriptions.apply(session, account, facts, NOON)
    assert subscriptions.apply(session, account, facts, NOON) == []
    return account.available


@pytest.mark.notices(fault="a lost dispute is final")
def test_a_dispute_lost_after_it_was_won_revokes_the_credits_again(session: Session) -> None:
    account = make_account(session)
    shown = [(), (DISPUTE,), (), (DISPUTE,), (), (DISPUTE,)]
    assert [apply(session, account, *each) for each in shown] == [500, 0, 500, 0, 500, 0]


@pytest.mark.notices(fault="reversals go beyond the payment")
@pytest.mark.parametrize("refunded", [450, 900])
def test_a_dispute_lost_again_revokes_only_what_a_refund_left(session: Session, refunded: int) -> None:
    account = make_account(session)
    refund = reversal(ReversalKind.REFUND, refunded, "re_1")
    apply(session, account, DISPUTE)
    apply(session, account)
    assert apply(session, account, refund) == 500 - 500 * refunded // 900
    assert apply(session, account, DISPUTE, refund) == 0
    assert sum(each.credits for each in session.exec(select(Reversal))) == 500


def facts(*given: SubscriptionFacts) -> CustomerFacts:
    return CustomerFacts("cus_1", given, (INVOICE,) if given else ())


def test_a_plan_set_by_an_operator_stays_whatever_stripe_says(session: Session) -> None:
    account = make_account(session)
    subscriptions.set_operator_plan(session, account, PlanName.BUSINESS)
    for given in ((SUBSCRIPTION,), (replace(SUBSCRIPTION, status="canceled"),), ()):
        subscriptions.apply(session, account, facts(*given), NOON)
        assert (account.plan, account.operator_plan) == ("business", "business")
    assert account.subscription_id is None
    subscriptions.apply(session, account, facts(SUBSCRIPTION), NOON)
    assert account.available == 500  # its invoices are paid, and bring their own credits
    subscriptions.set_operator_plan(session, account, None)
    assert account.plan == "standard"
    assert subscriptions.apply(session, account, facts(SUBSCRIPTION), NOON) == []


def test_a_plan_set_by_an_operator_survives_the_end_of_a_grace_period(session: Session) -> None:
    account = make_account(session)
    subscriptions.apply(session, account, facts(SUBSCRIPTION), NOON)
    subscriptions.set_operator_plan(session, account, PlanName.BUSINESS)
    unpaid = replace(SUBSCRIPTION, status="past_due", unpaid_since=NOON)
    subscriptions.apply(session, account, facts(unpaid), NOON)
    subscriptions.end_grace(session, account.id, NOON + 8 * DAY)
    assert (account.plan, account.subscription_id) == ("business", None)
    subscriptions.set_operator_plan(session, account, None)
    assert account.plan == "free"


def test_a_given_plan_is_back_once_the_operators_is_released(session: Session) -> None:
    account = make_account(session, plan=PlanName.BUSINESS)
    subscriptions.set_operator_plan(session, account, PlanName.FREE)
    subscriptions.set_operator_plan(session, account, PlanName.STANDARD)
    assert account.plan == "standard"
    subscriptions.set_operator_plan(session, account, None)
    assert (account.plan, account.given_plan, account.operator_plan) == ("business", None, None)
    subscriptions.set_operator_plan(session, account, None)
    assert account.plan == "business"


def test_a_given_plan_outlives_a_subscription_that_came_while_an_operators_plan_was_set(
    session: Session,
) -> None:
    account = make_account(session, plan=PlanName.BUSINESS)
    subscriptions.set_operator_plan(session, account, PlanName.FREE)
    subscriptions.apply(session, account, facts(SUBSCRIPTION), NOON)
    subscriptions.set_operator_plan(session, account, None)
    assert account.plan == "standard"
    subscriptions.apply(session, account, facts(), NOON)
    assert account.plan == "business"
