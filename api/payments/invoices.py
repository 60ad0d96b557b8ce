"""Invoices of an account's owner, read from Stripe when they are looked at."""

import re

from api.errors import NotFound
from api.payments.checkout import customer_id_of
from api.services import Services
from billing.subscriptions.invoice_documents import InvoicePage

_INVOICE_ID = re.compile(r"in_[A-Za-z0-9_]{1,250}")


async def invoice_page(services: Services, account_id: str, after: str = "") -> InvoicePage | None:
    """The account's newest invoices, or those older than the invoice `after`; None if it has bought nothing.

    Only the account's own are listed, whatever `after` names. Raises NotFound for an impossible `after`, and
    StripeUnavailable within seconds.
    """
    if after and not _INVOICE_ID.fullmatch(after):
        raise NotFound("There is no such invoice.")
    customer_id = await services.database.read(lambda session: customer_id_of(session, account_id))
    if services.stripe is None or customer_id is None:
        return None
    stripe = services.stripe
    return await stripe.invoice_pages.read(stripe, customer_id, after, services.clock())
