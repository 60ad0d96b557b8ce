"""Credits for paid invoices, and credits taken back when the money went back.

Both are decided once for each invoice, refund and dispute, whatever the order in which we hear of them: those
of one customer are always gone through together, the oldest first.
"""

from datetime import datetime

from sqlmodel import Session, col, select

from billing.ledger import grants
from billing.ledger.grants import RENEWAL_SLACK, entitled_in_period, granted_in_period
from billing.ledger.models import Account, Grant, GrantKind
from billing.subscriptions.models import PaidInvoice, Reversal
from billing.subscriptions.revocation import revoke
from billing.subscriptions.types import InvoiceFacts, ReversalFacts


def settle(session: Session, account: Account, invoice: InvoiceFacts, now: datetime) -> list[str]:
    """Bring an invoice's credits to what they must be; what changed, in words."""
    changes = []
    stored = session.get(PaidInvoice, invoice.id)
    if stored is None:
        stored = _grant(session, account, invoice, now)
        changes.append(f"{invoice.id}: {stored.credits} credits granted")
    return changes + _reverse(session, account, stored, invoice, now)


def _grant(session: Session, account: Account, invoice: InvoiceFacts, now: datetime) -> PaidInvoice:
    """max(0, what this period's invoices stand for - what it has had).

    Counted over all of them, so that changing plans to and fro brings nothing.
    """
    reference = _grant_reference(invoice.id)
    _end_former_periods(session, invoice, now)
    grants.expire_due(session, account, now)
    had = granted_in_period(session, account.id, invoice.period_ends_at)
    entitled = entitled_in_period(session, account.id, invoice.period_ends_at) + invoice.entitled
    credits_ = max(0, entitled - had)
    if credits_ > 0:
        grants.grant(
            session,
            account,
            kind=GrantKind.PLAN,
            amount=credits_,
            reference=reference,
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


def _end_former_periods(session: Session, invoice: InvoiceFacts, now: datetime) -> None:
    """Credits do not roll over: those of earlier periods, which lived a little longer, end now."""
    former = session.exec(
        select(PaidInvoice.id).where(
            col(PaidInvoice.subscription_id) == invoice.subscription_id,
            col(PaidInvoice.period_ends_at) <= invoice.period_starts_at,
            col(PaidInvoice.period_ends_at) > now - RENEWAL_SLACK,
        )
    ).all()
    references = [_grant_reference(invoice_id) for invoice_id in former]
    alive = select(Grant).where(col(Grant.reference).in_(references), col(Grant.expires_at) > now)
    for each in session.exec(alive).all():
        # Not before the period's own end, by which a period's credits are counted.
        each.expires_at = max(now, invoice.period_starts_at)
    session.flush()


def _reverse(
    session: Session, account: Account, stored: PaidInvoice, invoice: InvoiceFacts, now: datetime
) -> list[str]:
    if stored.credits == 0 or stored.amount_paid == 0:
        return []
    known = {
        each.id: each
        for each in session.exec(select(Reversal).where(col(Reversal.invoice_id) == stored.id)).all()
    }
    standing = {each.id for each in invoice.reversals}
    changes = []
    for gone in sorted(set(known) - standing):
        if known[gone].returned_at is None:
            changes.append(_give_back(session, account, known[gone], stored, now))
    amount, credits_ = 0, 0
    # Those that were counted before come first: one that is heard of late must find what they have left.
    for each in sorted(invoice.reversals, key=lambda one: (one.id not in known, one.created_at, one.id)):
        amount = min(stored.amount_paid, amount + each.amount)
        if each.id not in known:
            # Counted together and rounded down once, so that a payment refunded in parts is refunded whole.
            due = max(0, stored.credits * amount // stored.amount_paid - credits_)
            known[each.id] = _take_back(session, account, each, stored, due, now)
            changes.append(f"{each.id}: {known[each.id].taken} of {due} credits taken back")
        credits_ += known[each.id].credits
    return changes


def _take_back(
    session: Session, account: Account, reversal: ReversalFacts, stored: PaidInvoice, due: int, now: datetime
) -> Reversal:
    shortfall = 0
    if due > 0:
        shortfall = revoke(
            session,
            account,
            grant_reference=_grant_reference(stored.id),
            amount=due,
            reference=f"stripe:{reversal.id}",
            now=now,
        )
    row = Reversal(
        id=reversal.id,
        account_id=account.id,
        invoice_id=stored.id,
        kind=reversal.kind.value,
        amount=reversal.amount,
        credits=due,
        taken=due - shortfall,
        created_at=reversal.created_at,
    )
    session.add(row)
    session.flush()
    return row


def _give_back(
    session: Session, account: Account, reversal: Reversal, stored: PaidInvoice, now: datetime
) -> str:
    """The dispute was won or the refund failed: what was taken comes back until its period's end."""
    reversal.returned_at = now
    if reversal.taken > 0:
        grants.grant(
            session,
            account,
            kind=GrantKind.RETURNED,
            amount=reversal.taken,
            reference=f"stripe:{reversal.id}:returned",
            expires_at=stored.period_ends_at + RENEWAL_SLACK,
            now=now,
        )
    session.flush()
    return f"{reversal.id}: {reversal.taken} credits given back"


def _grant_reference(invoice_id: str) -> str:
    return f"stripe:{invoice_id}"
