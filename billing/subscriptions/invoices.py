"""Credits granted for paid invoices, and revoked for refunds and disputes.

Each invoice is processed once, in any order of events: those of one customer are always processed together,
oldest first.
"""

from datetime import datetime

from sqlmodel import Session, col, func, select

from billing.ledger import grants
from billing.ledger.grants import RENEWAL_SLACK, granted_in_period
from billing.ledger.models import Account, Grant, GrantKind, PaidInvoice
from billing.subscriptions import reversals
from billing.subscriptions.reversals import Payment, grant_reference
from billing.subscriptions.types import InvoiceFacts


def settle(session: Session, account: Account, invoice: InvoiceFacts, now: datetime) -> list[str]:
    """Bring an invoice's credits up to date; returns a description of each change."""
    changes = []
    stored = session.get(PaidInvoice, invoice.id)
    if stored is None:
        stored = _grant(session, account, invoice, now)
        changes.append(f"{invoice.id}: {stored.credits} credits granted")
    payment = Payment(
        id=stored.id,
        invoice_id=stored.id,
        credits=stored.credits,
        amount_paid=stored.amount_paid,
        expires_at=stored.period_ends_at + RENEWAL_SLACK,
        returned_as=GrantKind.RETURNED,
    )
    return changes + reversals.settle(session, account, payment, invoice.reversals, now)


def _grant(session: Session, account: Account, invoice: InvoiceFacts, now: datetime) -> PaidInvoice:
    """max(0, credits that the period's invoices are worth - credits already granted).

    Summed over the period, so that changing plans back and forth gains nothing.
    """
    _end_former_periods(session, invoice, now)
    grants.expire_due(session, account, now)
    had = granted_in_period(session, account.id, invoice.period_ends_at)
    entitled = _entitled_in_period(session, account.id, invoice.period_ends_at) + invoice.entitled
    credits_ = max(0, entitled - had)
    if credits_ > 0:
        grants.grant(
            session,
            account,
            kind=GrantKind.PLAN,
            amount=credits_,
            reference=grant_reference(invoice.id),
            starts_at=invoice.period_starts_at,
            expires_at=invoice.period_ends_at + RENEWAL_SLACK,
            now=now,
        )
    stored = PaidInvoice(
        id=invoice.id,
        account_id=account.id,
        subscription_id=invoice.subscription_id,
        plan=invoice.plan.value,
        amount_paid=invoice.amount_paid,
        currency=invoice.currency,
        credits=credits_,
        entitled=invoice.entitled,
        period_ends_at=invoice.period_ends_at,
        created_at=invoice.created_at,
    )
    session.add(stored)
    session.flush()
    return stored


def _entitled_in_period(session: Session, account_id: str, ends_at: datetime) -> int:
    """The sum of what the paid invoices of the period ending at `ends_at` are worth; it can be negative."""
    return int(
        session.exec(
            select(func.coalesce(func.sum(PaidInvoice.entitled), 0)).where(
                col(PaidInvoice.account_id) == account_id, col(PaidInvoice.period_ends_at) == ends_at
            )
        ).one()
    )


def _end_former_periods(session: Session, invoice: InvoiceFacts, now: datetime) -> None:
    """Expire credits of earlier periods, which would otherwise last two hours longer."""
    former = session.exec(
        select(PaidInvoice.id).where(
            col(PaidInvoice.subscription_id) == invoice.subscription_id,
            col(PaidInvoice.period_ends_at) <= invoice.period_starts_at,
            col(PaidInvoice.period_ends_at) > now - RENEWAL_SLACK,
        )
    ).all()
    references = [grant_reference(invoice_id) for invoice_id in former]
    current = select(Grant).where(col(Grant.reference).in_(references), col(Grant.expires_at) > now)
    for each in session.exec(current).all():
        # Not before the period's own end, by which its credits are identified.
        each.expires_at = max(now, invoice.period_starts_at)
    session.flush()
