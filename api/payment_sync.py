"""Keeps accounts in agreement with Stripe: after each event, and every hour whether events came or not.

Both do the same thing: fetch a customer's present state and apply it. Events are only reasons to look, so
their order, repetition or loss changes nothing but the moment of the look.
"""

import asyncio
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog
from sqlalchemy import or_
from sqlmodel import Session, col, select, update

from api import periodic
from api.errors import ServiceUnavailable
from api.services import Services
from api.stripe_access import StripeAccess
from billing import accounts, stripe_events, subscriptions
from billing.errors import PaymentError, StripeRefused, UnknownAccount
from billing.models import Account
from billing.postings import insert_unless_taken
from billing.subscription_models import StripeCustomer, StripeEvent

RECONCILE_EVERY = timedelta(hours=1)
LOOK_EVERY_SECONDS = 5.0
#: Longer than the slowest fetch; a process that died frees its customer after so long.
_SYNC_LEASE = timedelta(minutes=2)
_BATCH = 100

log = structlog.get_logger()


class CustomerBusy(Exception):
    """Another process looks at this customer just now; the event waits for its turn."""


@dataclass
class Reconciled:
    """`changes` by customer: none when everything agreed. `failures`: who could not be looked at."""

    customers: int = 0
    changes: dict[str, list[str]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


async def run_forever(services: Services, stripe: StripeAccess) -> None:
    """Handle events as they come and reconcile every hour, until cancelled."""
    while True:
        try:
            await handle_due(services, stripe)
            await end_lapsed_graces(services)
            if await periodic.take_turn(
                services.database, "stripe-reconciliation", RECONCILE_EVERY, services.clock()
            ):
                await reconcile(services, stripe)
        except ServiceUnavailable as error:
            log.warning("Stripe's events wait for the database", reason=str(error))
        except Exception:
            # A loop that ends is noticed by nobody, until a customer has paid for nothing.
            log.exception("looking after payments failed; it is tried again")
        stripe.bell.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(stripe.bell.wait(), LOOK_EVERY_SECONDS)


async def end_lapsed_graces(services: Services) -> None:
    """Plans whose payment failed a week ago end on time, whether Stripe can be asked or not."""
    now = services.clock()
    for account_id in await services.database.read(lambda s: subscriptions.lapsed_graces(s, now)):
        await services.database.run(lambda s, one=account_id: subscriptions.end_grace(s, one, now))  # type: ignore[misc]


async def handle_due(services: Services, stripe: StripeAccess) -> int:
    """Handle every event that waits and is due; how many were. One that fails is put off, never lost."""
    handled = 0
    while True:
        now = services.clock()
        waiting = await services.database.read(lambda s, at=now: stripe_events.due(s, at, _BATCH))  # type: ignore[misc]
        for event in waiting:
            if await _handle(services, stripe, event):
                handled += 1
        if len(waiting) < _BATCH:
            return handled


async def _handle(services: Services, stripe: StripeAccess, event: StripeEvent) -> bool:
    database = services.database
    still_waits = await database.read(lambda s: s.get_one(StripeEvent, event.id).handled_at is None)
    if not still_waits:
        return True  # together with an earlier one of the same customer
    try:
        customer_id = await _customer_of(services, stripe, event)
        if customer_id is None:
            await database.run(lambda s: stripe_events.mark_handled(s, [event.id], services.clock()))
        else:
            await sync_customer(services, stripe, customer_id)
    except (PaymentError, CustomerBusy) as error:
        reason = str(error) or type(error).__name__
        log.warning("a Stripe event is put off", stripe_event=event.id, type=event.type, reason=reason)
        await database.run(lambda s: stripe_events.put_off(s, event.id, reason, services.clock()))
        return False
    except ServiceUnavailable:
        raise
    except Exception as error:
        log.exception("a Stripe event could not be handled", stripe_event=event.id, type=event.type)
        reason = type(error).__name__
        await database.run(lambda s: stripe_events.put_off(s, event.id, reason, services.clock()))
        return False
    return True


async def _customer_of(services: Services, stripe: StripeAccess, event: StripeEvent) -> str | None:
    """The event's customer, known to us by now; None for somebody who is no customer of ours."""
    customer_id = event.customer_id
    if customer_id is None and event.object_id.startswith(("ch_", "py_")):
        found = await asyncio.to_thread(stripe.gateway.customer_of_charge, event.object_id)
        if found is not None:
            await services.database.run(lambda s: stripe_events.name_customer(s, event.id, found))
        customer_id = found
    if customer_id is None or not await adopt(services, stripe, customer_id):
        return None
    return customer_id


async def adopt(services: Services, stripe: StripeAccess, customer_id: str) -> bool:
    """Whether the customer is ours: known here, or made for one of our accounts as its own data say."""
    known = await services.database.read(lambda s: s.get(StripeCustomer, customer_id) is not None)
    if known:
        return True
    try:
        account_id = await asyncio.to_thread(stripe.gateway.account_of_customer, customer_id)
    except StripeRefused:
        return False  # deleted at Stripe
    if account_id is None:
        return False

    def remember(session: Session) -> bool:
        if session.get(Account, account_id) is None:
            return False
        row = StripeCustomer(id=customer_id, account_id=account_id, created_at=services.clock())
        return insert_unless_taken(session, row, unique_column="account_id") is not None

    return await services.database.run(remember)


async def sync_customer(services: Services, stripe: StripeAccess, customer_id: str) -> list[str]:
    """Fetch a customer's present state and make the account agree with it; what changed, in words.

    Raises StripeUnavailable, StripeRefused, CustomerBusy, ServiceUnavailable; nothing has changed then.
    """
    database = services.database
    token = secrets.token_hex(8)
    event_ids = await database.run(lambda s: _claim(s, customer_id, token, services.clock()))
    facts = None
    try:
        facts = await asyncio.to_thread(stripe.gateway.customer_facts, customer_id, services.clock())
    finally:
        if facts is None:
            await database.run(lambda s: _let_go(s, customer_id, token))

    def apply(session: Session) -> tuple[list[str], list[str]]:
        customer = session.get_one(StripeCustomer, customer_id)
        account = accounts.lock_even_closed(session, customer.account_id)
        # Read again under the lock: whoever took the customer over meanwhile has seen a later state.
        session.refresh(customer)
        if customer.sync_token != token:
            raise CustomerBusy(customer_id)
        now = services.clock()
        changes = subscriptions.apply(session, account, facts, now)
        stripe_events.mark_handled(session, event_ids, now)
        _let_go(session, customer_id, token)
        return changes, _of_a_closed_account(session, account)

    changes, ended = await database.run(apply)
    for subscription_id in ended:
        await asyncio.to_thread(stripe.gateway.cancel_now, subscription_id)
        changes.append(f"{subscription_id}: cancelled, for its account was closed")
    return changes


async def reconcile(
    services: Services, stripe: StripeAccess, tell: Callable[[str, list[str]], None] | None = None
) -> Reconciled:
    """Look at every customer, whether events came or not, and repair what differs.

    `tell` hears of each customer as it was looked at. Raises ServiceUnavailable.
    """
    done = Reconciled()
    await _adopt_unknown(services, stripe, done)
    customers = await services.database.read(
        lambda session: session.exec(select(StripeCustomer.id).order_by(StripeCustomer.id)).all()
    )
    for customer_id in customers:
        done.customers += 1
        try:
            changes = await sync_customer(services, stripe, customer_id)
        except (PaymentError, CustomerBusy, UnknownAccount) as error:
            done.failures[customer_id] = str(error) or type(error).__name__
            continue
        if changes:
            done.changes[customer_id] = changes
            log.warning("an account differed from Stripe", customer=customer_id, changes=changes)
        if tell is not None:
            tell(customer_id, changes)
    await services.database.run(lambda session: stripe_events.forget_old(session, services.clock()))
    return done


async def _adopt_unknown(services: Services, stripe: StripeAccess, done: Reconciled) -> None:
    """Customers of ours that this database does not know, for it was restored from a backup."""
    try:
        subscribed = await asyncio.to_thread(stripe.gateway.subscribed_customers)
        for customer_id in sorted(subscribed):
            await adopt(services, stripe, customer_id)
    except PaymentError as error:
        done.failures["every customer"] = str(error)


def _claim(session: Session, customer_id: str, token: str, now: datetime) -> list[str]:
    """Take the customer for one look; its events that wait now, which the look will have seen."""
    claimed = session.scalars(
        update(StripeCustomer)
        .where(
            col(StripeCustomer.id) == customer_id,
            or_(col(StripeCustomer.sync_until).is_(None), col(StripeCustomer.sync_until) <= now),
        )
        .values(sync_token=token, sync_until=now + _SYNC_LEASE)
        .returning(col(StripeCustomer.id))
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if claimed is None:
        raise CustomerBusy(customer_id)
    return stripe_events.waiting_ids(session, customer_id)


def _let_go(session: Session, customer_id: str, token: str) -> None:
    session.execute(
        update(StripeCustomer)
        .where(col(StripeCustomer.id) == customer_id, col(StripeCustomer.sync_token) == token)
        .values(sync_token=None, sync_until=None)
        .execution_options(synchronize_session=False)
    )


def _of_a_closed_account(session: Session, account: Account) -> list[str]:
    """Subscriptions that would go on being charged although their account was closed."""
    if account.closed_at is None:
        return []
    running = subscriptions.live_subscription(session, account.id)
    return [running.id] if running is not None else []
