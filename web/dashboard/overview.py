"""The header and the cards of the dashboard: credits and plan, rendered from templates that escape values."""

from dataclasses import dataclass, field

from api.payments import packs, plans
from api.payments.packs import PackOffer
from api.payments.plans import PlanOffer
from api.services import Services
from billing.ledger.plans import PLANS
from web.auth.visitor import SignedInVisitor
from web.dashboard.events import format_time
from web.dashboard.queries import AccountSummary
from web.plans import messages
from web.rendering import pages


@dataclass(frozen=True)
class PlanCard:
    """Content of the plan's card, and the packs. `upgrades` are the larger plans that can be bought here."""

    is_billing_on: bool
    status: str
    has_portal: bool
    upgrades: list[PlanOffer]
    packs: list[PackOffer] = field(default_factory=list)


def header(user: SignedInVisitor | None) -> str:
    """The site's header with the account, None before the visitor is known."""
    return pages.fragment("dashboard/head.html", user=user)


def cards(user: SignedInVisitor, summary: AccountSummary, plan_card: PlanCard | None) -> str:
    """`plan_card`: None for members, who see nothing of billing."""
    return pages.fragment(
        "dashboard/cards.html",
        user=user,
        summary=summary,
        renews_at=format_time(summary.renews_at),
        packs_expire_at=format_time(summary.of_packs.expire_at),
        plan_card=plan_card,
        packs=plan_card.packs if plan_card is not None else [],
    )


async def read_plan_card(services: Services, account_id: str) -> PlanCard:
    """The plan card of an account.

    It does not wait for Stripe: without known prices it offers no upgrades and no packs.
    """
    state = await services.database.read(
        lambda session: plans.billing_state(session, account_id, services.clock())
    )
    monthly_credits = PLANS[state.plan].monthly_credits
    upgrades = [
        offer
        for offer in plans.cached_offers(services)
        if offer.price_text and offer.monthly_credits > monthly_credits
    ]
    return PlanCard(
        plans.is_on(services),
        messages.plan_status(state),
        state.has_portal,
        upgrades,
        packs.cached_offers(services),
    )
