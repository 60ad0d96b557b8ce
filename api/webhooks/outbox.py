"""Recording what is to be sent, in the transaction of the event itself.

So a message exists exactly if its event happened. Functions take a session and never commit. `engine` starts
the delivery at once, if it is prepared in this process; otherwise the engine finds the delivery by its row.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from sqlmodel import Session

from api.durable.engine import Engine
from api.durable.tasks import Task
from api.webhooks import endpoints
from api.webhooks.models import WebhookDelivery, WebhookEndpoint, WebhookEvent, WebhookMessage
from billing.identifiers import new_id

KIND = "webhook"
QUEUE = "webhooks"
#: Attempts take up to three days; a day more to see what failed and to send it again.
RETENTION = timedelta(days=4)


def record(
    session: Session,
    account_id: str,
    event: WebhookEvent,
    build_body: Callable[[], bytes],
    now: datetime,
    *,
    callback_url: str | None = None,
    engine: Engine | None = None,
) -> None:
    """Send the event to the account's endpoints, and to `callback_url`. The account must be locked.

    `build_body` gives the body of the GET that the event is about. It is called if anything is to be sent.
    """
    recipients: list[tuple[WebhookEndpoint, str | None]] = [
        (endpoint, None) for endpoint in endpoints.subscribed(session, account_id, event)
    ]
    if callback_url is not None:
        recipients.append((endpoints.callbacks(session, account_id, now), callback_url))
    if not recipients:
        return
    message = add_message(session, account_id, event, build_body(), now)
    for endpoint, url in recipients:
        deliver(session, message, endpoint, now, url=url, engine=engine)


def batch_completed(
    session: Session,
    account_id: str,
    build_body: Callable[[], bytes],
    now: datetime,
    *,
    callback_url: str | None = None,
    engine: Engine | None = None,
) -> None:
    """Announce the end of a batch. Arguments as of `record`; the body is that of `GET /api/batches/{id}`."""
    record(
        session,
        account_id,
        WebhookEvent.BATCH_COMPLETED,
        build_body,
        now,
        callback_url=callback_url,
        engine=engine,
    )


def add_message(
    session: Session, account_id: str, event: WebhookEvent, body: bytes, now: datetime
) -> WebhookMessage:
    message = WebhookMessage(
        id=new_id("msg"),
        account_id=account_id,
        event=event.value,
        body=body,
        created_at=now,
        expires_at=now + RETENTION,
    )
    session.add(message)
    session.flush()
    return message


def deliver(
    session: Session,
    message: WebhookMessage,
    endpoint: WebhookEndpoint,
    now: datetime,
    *,
    url: str | None = None,
    engine: Engine | None = None,
) -> WebhookDelivery:
    """A new delivery of the message, due at once."""
    delivery = WebhookDelivery(
        id=new_id("whd"),
        message_id=message.id,
        endpoint_id=endpoint.id,
        account_id=message.account_id,
        url=url,
        next_attempt_at=now,
        created_at=now,
    )
    session.add(delivery)
    session.flush()
    enqueue(session, delivery, engine)
    return delivery


def enqueue(
    session: Session, delivery: WebhookDelivery, engine: Engine | None, delay: timedelta | None = None
) -> None:
    if engine is not None and engine.is_prepared:
        engine.enqueue(
            session, KIND, task_of(delivery.id, delivery.attempts, delivery.account_id), delay=delay
        )


def task_of(delivery_id: str, attempts: int, account_id: str) -> Task:
    """The task of the next attempt. Each attempt is a task, because an id names a task for ever."""
    return Task(f"{delivery_id}.{attempts}", QUEUE, account_id)
