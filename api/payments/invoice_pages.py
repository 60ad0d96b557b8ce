"""Pages of invoices that were read from Stripe, kept for moments only.

Stripe's links to invoices expire after weeks, and Stripe knows best whether one was paid.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar

import structlog

from billing.errors import StripeRefused, StripeUnavailable
from billing.subscriptions.gateway import StripeGateway
from billing.subscriptions.invoice_documents import InvoicePage

PAGE_SIZE = 10
KEPT_FOR = timedelta(seconds=30)
#: How long nobody waits for Stripe after it did not answer.
_FAILURE_KEPT_FOR = timedelta(seconds=15)
_KEPT_MAX = 500
#: Requests to Stripe for pages at once, and how many may wait for a turn besides.
_READ_AT_ONCE = 2
_READING_MAX = 10
#: Of one customer: the operator's limit at Stripe is for all of them.
_PAGES_A_MINUTE = 20

T = TypeVar("T")

log = structlog.get_logger()


class Asking(Protocol):
    """See `api.payments.stripe_client.StripeAccess`."""

    gateway: StripeGateway

    async def ask(self, question: Callable[..., T], *arguments: Any, **named: Any) -> T: ...


@dataclass
class InvoicePages:
    """The pages that were read a moment ago, by customer and beginning; None: they could not be read."""

    _kept: "OrderedDict[tuple[str, str], tuple[datetime, InvoicePage | None]]" = field(
        default_factory=OrderedDict
    )
    _turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_READ_AT_ONCE))
    _reading: int = 0  # now, or waiting for a turn
    _silent_until: datetime | None = None  # after Stripe did not answer

    async def read(self, stripe: Asking, customer_id: str, after: str, now: datetime) -> InvoicePage:
        """Raises StripeUnavailable: also if a customer reads too many, or all customers together do."""
        kept = self._recent(customer_id, after, now)
        if kept is None:
            kept = (await self._read_in_turn(stripe, customer_id, after, now),)
        (page,) = kept
        if page is None:
            raise StripeUnavailable("the invoices cannot be read from Stripe at present")
        return page

    async def _read_in_turn(
        self, stripe: Asking, customer_id: str, after: str, now: datetime
    ) -> InvoicePage | None:
        if self._is_busy(customer_id, now):
            return None
        self._reading += 1
        try:
            async with self._turns:
                # Another request may have read it meanwhile.
                kept = self._recent(customer_id, after, now)
                return await self._fetch(stripe, customer_id, after, now) if kept is None else kept[0]
        finally:
            self._reading -= 1

    def _is_busy(self, customer_id: str, now: datetime) -> bool:
        if self._reading >= _READING_MAX:
            return True
        minute_ago = now - timedelta(minutes=1)
        own = sum(key[0] == customer_id and at > minute_ago for key, (at, _) in self._kept.items())
        return own >= _PAGES_A_MINUTE

    def _recent(self, customer_id: str, after: str, now: datetime) -> tuple[InvoicePage | None] | None:
        """What is known; None: nothing."""
        kept = self._kept.get((customer_id, after))
        if kept is not None and _is_recent(*kept, now):
            return (kept[1],)
        is_silent = self._silent_until is not None and now < self._silent_until
        return (None,) if is_silent else None

    async def _fetch(self, stripe: Asking, customer_id: str, after: str, now: datetime) -> InvoicePage | None:
        page: InvoicePage | None = None
        try:
            page = await stripe.ask(stripe.gateway.invoice_page, customer_id, after or None, PAGE_SIZE)
        except StripeRefused as error:
            if error.param == "starting_after":
                page = InvoicePage((), None)  # begins after an invoice that is not the customer's
            else:
                log.warning("invoices could not be read", customer=customer_id, reason=str(error))
        except StripeUnavailable as error:
            self._silent_until = now + _FAILURE_KEPT_FOR
            log.warning("invoices could not be read", customer=customer_id, reason=str(error))
        except (TypeError, ValueError, AttributeError, ArithmeticError, LookupError):
            # A page of plans must not fail because of one of its invoices.
            log.exception("an invoice of Stripe's could not be understood", customer=customer_id)
        self._kept[customer_id, after] = (now, page)
        self._kept.move_to_end((customer_id, after))
        while len(self._kept) > _KEPT_MAX:
            self._kept.popitem(last=False)
        return page


def _is_recent(read_at: datetime, page: InvoicePage | None, now: datetime) -> bool:
    return read_at <= now < read_at + (KEPT_FOR if page is not None else _FAILURE_KEPT_FOR)
