"""One process's access to Stripe: the gateway, webhook secrets, checkout options and cached prices.

It exists only if a secret key is set; without one, plans cannot be bought and everything else works.
"""

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import structlog
from pydantic import SecretStr

from api.payments.invoice_pages import InvoicePages
from api.settings import Settings
from billing.errors import PaymentError
from billing.ledger.plans import PlanName
from billing.subscriptions.checkout_options import CheckoutOptions
from billing.subscriptions.gateway import StripeGateway
from billing.subscriptions.setup import find_portal_configuration
from billing.subscriptions.types import PackPriceFacts, PriceFacts

PRICES_KEPT_FOR = timedelta(hours=1)
#: How long to wait after a failed request; the old prices are shown meanwhile.
_RETRY_AFTER = timedelta(minutes=1)

#: Requests to Stripe at once.
_THREADS = 8

T = TypeVar("T")

log = structlog.get_logger()


@dataclass
class StripeAccess:
    gateway: StripeGateway
    webhook_secrets: tuple[str, ...] = ()
    options: CheckoutOptions = field(default_factory=CheckoutOptions)
    trial_days: int = 0
    pack_months: int = 12  # how long the credits of a pack last
    invoice_pages: InvoicePages = field(default_factory=InvoicePages)
    #: Set when an event was stored, so that it is handled before the next poll.
    wakeup: asyncio.Event = field(default_factory=asyncio.Event)
    _prices: dict[PlanName, PriceFacts] = field(default_factory=dict)
    _packs: dict[int, PackPriceFacts] = field(default_factory=dict)
    _portal_configuration: str | None = None
    _fetched_at: datetime | None = None
    _kept_for: timedelta = PRICES_KEPT_FOR
    _fetching: "asyncio.Task[None] | None" = None
    _threads: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(_THREADS, thread_name_prefix="stripe")
    )

    async def ask(self, question: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """What a method of the gateway returns. It waits in threads of its own: while Stripe is slow, nothing
        else in this process waits for it.
        """
        run = partial(contextvars.copy_context().run, question, *arguments, **named)
        return await asyncio.get_running_loop().run_in_executor(self._threads, run)

    @classmethod
    def of(cls, settings: Settings) -> "StripeAccess | None":
        key = _value(settings.stripe_secret_key)
        if key is None:
            return None
        secrets = (_value(settings.stripe_webhook_secret), _value(settings.stripe_webhook_secret_previous))
        return cls(
            StripeGateway(key, settings.stripe_api_base),
            webhook_secrets=tuple(secret for secret in secrets if secret is not None),
            options=CheckoutOptions(
                automatic_tax=settings.stripe_automatic_tax,
                promotion_codes=settings.stripe_promotion_codes,
                tax_ids=settings.stripe_collect_tax_ids,
            ),
            trial_days=settings.stripe_trial_days,
            pack_months=settings.pack_months,
        )

    def cached_prices(self, now: datetime) -> dict[PlanName, PriceFacts]:
        """The last known prices, without waiting, for public pages.

        They are refreshed in the background, because Stripe may take a minute to answer, or not answer.
        """
        if self._is_due(now):
            self._start(now)
        return self._prices

    def cached_packs(self, now: datetime) -> dict[int, PackPriceFacts]:
        """As `cached_prices`: the packs on sale, by their credits, smallest first."""
        if self._is_due(now):
            self._start(now)
        return self._packs

    @property
    def has_answer(self) -> bool:
        return self._fetched_at is not None

    async def prices(self, now: datetime) -> dict[PlanName, PriceFacts]:
        """Prices at most an hour old; older ones, or none, while Stripe is unavailable."""
        await self.refresh(now)
        return self._prices

    async def packs(self, now: datetime) -> dict[int, PackPriceFacts]:
        """As `prices`."""
        await self.refresh(now)
        return self._packs

    async def portal_configuration(self, now: datetime) -> str | None:
        await self.refresh(now)
        return self._portal_configuration

    async def refresh(self, now: datetime) -> None:
        """Fetch the prices if they are outdated, and wait for them."""
        if self._is_due(now):
            # Shielded, because others wait for the same request when this caller disconnects.
            await asyncio.shield(self._start(now))

    def invalidate_prices(self) -> None:
        """Fetch again on next use: Stripe refused a price, because it was archived."""
        self._fetched_at = None

    def _is_due(self, now: datetime) -> bool:
        return self._fetched_at is None or not self._fetched_at <= now < self._fetched_at + self._kept_for

    def _start(self, now: datetime) -> "asyncio.Task[None]":
        if self._fetching is None or self._fetching.done():
            self._fetching = asyncio.create_task(self._fetch(now), name="stripe prices")
        return self._fetching

    async def _fetch(self, now: datetime) -> None:
        try:
            self._prices = await self.ask(self.gateway.prices)
            self._packs = await self.ask(self.gateway.pack_prices)
            self._portal_configuration = await self.ask(find_portal_configuration, self.gateway)
            self._kept_for = PRICES_KEPT_FOR
        except PaymentError as error:
            log.warning("the prices could not be read from Stripe", reason=str(error))
            self._kept_for = _RETRY_AFTER
        except Exception:
            # Show pages without prices rather than fail, and do not retry with every request.
            log.exception("the prices could not be read from Stripe")
            self._kept_for = _RETRY_AFTER
        self._fetched_at = now


def _value(secret: SecretStr | None) -> str | None:
    """The secret; None if blank, because a blank secret must disable a feature, never open it."""
    value = secret.get_secret_value().strip() if secret is not None else ""
    return value or None
