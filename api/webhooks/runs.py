"""Delivering messages: each attempt is a task, which records its outcome and enqueues the next one.

A message is delivered at least once: a process that ends after the receiver's answer leaves the attempt to be
made again. Receivers recognise that by the `webhook-id`.
"""

import asyncio
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlmodel import Session, col, select, update

from api import response_bodies
from api.durable.tasks import Task, TaskKind, TaskQueue
from api.errors import ServiceUnavailable
from api.services import Services
from api.webhooks import endpoints, outbox, signatures
from api.webhooks.models import DeliveryStatus, WebhookDelivery, WebhookEndpoint, WebhookMessage
from api.webhooks.sender import GONE, AttemptOutcome

#: Pauses after each failed attempt: 12 attempts within three days.
RETRY_DELAYS = (
    timedelta(seconds=5),
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=1),
    timedelta(hours=2),
    timedelta(hours=4),
    timedelta(hours=8),
    timedelta(hours=12),
    timedelta(hours=20),
    timedelta(hours=24),
)
#: Each pause is longer or shorter by up to this share, so that receivers do not get all retries at once.
_JITTER = 0.1
#: The engine looks a minute ahead, see `TaskKind`.
_SOON = timedelta(minutes=1)
_CONCURRENCY = 32
#: Receivers of one account that hang leave room to others.
_CONCURRENCY_OF_ACCOUNT = 4
_OUTAGE_PAUSE_SECONDS = 5.0

log = structlog.get_logger()


@dataclass(frozen=True)
class _Attempt:
    delivery_id: str
    endpoint_id: str
    number: int
    url: str
    message_id: str
    event: str
    body: bytes
    signing_secrets: Sequence[str]


def register(services: Services) -> None:
    """Let the engine of this process deliver messages."""
    runner = WebhookRunner(services)
    services.engine.register(
        TaskKind(outbox.KIND, runner.run, runner.unfinished),
        TaskQueue(
            outbox.QUEUE,
            concurrency=_CONCURRENCY,
            partition_concurrency=_CONCURRENCY_OF_ACCOUNT,
            poll_seconds=1.0,
        ),
    )


