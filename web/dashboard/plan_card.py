"""What the plan's card says, and which plans it offers."""

from dataclasses import dataclass

from api import payments
from api.payments import PlanOffer
from api.services import Services
from billing.plans import PLANS
from web.plans import offers, words


@dataclass(frozen=True)
class PlanCard:
    """`offers` are the plans above the present one that can be bought here."""

    is_on: bool  # whether plans are sold here at all
    sentence: str
    has_portal: bool
    offers: list[PlanOffer]


async def read(services: Services, account_id: str) -> PlanCard:
    """The card of this account. While Stripe is away it offers nothing rather than fail the page."""
    state = await services.database.read(
        lambda session: payments.billing_state(session, account_id, services.clock())
    )
    present = PLANS[state.plan].monthly_credits
    better = [
        offer
        for offer in await offers.shown(services)
        if offer.price_text and offer.monthly_credits > present
    ]
    return PlanCard(payments.is_on(services), words.sentence(state), state.has_portal, better)
