"""Packs of credits for an account's owner: offers, checkout, and whether a payment has arrived."""

from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

import structlog

from api.errors import InvalidParameter
from api.payments import checkout, customer_sync
from api.payments.checkout import customer_id_of
from api.services import Services
from billing.errors import PaymentError
from billing.ledger.models import Account
from billing.subscriptions import currencies, packs
from billing.subscriptions.types import PackPriceFacts

#: Where packs are sold to people; `topUpUrl` of a refusal leads there.
PAGE = "/plans#packs"
SUCCESS_PATH = "/packs/success"

log = structlog.get_logger()


@dataclass(frozen=True)
class PackOffer:
    credits: int
    price_text: str  # "$5.00"


@dataclass(frozen=True)
class BoughtPack:
    credits: int
    expires_at: datetime


async def pack_offers(services: Services) -> list[PackOffer]:
    """As `cached_offers`, but waits for Stripe's first answer."""
    if services.stripe is not None and not services.stripe.has_answer:
        await services.stripe.refresh(services.clock())
    return cached_offers(services)


def cached_offers(services: Services) -> list[PackOffer]:
    """The packs on sale by their last known prices, smallest first; does not wait for Stripe."""
    if services.stripe is None:
        return []
    return [
        PackOffer(each.credits, currencies.text(each.unit_amount, each.currency))
        for each in services.stripe.cached_packs(services.clock()).values()
    ]


async def checkout_url(
    services: Services, account_id: str, credits_: int, base_url: str, return_path: str, cancel_path: str
) -> str:
    """The URL of a checkout for a pack; both paths are of this site.

    Raises as `checkout.open_page`, and InvalidParameter for a pack that is not on sale.
    """
    stripe = checkout.stripe_of(services)

    async def find_price() -> PackPriceFacts:
        price = (await stripe.packs(services.clock())).get(credits_)
        if price is None:
            raise InvalidParameter("credits", f"A pack of {credits_:,} credits cannot be bought here.")
        return price

    async def open_with(account: Account, customer_id: str, price: PackPriceFacts, intent: str) -> str:
        return await stripe.ask(
            stripe.gateway.pack_checkout_url,
            customer_id=customer_id,
            account_id=account.id,
            price=price,
            # Stripe looks for the braces as they are.
            success_url=f"{base_url}{SUCCESS_PATH}?next={quote(return_path, safe='')}"
            "&session={CHECKOUT_SESSION_ID}",
            cancel_url=f"{base_url}{cancel_path}",
            intent=intent,
            options=stripe.options,
        )

    return await checkout.open_page(services, account_id, find_price, open_with)


async def bought(services: Services, account_id: str, session_id: str) -> BoughtPack | None:
    """The account's pack of this checkout session, once it was granted."""
    found = await services.database.read(lambda session: packs.purchase(session, account_id, session_id))
    return None if found is None else BoughtPack(found.credits, found.expires_at)


async def look_for(services: Services, account_id: str, session_id: str) -> BoughtPack | None:
    """As `bought`, but asks Stripe if the pack is not here yet, so that a lost webhook delays nobody."""
    found = await bought(services, account_id, session_id)
    customer_id = await services.database.read(lambda session: customer_id_of(session, account_id))
    if found is not None or services.stripe is None or customer_id is None:
        return found
    try:
        await customer_sync.sync_customer(services, services.stripe, customer_id)
    except (PaymentError, customer_sync.CustomerBusy) as error:
        # The webhook or the next reconciliation grants it.
        log.warning("a pack could not be looked for", customer=customer_id, reason=str(error))
    return await bought(services, account_id, session_id)
