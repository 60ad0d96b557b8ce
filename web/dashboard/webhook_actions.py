"""What the dashboard's webhook section does and shows, each for one account. Independent of Gradio."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from sqlmodel import Session

from api.calls import admission
from api.services import Services
from api.webhooks import deliveries, endpoints, runs
from api.webhooks.models import DeliveryStatus, WebhookEndpoint, WebhookEvent
from billing.identifiers import new_id
from billing.ledger import accounts

T = TypeVar("T")

#: What a webhook of the dashboard may receive. The API can choose single events.
SUBSCRIPTIONS: dict[str, tuple[WebhookEvent, ...]] = {
    "All events": tuple(WebhookEvent.selectable()),
    "Jobs": (WebhookEvent.JOB_SUCCEEDED, WebhookEvent.JOB_FAILED),
    "Batches": (WebhookEvent.BATCH_COMPLETED,),
    "Credits": (WebhookEvent.CREDITS_LOW, WebhookEvent.CREDITS_EXHAUSTED),
    "Payments, keys and sign-ins": (
        WebhookEvent.PAYMENT_FAILED,
        WebhookEvent.KEY_ENDING,
        WebhookEvent.ACCOUNT_SIGN_IN,
    ),
}
_DELIVERIES_SHOWN = 10
#: How long the outcome of a message that was just sent is waited for. Slower ones are shown as pending.
_OUTCOME_SECONDS = 4.0
_OUTCOME_POLL_SECONDS = 0.2


@dataclass(frozen=True, eq=False)  # Gradio hashes what a page keeps; each reading counts as a change
class ShownWebhook:
    """A webhook as the API describes it, and its latest deliveries if its log is open."""

    webhook: dict[str, Any]
    log: list[dict[str, Any]] | None = None

    @property
    def id(self) -> str:
        return str(self.webhook["webhookId"])

    @property
    def is_for_callbacks(self) -> bool:
        """Whether it only signs what is sent to the `callback_url` of jobs and batches."""
        return self.id == endpoints.CALLBACKS


async def listed(services: Services, account_id: str, opened: str | None = None) -> list[ShownWebhook]:
    """The account's webhooks, with the log of the one whose id is `opened`."""
    now = services.clock()

    def read(session: Session) -> list[ShownWebhook]:
        shown = []
        for endpoint in endpoints.listed(session, account_id):
            webhook = deliveries.describe_endpoint(endpoint, now)
            is_opened = webhook["webhookId"] == opened
            shown.append(ShownWebhook(webhook, _log(session, endpoint) if is_opened else None))
        return shown

    return await services.database.read(read)


async def create(services: Services, account_id: str, url: str, subscription: str) -> str:
    """Add a webhook; returns its secret. Raises `InvalidParameter`, `RateLimited`."""
    services.webhook_sender.check_url(url, "url")
    events = SUBSCRIPTIONS[subscription]

    def work(session: Session, now: datetime) -> str:
        return endpoints.create(session, account_id, url, events, now).secret

    return await _change(services, account_id, work)


async def rotate(services: Services, account_id: str, webhook_id: str) -> str:
    """Give the webhook a new secret, which is returned. Raises `NotFound`, `RateLimited`."""

    def work(session: Session, now: datetime) -> str:
        endpoint = endpoints.lock(session, account_id, webhook_id, now)
        endpoints.rotate(endpoint, now)
        return endpoint.secret

    return await _change(services, account_id, work)


async def set_enabled(services: Services, account_id: str, webhook_id: str, *, enabled: bool) -> None:
    """Raises `NotFound`, `InvalidRequest`, `RateLimited`."""

    def work(session: Session, now: datetime) -> None:
        endpoint = endpoints.lock(session, account_id, webhook_id, now)
        endpoints.change(endpoint, now, enabled=enabled)
        session.flush()
        if not enabled:
            runs.give_up_pending(session, endpoint.id, now)

    await _change(services, account_id, work)


async def delete(services: Services, account_id: str, webhook_id: str) -> None:
    """Raises `NotFound`."""

    def work(session: Session) -> None:
        accounts.lock(session, account_id)
        endpoints.remove(session, endpoints.find(session, account_id, webhook_id))

    await services.database.run(work)


async def send_test(services: Services, account_id: str, webhook_id: str) -> None:
    """Send a test message, and wait a little for its outcome.

    Raises `NotFound`, `InvalidRequest`, `RateLimited`.
    """

    def work(session: Session, now: datetime) -> str:
        endpoint = endpoints.lock(session, account_id, webhook_id, now)
        sent = deliveries.send_test(session, endpoint, new_id("req"), now, services.engine)
        return str(sent["deliveryId"])

    await _send(services, account_id, webhook_id, work)


async def redeliver(services: Services, account_id: str, webhook_id: str, delivery_id: str) -> None:
    """Send the message of a delivery again, and wait a little for its outcome. Raises as `send_test`."""

    def work(session: Session, now: datetime) -> str:
        endpoint = endpoints.lock(session, account_id, webhook_id, now)
        sent = deliveries.redeliver(session, endpoint, delivery_id, now, services.engine)
        return str(sent["deliveryId"])

    await _send(services, account_id, webhook_id, work)


async def _send(
    services: Services, account_id: str, webhook_id: str, work: Callable[[Session, datetime], str]
) -> None:
    await services.engine.prepare()
    delivery_id = await _change(services, account_id, work)
    services.engine.wake()

    def is_pending(session: Session) -> bool:
        latest = _log(session, endpoints.find(session, account_id, webhook_id))
        sent = [delivery for delivery in latest if delivery["deliveryId"] == delivery_id]
        return any(each["status"] == DeliveryStatus.PENDING and not each["attempts"] for each in sent)

    for _ in range(round(_OUTCOME_SECONDS / _OUTCOME_POLL_SECONDS)):
        if not await services.database.read(is_pending):
            return
        await asyncio.sleep(_OUTCOME_POLL_SECONDS)


async def _change(services: Services, account_id: str, work: Callable[[Session, datetime], T]) -> T:
    """Run `work` in a transaction that takes a call of the account's rate, as the API's routes do."""

    def run(session: Session) -> T:
        now = services.clock()
        admission.take_rate(session, account_id, now)
        return work(session, now)

    return await services.database.run(run)


def _log(session: Session, endpoint: WebhookEndpoint) -> list[dict[str, Any]]:
    return deliveries.page(session, endpoint, status=None, limit=_DELIVERIES_SHOWN, cursor=None)[0]
