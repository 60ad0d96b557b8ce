"""The plans as pages show them, also while Stripe is away."""

import structlog

from api import payments
from api.payments import PlanOffer
from api.services import Services
from billing.errors import StripeUnavailable

log = structlog.get_logger()


async def shown(services: Services) -> list[PlanOffer]:
    """Every plan; without a price where there is none to be had at this moment."""
    try:
        return await payments.plan_offers(services)
    except StripeUnavailable:
        log.warning("the plans' prices could not be read")
        return payments.offers({})
