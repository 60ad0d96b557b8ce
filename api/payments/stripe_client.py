"""Stripe as one server process uses it: the gateway, the webhook's secrets, choices of the operator, prices.

Present only where a secret key is set; without one everything else works and nothing can be bought.
"""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog
from pydantic import SecretStr

from api.settings import Settings
from billing.errors import PaymentError
from billing.ledger.plans import PlanName
from billing.subscriptions.gateway import StripeGateway
from billing.subscriptions.setup import find_portal_configuration
from billing.subscriptions.types import PriceFacts

PRICES_KEPT_FOR = timedelta(hours=1)
#: After Stripe could not be asked, the old prices are shown for so long before it is asked again.
_RETRY_AFTER = timedelta(minutes=1)

log = structlog.get_logger()


@dataclass
class StripeAccess:
    gateway: StripeGateway
    webhook_secrets: tuple[str, ...] = ()
    automatic_tax: bool = False
    promotion_codes: bool = False
    trial_days: int = 0
    #: Rung when an event was stored, so that it need not wait for the next look.
    wakeup: asyncio.Event = field(default_factory=asyncio.Event)
    _prices: dict[PlanName, PriceFacts] = field(default_factory=dict)
    _portal_configuration: str | None = None
    _fetched_at: datetime | None = None
    _kept_for: timedelta = PRICES_KEPT_FOR
    _fetching: "asyncio.Task[None] | None" = None

    @classmethod
    def of(cls, settings: Settings) -> "StripeAccess | None":
        key = _value(settings.stripe_secret_key)
        if key is None:
            return None
        secrets = (_value(settings.stripe_webhook_secret), _value(settings.stripe_webhook_secret_previous))
        return cls(
            StripeGateway(key, settings.stripe_api_base),
            webhook_secrets=tuple(secret for secret in secrets if secret is not None),
            automatic_tax=settings.stripe_automatic_tax,
            promotion_codes=settings.stripe_promotion_codes,
            trial_days=settings.stripe_trial_days,
        )

    def cached_prices(self, now: datetime) -> dict[PlanName, PriceFacts]:
        """The last prices that Stripe told, at once, for pages that anybody may ask for.

        They are asked for anew in the background: Stripe may take a minute to answer, or not answer.
        """
        if self._is_due(now):
            self._start(now)
        return self._prices

    @property
    def has_answer(self) -> bool:
        return self._fetched_at is not None

    async def prices(self, now: datetime) -> dict[PlanName, PriceFacts]:
        """The present prices, at most an hour old; older ones, or none, while Stripe cannot be asked."""
        await self.refresh(now)
        return self._prices

    async def portal_configuration(self, now: datetime) -> str | None:
        await self.refresh(now)
        return self._portal_configuration

    async def refresh(self, now: datetime) -> None:
        """Ask Stripe if the last answer is old, and wait for it."""
        if self._is_due(now):
            # Shielded: others wait for the same answer when this caller goes away.
            await asyncio.shield(self._start(now))

    def invalidate_prices(self) -> None:
        """Stripe refused one of them: it was archived since."""
        self._fetched_at = None

    def _is_due(self, now: datetime) -> bool:
        return self._fetched_at is None or not self._fetched_at <= now < self._fetched_at + self._kept_for

    def _start(self, now: datetime) -> "asyncio.Task[None]":
        if self._fetching is None or self._fetching.done():
            self._fetching = asyncio.create_task(self._fetch(now), name="stripe prices")
        return self._fetching

    async def _fetch(self, now: datetime) -> None:
        try:
            self._prices = await asyncio.to_thread(self.gateway.prices)
            self._portal_configuration = await asyncio.to_thread(find_portal_configuration, self.gateway)
            self._kept_for = PRICES_KEPT_FOR
        except PaymentError as error:
            log.warning("the prices could not be read from Stripe", reason=str(error))
            self._kept_for = _RETRY_AFTER
        except Exception:
            # Pages are shown without prices rather than not at all, and do not ask again with every request.
            log.exception("the prices could not be read from Stripe")
            self._kept_for = _RETRY_AFTER
        self._fetched_at = now


def _value(secret: SecretStr | None) -> str | None:
    """A blank secret is none: it closes a door, it never opens one."""
    value = secret.get_secret_value().strip() if secret is not None else ""
    return value or None
