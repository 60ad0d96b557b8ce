"""The plans as pages show them, also while Stripe is away."""

from api.payments import plans
from api.payments.plans import PlanOffer
from api.services import Services


async def shown(services: Services) -> list[PlanOffer]:
    """Every plan, with the price known last: anybody may load these pages, so Stripe is not waited for."""
    return plans.cached_offers(services)
