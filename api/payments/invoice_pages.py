"""Pages of invoices that were read from Stripe, kept for moments only.

Stripe's links to invoices expire after weeks, and Stripe knows best whether one was paid.
"""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from billing.errors import StripeRefused, StripeUnavailable
from billing.subscriptions.gateway import StripeGateway
from billing.subscriptions.invoice_documents import InvoicePage

PAGE_SIZE = 10
KEPT_FOR = timedelta(seconds=30)
#: How long nobody waits for Stripe after it did not answer.
_FAILURE_KEPT_FOR = timedelta(seconds=15)
_KEPT_MAX = 500

log = structlog.get_logger()


@dataclass
class InvoicePages:
    """The pages that were read a moment ago, by customer and beginning; None: they could not be read."""

    _kept: "OrderedDict[tuple[str, str], tuple[datetime, InvoicePage | None]]" = field(
        default_factory=OrderedDict
    )

    async def read(self, gateway: StripeGateway, customer_id: str, after: str, now: datetime) -> InvoicePage:
        """Raises StripeUnavailable."""
        kept = self._kept.get((customer_id, after))
        if kept is None or not _is_recent(*kept, now):
            page = await self._fetch(gateway, customer_id, after, now)
        else:
            page = kept[1]
        if page is None:
            raise StripeUnavailable("the invoices cannot be read from Stripe at present")
        return page

    async def _fetch(
        self, gateway: StripeGateway, customer_id: str, after: str, now: datetime
    ) -> InvoicePage | None:
        page: InvoicePage | None = None
        try:
            page = await asyncio.to_thread(gateway.invoice_page, customer_id, after or None, PAGE_SIZE)
        except StripeRefused as error:
            if error.param == "starting_after":
                return InvoicePage((), None)  # begins after an invoice that is not the customer's
            log.warning("invoices could not be read", customer=customer_id, reason=str(error))
        except StripeUnavailable as error:
            log.warning("invoices could not be read", customer=customer_id, reason=str(error))
        self._kept[customer_id, after] = (now, page)
        self._kept.move_to_end((customer_id, after))
        while len(self._kept) > _KEPT_MAX:
            self._kept.popitem(last=False)
        return page


def _is_recent(read_at: datetime, page: InvoicePage | None, now: datetime) -> bool:
    return read_at <= now < read_at + (KEPT_FOR if page is not None else _FAILURE_KEPT_FOR)
