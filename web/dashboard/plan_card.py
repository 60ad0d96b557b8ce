"""What the plan's card says, and which plans it offers."""

from dataclasses import dataclass

from api.payments import plans
from api.payments.plans import PlanOffer
from api.services import Services
from billing.ledger.plans import PLANS
from web.plans import messages, offers


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
        lambda session: plans.billing_state(session, account_id, services.clock())
    )
    present = PLANS[state.plan].monthly_credits
    better = [
        offer
        for offer in await offers.shown(services)
        if offer.price_text and offer.monthly_credits > present
    ]
    return PlanCard(plans.is_on(services), messages.sentence(state), state.has_portal, better)
