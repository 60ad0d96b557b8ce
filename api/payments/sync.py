"""Synchronises accounts with Stripe: after each event, and by an hourly reconciliation.

Both fetch a customer's current state and apply it. Events only trigger this, so their order, repetition or
loss only affects when it happens.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog
from sqlmodel import Session, col, delete, select

from api.db import leader
from api.errors import ServiceUnavailable
from api.payments.customer_sync import CustomerBusy, adopt, sync_customer
from api.payments.models import Reconciliation
from api.payments.stripe_client import StripeAccess
from api.services import Services
from billing.errors import PaymentError
from billing.identifiers import new_id
from billing.subscriptions import events, subscriptions
from billing.subscriptions.models import StripeCustomer, StripeEvent

RECONCILE_EVERY = timedelta(hours=1)
POLL_EVERY_SECONDS = 5.0
_BATCH = 100
#: How long the results of comparisons are kept, and how many customers of each.
_KEPT = timedelta(days=30)
_DETAILS_MAX = 50

log = structlog.get_logger()


@dataclass
class Reconciled:
    """`changes` by customer: empty if everything agreed. `failures`: by customer, the reasons."""

    customers: int = 0
    changes: dict[str, list[str]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


async def run_forever(services: Services, stripe: StripeAccess) -> None:
    """Handle events as they come and reconcile every hour, until cancelled.

    In two loops, so that events do not wait for a reconciliation, which takes long.
    """
    await asyncio.gather(
        _repeat(lambda: _handle_and_end_graces(services, stripe), stripe.wakeup),
        _repeat(lambda: _reconcile_if_due(services, stripe), None),
    )


async def _repeat(work: Callable[[], Awaitable[object]], wakeup: asyncio.Event | None) -> None:
    while True:
        try:
            await work()
        except ServiceUnavailable as error:
            log.warning("Stripe's events wait for the database", reason=str(error))
        except Exception:
            # Without this, the loop would end silently and paid credits would not be granted.
            log.exception("synchronising payments failed; it is tried again")
        if wakeup is None:
            await asyncio.sleep(POLL_EVERY_SECONDS)
            continue
        wakeup.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(wakeup.wait(), POLL_EVERY_SECONDS)


async def _handle_and_end_graces(services: Services, stripe: StripeAccess) -> None:
    # Separate, because a plan must end on time even if Stripe is unavailable.
    await end_lapsed_graces(services)
    await handle_due(services, stripe)


async def _reconcile_if_due(services: Services, stripe: StripeAccess) -> None:
    await stripe.refresh(services.clock())
    if await leader.try_claim(services.database, "stripe-reconciliation", RECONCILE_EVERY, services.clock()):
        await reconcile(services, stripe)


async def end_lapsed_graces(services: Services) -> None:
    """End the plans whose grace period is over, without a call to Stripe."""
    now = services.clock()
    for account_id in await services.database.read(lambda s: subscriptions.lapsed_graces(s, now)):
        await services.database.run(lambda s, one=account_id: subscriptions.end_grace(s, one, now))  # type: ignore[misc]


async def handle_due(services: Services, stripe: StripeAccess) -> int:
    """Handle every event that is due; returns the number handled. Failed ones are retried later."""
    handled = 0
    while True:
        now = services.clock()
        waiting = await services.database.read(lambda s, at=now: events.due(s, at, _BATCH))  # type: ignore[misc]
        for event in waiting:
            if await _handle(services, stripe, event):
                handled += 1
        if len(waiting) < _BATCH:
            return handled


async def _handle(services: Services, stripe: StripeAccess, event: StripeEvent) -> bool:
    database = services.database
    still_waits = await database.read(lambda s: s.get_one(StripeEvent, event.id).handled_at is None)
    if not still_waits:
        return True  # handled together with an earlier one of the same customer
    try:
        customer_id = await _customer_of(services, stripe, event)
        if customer_id is None:
            await database.run(lambda s: events.mark_handled(s, [event.id], services.clock()))
        else:
            await sync_customer(services, stripe, customer_id)
    except (PaymentError, CustomerBusy) as error:
        reason = str(error) or type(error).__name__
        log.warning("a Stripe event is retried later", stripe_event=event.id, type=event.type, reason=reason)
        await database.run(lambda s: events.reschedule(s, event.id, reason, services.clock()))
        return False
    except ServiceUnavailable:
        raise
    except Exception as error:
        log.exception("a Stripe event could not be handled", stripe_event=event.id, type=event.type)
        reason = type(error).__name__
        await database.run(lambda s: events.reschedule(s, event.id, reason, services.clock()))
        return False
    return True


async def _customer_of(services: Services, stripe: StripeAccess, event: StripeEvent) -> str | None:
    """The event's customer, which is recorded if necessary; None if it is not one of ours."""
    customer_id = event.customer_id
    if customer_id is None and event.object_id.startswith(("ch_", "py_")):
        found = await stripe.ask(stripe.gateway.customer_of_charge, event.object_id)
        if found is not None:
            await services.database.run(lambda s: events.name_customer(s, event.id, found))
        customer_id = found
    if customer_id is None or not await adopt(services, stripe, customer_id):
        return None
    return customer_id


async def reconcile(
    services: Services, stripe: StripeAccess, report: Callable[[str, list[str]], None] | None = None
) -> Reconciled:
    """Synchronise every customer, whether events came or not.

    `report` is called with each customer and its changes. Raises ServiceUnavailable.
    """
    result = Reconciled()
    await _adopt_unknown(services, stripe, result)
    customers = await services.database.read(
        lambda session: session.exec(select(StripeCustomer.id).order_by(StripeCustomer.id)).all()
    )
    for customer_id in customers:
        result.customers += 1
        try:
            changes = await sync_customer(services, stripe, customer_id)
        except ServiceUnavailable:
            raise
        except (PaymentError, CustomerBusy) as error:
            result.failures[customer_id] = str(error) or type(error).__name__
            continue
        except Exception as error:
            # One customer with unexpected data must not stop the reconciliation of the others.
            log.exception("a customer could not be compared with Stripe", customer=customer_id)
            result.failures[customer_id] = type(error).__name__
            continue
        if changes:
            result.changes[customer_id] = changes
            log.warning("an account differed from Stripe", customer=customer_id, changes=changes)
        if report is not None:
            report(customer_id, changes)
    await services.database.run(lambda session: _finish(session, result, services.clock()))
    return result


def _finish(session: Session, result: Reconciled, now: datetime) -> None:
    events.delete_old(session, now)
    session.execute(delete(Reconciliation).where(col(Reconciliation.finished_at) < now - _KEPT))
    details = {**result.changes, **{name: [reason] for name, reason in result.failures.items()}}
    session.add(
        Reconciliation(
            id=new_id("rec"),
            finished_at=now,
            customers=result.customers,
            differed=len(result.changes),
            failed=len(result.failures),
            details=json.dumps(dict(list(details.items())[:_DETAILS_MAX])),
        )
    )


async def _adopt_unknown(services: Services, stripe: StripeAccess, result: Reconciled) -> None:
    """Record our customers that are missing here, because the database was restored from a backup."""
    try:
        paying = await stripe.ask(stripe.gateway.subscribed_customers)
        paying |= await stripe.ask(stripe.gateway.pack_customers, services.clock())
    except PaymentError as error:
        result.failures["every customer"] = str(error)
        return
    for customer_id in sorted(paying):
        try:
            await adopt(services, stripe, customer_id)
        except PaymentError as error:
            result.failures[customer_id] = str(error)
