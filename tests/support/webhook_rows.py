"""Rows of webhooks, without a request."""

from datetime import datetime

from sqlmodel import Session

from api.webhooks import endpoints, outbox
from api.webhooks.models import WebhookDelivery, WebhookEvent


def make_delivery(session: Session, account_id: str, now: datetime) -> WebhookDelivery:
    """A delivery of a message to a new webhook of the account."""
    endpoint = endpoints.create(
        session, account_id, "https://shop.example.com/", WebhookEvent.selectable(), now
    )
    message = outbox.add_message(session, account_id, WebhookEvent.TEST, b"{}", now)
    return outbox.deliver(session, message, endpoint, now)
