"""Plans for an account's owner: offers, the current state, and links to Stripe's checkout and portal."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from sqlmodel import Session

from api.errors import InvalidParameter, NotFound
from api.payments import checkout, customer_sync
from api.payments.checkout import customer_id_of
from api.payments.stripe_client import StripeAccess
from api.services import Services
from billing.errors import StripeRefused, UnknownAccount
from billing.ledger.models import Account
from billing.ledger.plans import PLANS, PlanName
from billing.subscriptions import currencies, subscriptions
from billing.subscriptions.gateway import PriceChange
from billing.subscriptions.models import Subscription
from billing.subscriptions.types import PriceFacts

Status = Literal["free", "given", "trialing", "active", "ending", "past_due", "lapsed"]


@dataclass(frozen=True)
class PlanOffer:
    name: PlanName
    title: str
    monthly_credits: int
    concurrent_calls: int
    calls_per_minute: int
    price_text: str | None  # "$9.00 a month"; None: it cannot be bought here


@dataclass(frozen=True)
class BillingState:
    """The state of an account's plan. At most one of the three times is set."""

    plan: PlanName
    #: free · given (by the operator) · trialing · active · ending (cancelled as of `ends_at`) ·
    #: past_due (a payment failed, the plan stays until `grace_ends_at`) · lapsed (unpaid, back to free)
    status: Status
    next_plan: PlanName | None  # what it changes to at `renews_at`
    renews_at: datetime | None
    ends_at: datetime | None
    grace_ends_at: datetime | None
    has_portal: bool  # the account has a customer at Stripe
    is_fixed: bool = False  # the operator has set the plan, and no subscription changes it


def is_on(services: Services) -> bool:
    """Whether plans can be bought here at all."""
    return services.stripe is not None


async def plan_offers(services: Services) -> list[PlanOffer]:
    """As `cached_offers`, but waits for Stripe's first answer."""
    if services.stripe is not None and not services.stripe.has_answer:
        await services.stripe.refresh(services.clock())
    return cached_offers(services)


def cached_offers(services: Services) -> list[PlanOffer]:
    """Every plan, with its last known price; does not wait for Stripe."""
    return offers(services.stripe.cached_prices(services.clock()) if services.stripe is not None else {})


def offers(prices: Mapping[PlanName, PriceFacts]) -> list[PlanOffer]:
    """Every plan, with its price where `prices` has one."""
    return [
        PlanOffer(
            name=plan.name,
            title=plan.title,
            monthly_credits=plan.monthly_credits,
            concurrent_calls=plan.concurrent_calls,
            calls_per_minute=plan.calls_per_minute,
            price_text=price_text(prices[plan.name]) if plan.name in prices else None,
        )
        for plan in PLANS.values()
    ]


def price_text(price: PriceFacts) -> str:
    return f"{currencies.text(price.unit_amount, price.currency)} a month"


def billing_state(session: Session, account_id: str, now: datetime) -> BillingState:
    """Raises UnknownAccount."""
    account = session.get(Account, account_id)
    if account is None:
        raise UnknownAccount(f"no account {account_id}")
    state = _billing_state(session, account, now)
    return replace(state, is_fixed=account.operator_plan is not None)


def _billing_state(session: Session, account: Account, now: datetime) -> BillingState:
    account_id, plan = account.id, PlanName(account.plan)
    running = subscriptions.live_subscription(session, account_id)
    has_portal = customer_id_of(session, account_id) is not None
    if account.subscription_id is not None:
        running = session.get(Subscription, account.subscription_id) or running
    if running is None or (account.subscription_id is None and PLANS[plan].paid):
        status: Status = "given" if PLANS[plan].paid else "free"
        return BillingState(plan, status, None, None, None, None, has_portal)
    next_plan = PlanName(running.next_plan) if running.next_plan is not None else None
    if account.subscription_id is None:
        return BillingState(plan, "lapsed", None, None, None, None, has_portal)
    if running.grace_ends_at is not None and running.grace_ends_at <= now:
        return BillingState(plan, "lapsed", None, None, None, None, has_portal)
    if running.grace_ends_at is not None:
        return BillingState(plan, "past_due", None, None, None, running.grace_ends_at, has_portal)
    if running.ends_at is not None:
        return BillingState(plan, "ending", None, None, running.ends_at, None, has_portal)
    status = "trialing" if running.status == "trialing" else "active"
    return BillingState(plan, status, next_plan, running.period_ends_at, None, None, has_portal)


async def checkout_url(services: Services, account_id: str, plan: PlanName, base_url: str) -> str:
    """The URL for buying `plan`: a checkout, or the portal if the account has a subscription.

    Raises as `checkout.open_page`, and InvalidParameter for a plan that cannot be bought.
    """
    stripe = checkout.stripe_of(services)
    return await checkout.open_page(
        services,
        account_id,
        lambda: _price(services, stripe, plan),
        lambda account, customer_id, price, intent: _page(
            services, stripe, account, customer_id, price, intent, base_url
        ),
    )


async def _page(
    services: Services,
    stripe: StripeAccess,
    account: Account,
    customer_id: str,
    price: PriceFacts,
    intent: str,
    base_url: str,
) -> str:
    running, may_try = await services.database.read(
        lambda session: (
            subscriptions.live_subscription(session, account.id),
            not subscriptions.had_any(session, account.id)
            and not services.former.had_subscription(session, account.email, services.clock()),
        )
    )
    if running is not None:
        can_change = running.status in ("active", "trialing") and running.next_plan is None
        change = PriceChange(running.id, running.item_id, price.id) if can_change else None
        return await stripe.ask(
            stripe.gateway.portal_url,
            customer_id=customer_id,
            return_url=f"{base_url}/plans/return",
            configuration_id=await stripe.portal_configuration(services.clock()),
            change=change if running.plan != price.plan else None,
        )
    return await stripe.ask(
        stripe.gateway.checkout_url,
        customer_id=customer_id,
        account_id=account.id,
        price_id=price.id,
        success_url=f"{base_url}/plans/success?plan={price.plan.value}",
        cancel_url=f"{base_url}/plans/cancelled",
        intent=intent,
        options=stripe.options,
        trial_days=stripe.trial_days if may_try else 0,
    )


async def _price(services: Services, stripe: StripeAccess, plan: PlanName) -> PriceFacts:
    price = (await stripe.prices(services.clock())).get(plan)
    if price is None:
        raise InvalidParameter("plan", f"The {PLANS[plan].title} plan cannot be bought here.")
    return price


async def portal_url(services: Services, account_id: str, base_url: str) -> str:
    """Stripe's page for card, invoices, plan change and cancellation.

    Raises NotFound without Stripe or for an account that never went to a checkout, StripeUnavailable,
    StripeRefused.
    """
    stripe = checkout.stripe_of(services)
    customer_id = await services.database.read(lambda session: customer_id_of(session, account_id))
    if customer_id is None:
        raise NotFound("This account has bought nothing yet.")
    try:
        return await stripe.ask(
            stripe.gateway.portal_url,
            customer_id=customer_id,
            return_url=f"{base_url}/plans/return",
            configuration_id=await stripe.portal_configuration(services.clock()),
        )
    except StripeRefused as error:
        if error.code != "resource_missing" or error.param != "customer":
            raise
        await customer_sync.sync_customer(services, stripe, customer_id)
        raise NotFound("This account has nothing at Stripe any more.") from error
