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
from billing.plans import PlanName
from billing.stripe_facts import PriceFacts
from billing.stripe_gateway import StripeGateway
from billing.stripe_setup import find_portal_configuration

PRICES_KEPT_FOR = timedelta(hours=1)
#: After Stripe could not be asked, the old prices are shown for so long before it is asked again.
_ASK_AGAIN_AFTER = timedelta(minutes=1)

log = structlog.get_logger()


@dataclass
class StripeAccess:
    gateway: StripeGateway
    webhook_secrets: tuple[str, ...] = ()
    automatic_tax: bool = False
    promotion_codes: bool = False
    trial_days: int = 0
    #: Rung when an event was stored, so that it need not wait for the next look.
    bell: asyncio.Event = field(default_factory=asyncio.Event)
    _prices: dict[PlanName, PriceFacts] = field(default_factory=dict)
    _portal_configuration: str | None = None
    _asked_again_at: datetime | None = None
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)

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

    async def prices(self, now: datetime) -> dict[PlanName, PriceFacts]:
        """The present prices, at most an hour old; older ones, or none, while Stripe cannot be asked."""
        await self._ask(now)
        return self._prices

    async def portal_configuration(self, now: datetime) -> str | None:
        await self._ask(now)
        return self._portal_configuration

    async def _ask(self, now: datetime) -> None:
        async with self._asking:
            if self._asked_again_at is not None and now < self._asked_again_at:
                return
            try:
                self._prices = await asyncio.to_thread(self.gateway.prices)
                self._portal_configuration = await asyncio.to_thread(find_portal_configuration, self.gateway)
                self._asked_again_at = now + PRICES_KEPT_FOR
            except PaymentError as error:
                log.warning("the prices could not be read from Stripe", reason=str(error))
                self._asked_again_at = now + _ASK_AGAIN_AFTER


def _value(secret: SecretStr | None) -> str | None:
    """A blank secret is none: it closes a door, it never opens one."""
    value = secret.get_secret_value().strip() if secret is not None else ""
    return value or None