class WebhookRunner:
    """Delivers the messages of one process."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def unfinished(self, session: Session, after: str, limit: int) -> list[Task]:
        """See `TaskKind`."""
        statement = (
            select(WebhookDelivery.id, WebhookDelivery.attempts, WebhookDelivery.account_id)
            .where(
                col(WebhookDelivery.status) == DeliveryStatus.PENDING,
                col(WebhookDelivery.id) > after.partition(".")[0],
                col(WebhookDelivery.next_attempt_at) <= self._services.clock() + _SOON,
            )
            .order_by(col(WebhookDelivery.id))
            .limit(limit)
        )
        return [outbox.task_of(*row) for row in session.exec(statement)]

    async def run(self, task_id: str) -> None:
        """Make the attempt that the task names, unless it was made already."""
        delivery_id, _, number = task_id.partition(".")
        while True:
            try:
                attempt = await self._services.database.read(
                    lambda session: self._prepare(session, delivery_id, int(number))
                )
                break
            except ServiceUnavailable:
                await asyncio.sleep(_OUTAGE_PAUSE_SECONDS)
        if attempt is None:
            return
        made_at = self._services.clock()
        headers = [
            *signatures.headers(attempt.message_id, attempt.body, attempt.signing_secrets, made_at),
            ("webhook-event", attempt.event),
        ]
        outcome = await self._post(attempt, headers)
        while True:
            try:
                await self._services.database.run(
                    lambda session: self._record(session, attempt, outcome, made_at)
                )
                break
            except ServiceUnavailable:
                await asyncio.sleep(_OUTAGE_PAUSE_SECONDS)
        if not outcome.is_success:
            log.info(
                "a webhook was not delivered",
                delivery_id=delivery_id,
                attempt=attempt.number + 1,
                status_code=outcome.status_code,
                problem=outcome.error,
            )

    async def _post(self, attempt: _Attempt, headers: list[tuple[str, str]]) -> AttemptOutcome:
        sender, tracer = self._services.webhook_sender, self._services.tracer
        if tracer is None:
            return await sender.post(attempt.url, headers, attempt.body)
        with tracer.webhook(attempt.event, attempt.delivery_id, attempt.number + 1) as span:
            outcome = await sender.post(attempt.url, headers, attempt.body)
            span.answered(outcome.status_code, outcome.error)
            return outcome

    def _prepare(self, session: Session, delivery_id: str, number: int) -> _Attempt | None:
        statement = (
            select(WebhookDelivery, WebhookMessage, WebhookEndpoint)
            .join(WebhookMessage, col(WebhookMessage.id) == col(WebhookDelivery.message_id))
            .join(WebhookEndpoint, col(WebhookEndpoint.id) == col(WebhookDelivery.endpoint_id))
            .where(
                col(WebhookDelivery.id) == delivery_id,
                col(WebhookDelivery.attempts) == number,
                col(WebhookDelivery.status) == DeliveryStatus.PENDING,
            )
        )
        found = session.exec(statement).first()
        if found is None:
            return None
        delivery, message, endpoint = found
        url = delivery.url or endpoint.url
        assert url is not None
        return _Attempt(
            delivery.id,
            endpoint.id,
            number,
            url,
            message.id,
            message.event,
            message.body,
            endpoints.secrets_of(endpoint, self._services.clock()),
        )

    def _record(
        self, session: Session, attempt: _Attempt, outcome: AttemptOutcome, made_at: datetime
    ) -> None:
        gone = _locked_endpoint(session, attempt) if outcome.status_code == GONE else None
        delivery = session.exec(
            select(WebhookDelivery).where(col(WebhookDelivery.id) == attempt.delivery_id).with_for_update()
        ).first()
        if delivery is None or delivery.attempts != attempt.number:
            return  # Deleted, or recorded by another process that made the same attempt.
        now = self._services.clock()
        delivery.attempts += 1
        delivery.log = json.dumps([*json.loads(delivery.log), _entry(outcome, made_at)])
        if outcome.is_success:
            _finish(delivery, DeliveryStatus.SUCCEEDED, now)
        elif gone is not None and attempt.url == (delivery.url or gone.url):
            _finish(delivery, DeliveryStatus.FAILED, now)
            if delivery.url is None:
                _disable(session, gone, now)
        elif delivery.status != DeliveryStatus.PENDING:
            return  # Given up during the attempt, because its endpoint was disabled.
        elif delivery.attempts > len(RETRY_DELAYS):
            _finish(delivery, DeliveryStatus.FAILED, now)
        else:
            delay = RETRY_DELAYS[delivery.attempts - 1] * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - no secret
            delivery.next_attempt_at = now + delay
            session.flush()
            outbox.enqueue(session, delivery, self._services.engine, delay)


def _entry(outcome: AttemptOutcome, made_at: datetime) -> dict[str, object]:
    return {
        "at": response_bodies.timestamp(made_at),
        "statusCode": outcome.status_code,
        "error": outcome.error,
        "durationMs": outcome.duration_ms,
    }


def _finish(delivery: WebhookDelivery, status: DeliveryStatus, now: datetime) -> None:
    delivery.status = status
    delivery.finished_at = now
    delivery.next_attempt_at = None


def _locked_endpoint(session: Session, attempt: _Attempt) -> WebhookEndpoint | None:
    """Locked before its delivery, in the order in which others disable it."""
    return session.get(WebhookEndpoint, attempt.endpoint_id, populate_existing=True, with_for_update=True)


def _disable(session: Session, endpoint: WebhookEndpoint, now: datetime) -> None:
    """The receiver is gone: send nothing more to it. A job's `callback_url` has only its own delivery."""
    if endpoint.disabled_at is None:
        endpoint.disabled_at, endpoint.disabled_reason = now, "The receiver answered 410 Gone."
    session.flush()
    give_up_pending(session, endpoint.id, now)


def give_up_pending(session: Session, endpoint_id: str, now: datetime) -> None:
    """End the pending deliveries of a disabled endpoint."""
    session.execute(
        update(WebhookDelivery)
        .where(
            col(WebhookDelivery.endpoint_id) == endpoint_id,
            col(WebhookDelivery.status) == DeliveryStatus.PENDING,
        )
        .values(status=DeliveryStatus.FAILED.value, finished_at=now, next_attempt_at=None)
        .execution_options(synchronize_session=False)
    )
