"""The plan that a customer's subscriptions give an account, and when it ends.

`apply` makes the account agree with Stripe's current state. It depends on nothing else, so the order and
number of earlier events do not matter.
"""

from datetime import datetime, timedelta
from typing import Any

from sqlmodel import Session, col, select

from billing.ledger import accounts
from billing.ledger.models import Account
from billing.ledger.plans import PLANS, PlanName
from billing.subscriptions import invoices
from billing.subscriptions.models import Subscription
from billing.subscriptions.types import CustomerFacts, InvoiceFacts, SubscriptionFacts

#: How long the plan stays after a failed payment.
GRACE = timedelta(days=7)
#: Statuses of a subscription that has not ended: a second one would be charged as well.
LIVE_STATUSES = frozenset({"active", "trialing", "past_due", "unpaid", "paused"})


def apply(session: Session, account: Account, facts: CustomerFacts, now: datetime) -> list[str]:
    """Apply `facts` to plan, period and credits of a locked account; returns a description of each change."""
    changes = []
    for invoice in sorted(facts.invoices, key=lambda each: (each.created_at, each.id)):
        changes += invoices.settle(session, account, invoice, now)
    for each in facts.subscriptions:
        changes += _store(session, account, each)
    plan_by_id = {each.id: plan_given(each, facts.invoices, now) for each in facts.subscriptions}
    best = governing(facts, now)
    if best is not None:
        changes += _apply_subscription(session, account, best, plan_by_id[best.id])
    elif account.subscription_id is not None:
        changes += _end_plan(session, account)
    return changes


def governing(facts: CustomerFacts, now: datetime) -> SubscriptionFacts | None:
    """The subscription that determines the plan: the one with the largest plan, of equal ones the first."""
    plan_by_id = {each.id: plan_given(each, facts.invoices, now) for each in facts.subscriptions}
    oldest_first = sorted(facts.subscriptions, key=lambda each: (each.created_at, each.id))
    with_a_plan = [each for each in oldest_first if plan_by_id[each.id] is not PlanName.FREE]
    return max(with_a_plan, key=lambda each: PLANS[plan_by_id[each.id]].monthly_credits, default=None)


def surplus(facts: CustomerFacts, now: datetime) -> list[SubscriptionFacts]:
    """Live subscriptions besides the governing one, bought on two checkout pages open at once."""
    best = governing(facts, now)
    if best is None:
        return []
    return [each for each in facts.subscriptions if each.status in LIVE_STATUSES and each.id != best.id]


def end_all_subscriptions(session: Session, account: Account) -> list[str]:
    """End the subscriptions of a customer deleted at Stripe; paid credits are kept."""
    live = select(Subscription).where(
        col(Subscription.account_id) == account.id, col(Subscription.status).in_(LIVE_STATUSES)
    )
    changes = []
    for each in session.exec(live).all():
        each.status = "canceled"
        changes.append(f"{each.id}: ended, for its customer was deleted at Stripe")
    if account.subscription_id is not None:
        changes += _end_plan(session, account)
    session.flush()
    return changes


def plan_given(subscription: SubscriptionFacts, paid: tuple[InvoiceFacts, ...], now: datetime) -> PlanName:
    """The plan that a subscription gives at `now`; free if none."""
    if subscription.status in ("active", "trialing"):
        if not subscription.is_collection_paused:
            return subscription.plan
        covered = any(
            invoice.subscription_id == subscription.id and invoice.period_ends_at > now for invoice in paid
        )
        return subscription.plan if covered else PlanName.FREE
    if subscription.status in ("past_due", "unpaid"):
        ends_at = grace_end(subscription)
        own = [invoice for invoice in paid if invoice.subscription_id == subscription.id]
        if ends_at is None or ends_at <= now or not own:
            return PlanName.FREE
        # An upgrade whose payment failed does not raise limits.
        last_paid = max(own, key=lambda invoice: (invoice.created_at, invoice.id)).plan
        return min(subscription.plan, last_paid, key=lambda plan: PLANS[plan].monthly_credits)
    return PlanName.FREE


def grace_end(subscription: SubscriptionFacts) -> datetime | None:
    """When a subscription with an unpaid invoice loses its plan; None while everything is paid."""
    if subscription.status not in ("past_due", "unpaid"):
        return None
    return (subscription.unpaid_since or subscription.period_starts_at) + GRACE


def lapsed_graces(session: Session, now: datetime) -> list[str]:
    """Ids of accounts that still have a plan although their grace period has ended."""
    statement = (
        select(Account.id)
        .join(Subscription, col(Subscription.id) == col(Account.subscription_id))
        .where(col(Subscription.grace_ends_at) <= now)
        .order_by(Account.id)
    )
    return list(session.exec(statement).all())


