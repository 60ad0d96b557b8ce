"""Opens a checkout page at Stripe for an account: one after the other, and with a price that is on sale."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog
from sqlmodel import Session, col, select

from api.errors import NotFound
from api.payments import customer_sync
from api.payments.stripe_client import StripeAccess
from api.services import Services
from billing.errors import AddressUnverified, CustomerGone, StripeRefused, StripeUnavailable
from billing.ledger import accounts
from billing.ledger.models import Account
from billing.ledger.postings import insert_unless_taken
from billing.subscriptions.connection import new_intent
from billing.subscriptions.models import StripeCustomer
from billing.subscriptions.types import PackPriceFacts, PriceFacts

#: A customer deleted at Stripe, or an archived price, fails once; the next attempt uses a new one.
_ATTEMPTS = 3
#: How long a second click waits while the first one opens its page.
_WAIT_SECONDS = 20.0

Price = TypeVar("Price", PriceFacts, PackPriceFacts)

log = structlog.get_logger()


async def open_page(
    services: Services,
    account_id: str,
    find_price: Callable[[], Awaitable[Price]],
    open_with: Callable[[Account, str, Price, str], Awaitable[str]],
) -> str:
    """The URL that `open_with` returns for the account, its customer's id, the price and this click's intent.

    Raises NotFound without Stripe, what `find_price` raises, AddressUnverified, AccountClosed,
    StripeUnavailable, StripeRefused.
    """
    stripe = stripe_of(services)
    price = await find_price()
    account = await services.database.run(lambda session: accounts.lock(session, account_id))
    if account.verified_at is None:
        raise AddressUnverified("credits could not be spent before the address is verified")
    intent = new_intent()
    for _ in range(_ATTEMPTS):
        customer_id = await _customer(services, stripe, account)
        try:
            # Two clicks are served one after the other, even in two processes: the second one closes the
            # first one's page, or finds that it was paid.
            async with customer_sync.lease(services, customer_id, wait_seconds=_WAIT_SECONDS) as held:
                try:
                    await customer_sync.fetch_and_apply(services, stripe, held)
                    return await open_with(account, customer_id, price, intent)
                except CustomerGone:
                    await customer_sync.detach_deleted_customer(services, held)
                except StripeRefused as error:
                    # Usually because the price was archived since it was fetched.
                    log.warning("Stripe refused a checkout", price=price.id, reason=str(error))
                    stripe.invalidate_prices()
                    former, price = price, await find_price()
                    if price.id == former.id:
                        raise
        except customer_sync.CustomerBusy as error:
            raise StripeUnavailable("this customer is being synchronised; try again in a moment") from error
    raise StripeUnavailable("the customer or the price changes at this moment; try again")


def stripe_of(services: Services) -> StripeAccess:
    """Raises NotFound without Stripe."""
    if services.stripe is None:
        raise NotFound("Nothing can be bought here.")
    return services.stripe


def customer_id_of(session: Session, account_id: str) -> str | None:
    return session.exec(
        select(StripeCustomer.id).where(col(StripeCustomer.account_id) == account_id)
    ).one_or_none()


async def _customer(services: Services, stripe: StripeAccess, account: Account) -> str:
    known = await services.database.read(lambda session: customer_id_of(session, account.id))
    if known is not None:
        return known
    created = await stripe.ask(stripe.gateway.create_customer, account.id, account.email)

    def remember(session: Session) -> str:
        # Of two concurrent requests, the first one determines the customer; the idempotency key makes both
        # equal anyway.
        row = StripeCustomer(id=created, account_id=account.id, created_at=services.clock())
        insert_unless_taken(session, row, unique_column="account_id")
        return customer_id_of(session, account.id) or created

    return await services.database.run(remember)
