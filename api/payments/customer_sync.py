"""Synchronises one customer: fetch from Stripe, apply here, and undo surplus purchases at Stripe.

A lease on the customer's row keeps two processes from doing so at once, and from opening two checkouts.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog
from sqlalchemy import or_
from sqlmodel import Session, col, select, update

from api.payments import failed_payments, trials
from api.payments.stripe_client import StripeAccess
from api.services import Services
from billing.errors import CustomerGone, StripeRefused
from billing.ledger import accounts
from billing.ledger.models import Account
from billing.ledger.postings import insert_unless_taken
from billing.subscriptions import events, packs, subscriptions
from billing.subscriptions.models import StripeCustomer
from billing.subscriptions.types import CustomerFacts, InvoiceFacts

#: Longer than the slowest fetch. The lease of a process that died lapses after this time.
_LEASE = timedelta(minutes=2)
_RETRY_SECONDS = 0.2

log = structlog.get_logger()


class CustomerBusy(Exception):
    """Another process holds the lease of this customer."""


@dataclass(frozen=True)
class Lease:
    """A claim on the customer until the block ends, and the events stored before it."""

    customer_id: str
    token: str
    event_ids: list[str]


@dataclass(frozen=True)
class Corrections:
    """Subscriptions to cancel and payments to refund at Stripe, with the reasons."""

    cancelled: dict[str, str]
    refunded: dict[str, str]  # by payment intent
    trials_ended: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.cancelled or self.refunded or self.trials_ended)


@asynccontextmanager
async def lease(services: Services, customer_id: str, *, wait_seconds: float = 0.0) -> AsyncIterator[Lease]:
    """Raises CustomerBusy if another process keeps the lease for longer than `wait_seconds`."""
    token, give_up_at = secrets.token_hex(8), time.monotonic() + wait_seconds
    while True:
        try:
            event_ids = await services.database.run(
                lambda session: _try_claim(session, customer_id, token, services.clock())
            )
            break
        except CustomerBusy:
            if time.monotonic() >= give_up_at:
                raise
            await asyncio.sleep(_RETRY_SECONDS)
    try:
        yield Lease(customer_id, token, event_ids)
    finally:
        await services.database.run(lambda session: _release_claim(session, customer_id, token))


async def adopt(services: Services, stripe: StripeAccess, customer_id: str) -> bool:
    """Record the customer if its metadata names one of our accounts; returns whether it is ours."""
    is_ours = await services.database.read(lambda s: s.get(StripeCustomer, customer_id) is not None)
    if is_ours:
        return True
    try:
        account_id = await stripe.ask(stripe.gateway.account_of_customer, customer_id)
    except StripeRefused as error:
        if error.code != "resource_missing":
            raise
        account_id = None  # of another Stripe account, or deleted long ago
    if account_id is None:
        return False

    def remember(session: Session) -> bool:
        if session.get(Account, account_id) is None:
            return False
        row = StripeCustomer(id=customer_id, account_id=account_id, created_at=services.clock())
        return insert_unless_taken(session, row, unique_column="account_id") is not None

    return await services.database.run(remember)


async def sync_customer(services: Services, stripe: StripeAccess, customer_id: str) -> list[str]:
    """Fetch a customer's current state and apply it; returns a description of each change.

    Raises StripeUnavailable, StripeRefused, CustomerBusy, ServiceUnavailable; nothing has changed then.
    """
    async with lease(services, customer_id) as lease_held:
        try:
            return await fetch_and_apply(services, stripe, lease_held)
        except CustomerGone:
            return await detach_deleted_customer(services, lease_held)


async def fetch_and_apply(services: Services, stripe: StripeAccess, lease_held: Lease) -> list[str]:
    """As `sync_customer`, under a lease of the caller's. Raises CustomerGone too."""
    customer_id, database = lease_held.customer_id, services.database
    if await database.read(lambda session: _account_of(session, customer_id).closed_at is not None):
        # Close them first: otherwise a page could still be paid after the fetch.
        await stripe.ask(stripe.gateway.close_checkouts, customer_id)
    packs_since = await database.read(
        lambda session: packs.oldest_kept(session, _account_of(session, customer_id).id, services.clock())
    )
    facts = await stripe.ask(stripe.gateway.customer_facts, customer_id, services.clock(), packs_since)

    def apply(session: Session) -> tuple[list[str], Corrections]:
        account = _locked_account(session, lease_held)
        now = services.clock()
        repeated = services.trials.repeated(session, account.id, facts, now)
        effective = trials.without(facts, repeated)
        changes = subscriptions.apply(session, account, effective, now)
        changes += packs.apply(session, account, facts, stripe.pack_months, now)
        failed_payments.announce(session, account, effective, now, services.alerts)
        corrections = corrections_for(facts, account.closed_at, now)
        corrections = replace(
            corrections, refunded=corrections.refunded | _late_packs(session, account, facts)
        )
        ignored = {each.id for each in facts.subscriptions} - {each.id for each in effective.subscriptions}
        corrections = replace(corrections, trials_ended=tuple(sorted(ignored - set(corrections.cancelled))))
        if not corrections:
            events.mark_handled(session, lease_held.event_ids, now)
        return changes, corrections

    changes, corrections = await database.run(apply)
    if corrections:
        changes += await _apply_corrections(stripe, customer_id, corrections)
        await database.run(lambda s: events.mark_handled(s, lease_held.event_ids, services.clock()))
    return changes