def end_grace(session: Session, account_id: str, now: datetime) -> None:
    """Return to the free plan, without a call to Stripe, if the grace period has ended unpaid."""
    account = accounts.lock_even_closed(session, account_id)
    if account_id in lapsed_graces(session, now):
        _end_plan(session, account)


def set_operator_plan(session: Session, account: Account, plan: PlanName | None) -> None:
    """Let the operator's plan replace any other, whatever Stripe says; None: follow Stripe again.

    Limits change at once. Credits stay; those of later periods come from the operator's plan, or from paid
    invoices as long as there is a subscription. `account` is locked. After None, the plan is the one that
    Stripe was last known to give, so let the customer be synchronised.
    """
    if plan is not None:
        if account.operator_plan is None:
            _remember_given_plan(account)
        account.operator_plan = plan.value
        accounts.change_plan(session, account, plan)
        return
    if account.operator_plan is None:
        return
    account.operator_plan = None
    subscription = session.get(Subscription, account.subscription_id) if account.subscription_id else None
    if subscription is not None:
        accounts.change_plan(session, account, PlanName(subscription.plan))
        return
    restored = PlanName(account.given_plan or PlanName.FREE)
    account.given_plan = None
    accounts.change_plan(session, account, restored)


def live_subscription(session: Session, account_id: str) -> Subscription | None:
    """The account's newest subscription that has not ended."""
    return session.exec(
        select(Subscription)
        .where(col(Subscription.account_id) == account_id, col(Subscription.status).in_(LIVE_STATUSES))
        .order_by(col(Subscription.created_at).desc(), col(Subscription.id))
        .limit(1)
    ).first()


def had_any(session: Session, account_id: str) -> bool:
    """Whether the account has ever had a subscription, which excludes it from trials."""
    found = select(Subscription.id).where(col(Subscription.account_id) == account_id).limit(1)
    return session.exec(found).first() is not None


def _store(session: Session, account: Account, facts: SubscriptionFacts) -> list[str]:
    values: dict[str, Any] = {
        "item_id": facts.item_id,
        "plan": facts.plan.value,
        "status": facts.status,
        "period_starts_at": facts.period_starts_at,
        "period_ends_at": facts.period_ends_at,
        "ends_at": facts.ends_at,
        "grace_ends_at": grace_end(facts),
        "next_plan": facts.next_plan.value if facts.next_plan is not None else None,
    }
    stored = session.get(Subscription, facts.id)
    if stored is None:
        session.add(Subscription(id=facts.id, account_id=account.id, created_at=facts.created_at, **values))
        session.flush()
        return [f"{facts.id}: {facts.status}, {facts.plan.value}"]
    changes = [
        f"{facts.id}: {name} was {getattr(stored, name)}, is {value}"
        for name, value in values.items()
        if getattr(stored, name) != value
    ]
    for name, value in values.items():
        setattr(stored, name, value)
    session.flush()
    return changes


def _apply_subscription(
    session: Session, account: Account, subscription: SubscriptionFacts, plan: PlanName
) -> list[str]:
    changes = []
    if account.operator_plan is not None:
        plan = PlanName(account.operator_plan)
    if account.plan != plan:
        changes.append(f"{account.id}: plan was {account.plan}, is {plan.value}")
    if account.subscription_id != subscription.id:
        changes.append(f"{account.id}: subscription was {account.subscription_id}, is {subscription.id}")
    if account.operator_plan is None:
        _remember_given_plan(account)
    account.subscription_id = subscription.id
    account.period_anchor_at = subscription.anchor_at
    account.period_ends_at = subscription.period_ends_at
    accounts.change_plan(session, account, plan)
    return changes


def _remember_given_plan(account: Account) -> None:
    """Keep a plan given by the operator, which another one replaces for a time."""
    if account.subscription_id is None and PLANS[PlanName(account.plan)].paid:
        account.given_plan = account.plan


def _end_plan(session: Session, account: Account) -> list[str]:
    """Return to the free plan, or to the one that the operator gave before.

    Paid credits are kept until they expire; periods continue from the same anchor.
    """
    plan = PlanName(account.operator_plan or account.given_plan or PlanName.FREE)
    changes = [f"{account.id}: plan was {account.plan}, is {plan.value}"]
    account.subscription_id = None
    if account.operator_plan is None:
        account.given_plan = None
    account.period_ends_at = None
    accounts.change_plan(session, account, plan)
    return changes
