"""Credits granted for paid invoices, and revoked for refunds and disputes.

Each invoice, refund and dispute is processed once per change, in any order of events: those of one customer
are always processed together, oldest first.
"""

from collections.abc import Collection, Mapping
from datetime import datetime

from sqlmodel import Session, col, func, select

from billing.ledger import grants
from billing.ledger.grants import RENEWAL_SLACK, granted_in_period
from billing.ledger.models import Account, Grant, GrantKind, PaidInvoice
from billing.subscriptions.models import Reversal
from billing.subscriptions.revocation import revoke
from billing.subscriptions.types import InvoiceFacts, ReversalFacts


def settle(session: Session, account: Account, invoice: InvoiceFacts, now: datetime) -> list[str]:
    """Bring an invoice's credits up to date; returns a description of each change."""
    changes = []
    stored = session.get(PaidInvoice, invoice.id)
    if stored is None:
        stored = _grant(session, account, invoice, now)
        changes.append(f"{invoice.id}: {stored.credits} credits granted")
    return changes + _reverse(session, account, stored, invoice, now)


def _grant(session: Session, account: Account, invoice: InvoiceFacts, now: datetime) -> PaidInvoice:
    """max(0, credits that the period's invoices are worth - credits already granted).

    Summed over the period, so that changing plans back and forth gains nothing.
    """
    reference = _grant_reference(invoice.id)
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
    references = [_grant_reference(invoice_id) for invoice_id in former]
    current = select(Grant).where(col(Grant.reference).in_(references), col(Grant.expires_at) > now)
    for each in session.exec(current).all():
        # Not before the period's own end, by which its credits are identified.
        each.expires_at = max(now, invoice.period_starts_at)
    session.flush()


def _reverse(
    session: Session, account: Account, stored: PaidInvoice, invoice: InvoiceFacts, now: datetime
) -> list[str]:
    if stored.credits == 0 or stored.amount_paid == 0:
        return []
    stored_reversals = {
        each.id: each
        for each in session.exec(select(Reversal).where(col(Reversal.invoice_id) == stored.id)).all()
    }
    in_effect = {each.id for each in invoice.reversals}
    changes = []
    for each_id in sorted(set(stored_reversals) - in_effect):
        if stored_reversals[each_id].returned_at is None:
            changes.append(_give_back(session, account, stored_reversals[each_id], stored, now))
    counted = {each.id for each in stored_reversals.values() if each.returned_at is None}
    amount, credits_ = 0, 0
    # Those processed before come first: a new one, or one lost after it was won, takes the rest.
    for each in sorted(invoice.reversals, key=lambda one: (one.id not in counted, one.created_at, one.id)):
        amount = min(stored.amount_paid, amount + each.amount)
        if each.id not in counted:
            # Summed before rounding down, so that partial refunds add up to the whole payment.
            due = max(0, stored.credits * amount // stored.amount_paid - credits_)
            stored_reversals[each.id] = _take_back(session, account, each, stored, stored_reversals, due, now)
            changes.append(f"{each.id}: {stored_reversals[each.id].taken} of {due} credits taken back")
        credits_ += stored_reversals[each.id].credits
    return changes


def _take_back(
    session: Session,
    account: Account,
    reversal: ReversalFacts,
    stored: PaidInvoice,
    stored_reversals: Mapping[str, Reversal],
    due: int,
    now: datetime,
) -> Reversal:
    """`stored_reversals`: the invoice's stored reversals; this one is among them if it was undone before."""
    # Credits returned for a reversal that was undone belong to the invoice too, and are taken first.
    returned = _returned_grants(session, account, [*stored_reversals, reversal.id])
    times = len(_returned_grants(session, account, [reversal.id]))
    missing = due
    for grant_reference in (*returned, _grant_reference(stored.id)):
        if missing > 0:
            missing = revoke(
                session,
                account,
                grant_reference=grant_reference,
                amount=missing,
                reference=_revocation_reference(reversal.id, times, stored.id, grant_reference),
                now=now,
            )
    row = stored_reversals.get(reversal.id)
    if row is None:
        row = Reversal(
            id=reversal.id,
            account_id=account.id,
            invoice_id=stored.id,
            kind=reversal.kind.value,
            amount=reversal.amount,
            credits=due,
            taken=due - missing,
            created_at=reversal.created_at,
        )
    row.amount, row.credits, row.taken, row.returned_at = reversal.amount, due, due - missing, None
    session.add(row)
    session.flush()
    return row


def _give_back(
    session: Session, account: Account, reversal: Reversal, stored: PaidInvoice, now: datetime
) -> str:
    """Return the revoked credits until their period's end: the dispute was won or the refund failed."""
    reversal.returned_at = now
    if reversal.taken > 0:
        times = len(_returned_grants(session, account, [reversal.id]))
        grants.grant(
            session,
            account,
            kind=GrantKind.RETURNED,
            amount=reversal.taken,
            reference=_returned_reference(reversal.id) + (f":{times + 1}" if times else ""),
            expires_at=stored.period_ends_at + RENEWAL_SLACK,
            now=now,
        )
    session.flush()
    return f"{reversal.id}: {reversal.taken} credits given back"


def _returned_grants(session: Session, account: Account, reversal_ids: Collection[str]) -> list[str]:
    """References of the grants that returned these reversals' credits, newest first."""
    given_back = session.exec(
        select(Grant.created_at, Grant.reference).where(
            col(Grant.account_id) == account.id, col(Grant.kind) == GrantKind.RETURNED
        )
    ).all()
    prefixes = tuple(_returned_reference(each) for each in reversal_ids)
    # Sorted here: databases order text differently.
    return [reference for _, reference in sorted(given_back, reverse=True) if reference.startswith(prefixes)]


def _returned_reference(reversal_id: str) -> str:
    return f"stripe:{reversal_id}:returned"


def _revocation_reference(reversal_id: str, times_undone: int, invoice_id: str, grant_reference: str) -> str:
    """Unique for each revocation and grant, because an entry's reference is used once."""
    if times_undone == 0 and grant_reference == _grant_reference(invoice_id):
        return f"stripe:{reversal_id}"
    return f"stripe:{reversal_id}:{times_undone}:{grant_reference}"


def _grant_reference(invoice_id: str) -> str:
    return f"stripe:{invoice_id}"
