"""Events received from Stripe: stored under their id first, and handled later.

An event only triggers a sync of its customer. One sync therefore handles every event of the customer that was
stored before it began.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlmodel import Session, col, delete, select, update

from billing.errors import BadSignature, WrongMode
from billing.identifiers import new_id
from billing.ledger.postings import insert_unless_taken
from billing.subscriptions.models import StripeEvent

#: The types that the webhook subscribes to; others are stored as handled.
WANTED_TYPES = (
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.async_payment_failed",
    "customer.deleted",
    "customer.subscription.created",
    "customer.subscription.updated",
    "customer.subscription.deleted",
    "customer.subscription.paused",
    "customer.subscription.resumed",
    "customer.subscription.trial_will_end",
    "invoice.paid",
    "invoice.payment_failed",
    "invoice.payment_action_required",
    "invoice.voided",
    "invoice.marked_uncollectible",
    "charge.refunded",
    "refund.created",
    "refund.updated",
    "refund.failed",
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
    "charge.dispute.closed",
)
#: Stripe resends for three days; ids are kept for much longer.
KEPT_FOR = timedelta(days=90)
_FIRST_RETRY = timedelta(seconds=10)
_LONGEST_WAIT = timedelta(hours=1)
_ERROR_LENGTH = 300


@dataclass(frozen=True)
class ReceivedEvent:
    """The fields used of an event's body; the rest is not trusted."""

    id: str
    type: str
    created_at: datetime
    object_id: str
    customer_id: str | None
    charge_id: str | None  # of a refund or dispute, which may not name the customer


def read(payload: bytes, *, is_live: bool) -> ReceivedEvent:
    """The event in a signed body. Raises BadSignature for anything else.

    Raises WrongMode for an event of the other mode than `is_live` says. Which version of the API an event has
    does not matter: of its object only ids are used, which every version has.
    """
    try:
        event: Any = json.loads(payload)
        stripe_object = event["data"]["object"]
        if event["object"] != "event" or not str(event["id"]).startswith("evt_"):
            raise BadSignature("this is not a Stripe event")
        if bool(event["livemode"]) != is_live:
            kind, key = ("a live", "a test") if event["livemode"] else ("a test", "a live")
            raise WrongMode(f"this is {kind} event, and this server has {key} key of Stripe's")
        return ReceivedEvent(
            id=str(event["id"])[:255],
            type=str(event["type"])[:255],
            created_at=datetime.fromtimestamp(int(event["created"]), UTC),
            # A refund or dispute names its charge.
            object_id=str(stripe_object.get("charge") or stripe_object.get("id"))[:255],
            customer_id=_id_or_none(
                stripe_object if stripe_object.get("object") == "customer" else stripe_object.get("customer")
            ),
            charge_id=_id_or_none(stripe_object.get("charge")),
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise BadSignature("this is not a Stripe event") from error


def store(session: Session, event: ReceivedEvent, now: datetime) -> bool:
    """Store the event; returns whether it was new. Other event types are stored as handled."""
    is_wanted = event.type in WANTED_TYPES
    row = StripeEvent(
        id=event.id,
        type=event.type,
        customer_id=event.customer_id,
        object_id=event.charge_id or event.object_id,
        created_at=event.created_at,
        received_at=now,
        handled_at=None if is_wanted else now,
        attempts=0,
        next_try_at=now,
    )
    return insert_unless_taken(session, row, unique_column="id") is not None


def enqueue_sync(session: Session, customer_id: str, reason: str, now: datetime) -> None:
    """Store an event of our own, after a change here that the customer's subscription must follow."""
    session.add(
        StripeEvent(
            id=new_id("own"),
            type=reason,
            customer_id=customer_id,
            object_id=customer_id,
            created_at=now,
            received_at=now,
            next_try_at=now,
        )
    )
    session.flush()


def due(session: Session, now: datetime, limit: int) -> list[StripeEvent]:
    """Unhandled events that are due, oldest first."""
    return list(
        session.exec(
            select(StripeEvent)
            .where(col(StripeEvent.handled_at).is_(None), col(StripeEvent.next_try_at) <= now)
            .order_by(col(StripeEvent.received_at), col(StripeEvent.id))
            .limit(limit)
        ).all()
    )


def waiting_ids(session: Session, customer_id: str) -> list[str]:
    """Ids of a customer's events that are stored and not handled."""
    return list(
        session.exec(
            select(StripeEvent.id).where(
                col(StripeEvent.customer_id) == customer_id, col(StripeEvent.handled_at).is_(None)
            )
        ).all()
    )


def name_customer(session: Session, event_id: str, customer_id: str) -> None:
    session.get_one(StripeEvent, event_id).customer_id = customer_id
    session.flush()


def mark_handled(session: Session, event_ids: Sequence[str], now: datetime) -> None:
    session.execute(
        update(StripeEvent)
        .where(col(StripeEvent.id).in_(event_ids), col(StripeEvent.handled_at).is_(None))
        .values(handled_at=now, error=None)
        .execution_options(synchronize_session=False)
    )


def reschedule(session: Session, event_id: str, error: str, now: datetime) -> None:
    """After a failed attempt, retry after a delay that doubles up to an hour, without a limit."""
    event = session.get_one(StripeEvent, event_id)
    wait = min(_LONGEST_WAIT, _FIRST_RETRY * 2 ** min(event.attempts, 12))
    event.attempts += 1
    event.handled_at = None
    event.error = error[:_ERROR_LENGTH]
    event.next_try_at = now + wait
    session.flush()


def delete_old(session: Session, now: datetime) -> None:
    session.execute(
        delete(StripeEvent).where(
            col(StripeEvent.handled_at).is_not(None), col(StripeEvent.received_at) <= now - KEPT_FOR
        )
    )


def _id_or_none(expandable: object) -> str | None:
    if isinstance(expandable, dict):
        expandable = expandable.get("id")
    return expandable[:255] if isinstance(expandable, str) and expandable else None