def corrections_for(facts: CustomerFacts, closed_at: datetime | None, now: datetime) -> Corrections:
    """What to undo at Stripe: all payments after the account was closed, and second subscriptions."""
    if closed_at is not None:
        cancelled = {
            each.id: "its account was closed"
            for each in facts.subscriptions
            if each.status in subscriptions.LIVE_STATUSES
        }
        # Stripe's times are whole seconds.
        late = [each for each in facts.invoices if each.created_at >= closed_at.replace(microsecond=0)]
        return Corrections(cancelled, _payments(late, "it was paid after its account was closed"))
    second = {each.id: "another subscription was there" for each in subscriptions.surplus(facts, now)}
    doubled = [
        each for each in facts.invoices if each.subscription_id in second and each.period_ends_at > now
    ]
    return Corrections(second, _payments(doubled, "another subscription was there"))


def _late_packs(session: Session, account: Account, facts: CustomerFacts) -> dict[str, str]:
    return {
        each.payment_intent: "it was paid after its account was closed"
        for each in packs.late(session, account, facts)
        if each.payment_intent and sum(one.amount for one in each.reversals) < each.amount_paid
    }


def _payments(paid: list[InvoiceFacts], reason: str) -> dict[str, str]:
    return {
        intent: reason
        for invoice in paid
        if sum(each.amount for each in invoice.reversals) < invoice.amount_paid
        for intent in invoice.payment_intents
    }


async def _apply_corrections(stripe: StripeAccess, customer_id: str, corrections: Corrections) -> list[str]:
    """Refund first, because the payments are selected by subscriptions that are still live."""
    changes = []
    for intent, reason in corrections.refunded.items():
        if await stripe.ask(stripe.gateway.refund, intent):
            changes.append(f"{intent}: refunded, for {reason}")
    for subscription_id, reason in corrections.cancelled.items():
        await stripe.ask(stripe.gateway.cancel_now, subscription_id)
        changes.append(f"{subscription_id}: cancelled, for {reason}")
    for subscription_id in corrections.trials_ended:
        await stripe.ask(stripe.gateway.end_trial, subscription_id)
        changes.append(f"{subscription_id}: its trial ended, for its card had one in another account")
    log.error(
        "surplus subscriptions or payments were undone at Stripe", customer=customer_id, changes=changes
    )
    return changes


async def detach_deleted_customer(services: Services, lease_held: Lease) -> list[str]:
    """End the subscriptions of a customer deleted at Stripe; the next purchase creates a new customer."""

    def work(session: Session) -> list[str]:
        account = _locked_account(session, lease_held)
        changes = subscriptions.end_all_subscriptions(session, account)
        session.delete(session.get_one(StripeCustomer, lease_held.customer_id))
        events.mark_handled(session, lease_held.event_ids, services.clock())
        return changes

    changes = await services.database.run(work)
    log.warning("a customer was deleted at Stripe", customer=lease_held.customer_id, changes=changes)
    return changes


def _account_of(session: Session, customer_id: str) -> Account:
    owner = select(Account).join(StripeCustomer).where(col(StripeCustomer.id) == customer_id)
    return session.exec(owner).one()


def _locked_account(session: Session, lease_held: Lease) -> Account:
    """The customer's account, locked. Raises CustomerBusy if the lease was lost meanwhile."""
    customer = session.get_one(StripeCustomer, lease_held.customer_id)
    account = accounts.lock_even_closed(session, customer.account_id)
    # Read again under the lock: a process that took over the lease meanwhile has fetched a later state.
    session.refresh(customer)
    if customer.sync_token != lease_held.token:
        raise CustomerBusy(lease_held.customer_id)
    return account


def _try_claim(session: Session, customer_id: str, token: str, now: datetime) -> list[str]:
    """Claim the customer; the ids of its waiting events, which the fetch covers."""
    claimed = session.scalars(
        update(StripeCustomer)
        .where(
            col(StripeCustomer.id) == customer_id,
            or_(col(StripeCustomer.sync_until).is_(None), col(StripeCustomer.sync_until) <= now),
        )
        .values(sync_token=token, sync_until=now + _LEASE)
        .returning(col(StripeCustomer.id))
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if claimed is None:
        raise CustomerBusy(customer_id)
    return events.waiting_ids(session, customer_id)


def _release_claim(session: Session, customer_id: str, token: str) -> None:
    session.execute(
        update(StripeCustomer)
        .where(col(StripeCustomer.id) == customer_id, col(StripeCustomer.sync_token) == token)
        .values(sync_token=None, sync_until=None)
        .execution_options(synchronize_session=False)
    )
