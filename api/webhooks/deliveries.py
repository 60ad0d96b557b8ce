"""The log of deliveries as an account sees it, sending again, and test messages."""

import json
from datetime import datetime
from typing import Any

from sqlmodel import Session, and_, col, delete, or_, select

from api import page_cursors, response_bodies
from api.durable.engine import Engine
from api.errors import InvalidRequest, NotFound
from api.webhooks import endpoints, outbox
from api.webhooks.models import DeliveryStatus, WebhookDelivery, WebhookEndpoint, WebhookEvent, WebhookMessage

PAGE_MAX = 100
_NO_SUCH_DELIVERY = "There is no such delivery. They are forgotten after four days."


def describe_endpoint(endpoint: WebhookEndpoint, now: datetime) -> dict[str, Any]:
    """The `data` of an endpoint, without its secret."""
    rotating = len(endpoints.secrets_of(endpoint, now)) > 1
    return {
        "webhookId": endpoints.CALLBACKS if endpoint.url is None else endpoint.id,
        "url": endpoint.url,
        "events": endpoints.events_of(endpoint),
        "enabled": endpoint.disabled_at is None,
        "disabledReason": endpoint.disabled_reason,
        "previousSecretUntil": _timestamp(endpoint.previous_secret_until) if rotating else None,
        "createdAt": response_bodies.timestamp(endpoint.created_at),
    }


def describe(delivery: WebhookDelivery, message: WebhookMessage, endpoint: WebhookEndpoint) -> dict[str, Any]:
    """The `data` of a delivery."""
    return {
        "deliveryId": delivery.id,
        "webhookId": endpoints.CALLBACKS if endpoint.url is None else endpoint.id,
        "messageId": message.id,
        "event": message.event,
        "url": delivery.url or endpoint.url,
        "status": delivery.status,
        "attempts": json.loads(delivery.log),
        "nextAttemptAt": _timestamp(delivery.next_attempt_at),
        "createdAt": response_bodies.timestamp(delivery.created_at),
        "finishedAt": _timestamp(delivery.finished_at),
    }


def page(
    session: Session,
    endpoint: WebhookEndpoint,
    *,
    status: DeliveryStatus | None,
    limit: int,
    cursor: str | None,
) -> tuple[list[dict[str, Any]], str | None]:
    """The endpoint's deliveries, newest first, and the cursor of the next page; None after the last.

    Raises `InvalidParameter` for a cursor that no page gave.
    """
    statement = (
        select(WebhookDelivery, WebhookMessage)
        .join(WebhookMessage, col(WebhookMessage.id) == col(WebhookDelivery.message_id))
        .where(col(WebhookDelivery.endpoint_id) == endpoint.id)
    )
    if status is not None:
        statement = statement.where(col(WebhookDelivery.status) == status)
    if cursor is not None:
        created_at, delivery_id = page_cursors.position_of(cursor)
        statement = statement.where(
            or_(
                col(WebhookDelivery.created_at) < created_at,
                and_(col(WebhookDelivery.created_at) == created_at, col(WebhookDelivery.id) < delivery_id),
            )
        )
    newest_first = (col(WebhookDelivery.created_at).desc(), col(WebhookDelivery.id).desc())
    rows = list(session.exec(statement.order_by(*newest_first).limit(limit + 1)))
    shown = [describe(delivery, message, endpoint) for delivery, message in rows[:limit]]
    if len(rows) <= limit:
        return shown, None
    last = rows[limit - 1][0]
    return shown, page_cursors.after(last.created_at, last.id)


def redeliver(
    session: Session, endpoint: WebhookEndpoint, delivery_id: str, now: datetime, engine: Engine
) -> dict[str, Any]:
    """Send the message of a delivery again, as a new delivery. The account must be locked.

    Returns its `data`. Raises `NotFound`, `InvalidRequest` for a disabled endpoint.
    """
    _require_enabled(endpoint)
    of_endpoint = (
        col(WebhookDelivery.id) == delivery_id,
        col(WebhookDelivery.endpoint_id) == endpoint.id,
    )
    former = session.exec(select(WebhookDelivery).where(*of_endpoint)).first()
    if former is None:
        raise NotFound(_NO_SUCH_DELIVERY)
    message = session.get_one(WebhookMessage, former.message_id)
    message.expires_at = now + outbox.RETENTION
    delivery = outbox.deliver(session, message, endpoint, now, url=former.url, engine=engine)
    return describe(delivery, message, endpoint)


def send_test(
    session: Session, endpoint: WebhookEndpoint, request_id: str, now: datetime, engine: Engine
) -> dict[str, Any]:
    """Send the endpoint a test message, whose body is that of its own GET. The account must be locked.

    Returns the delivery's `data`. Raises `InvalidRequest`.
    """
    if endpoint.url is None:
        raise InvalidRequest("The webhook for callback_url has no URL of its own. Send a job to test it.")
    _require_enabled(endpoint)
    body = response_bodies.success(describe_endpoint(endpoint, now), request_id)
    message = outbox.add_message(session, endpoint.account_id, WebhookEvent.TEST, body, now)
    return describe(outbox.deliver(session, message, endpoint, now, engine=engine), message, endpoint)


def delete_expired(session: Session, now: datetime, *, limit: int) -> int:
    """Delete up to `limit` old messages and their deliveries; returns the number of messages."""
    expired = list(
        session.exec(select(WebhookMessage.id).where(col(WebhookMessage.expires_at) <= now).limit(limit))
    )
    session.execute(delete(WebhookDelivery).where(col(WebhookDelivery.message_id).in_(expired)))
    session.execute(delete(WebhookMessage).where(col(WebhookMessage.id).in_(expired)))
    return len(expired)


def _require_enabled(endpoint: WebhookEndpoint) -> None:
    if endpoint.disabled_at is not None:
        raise InvalidRequest("This webhook is disabled. Enable it first, with enabled: true.")


def _timestamp(moment: datetime | None) -> str | None:
    return None if moment is None else response_bodies.timestamp(moment)
