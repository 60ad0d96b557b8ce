"""Credits revoked for the refunds and disputes of a payment, and returned if these are undone.

Each refund and dispute is processed once per change, in any order of events.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, or_, select

from billing.ledger import grants
from billing.ledger.models import Account, Grant, GrantKind
from billing.subscriptions.models import Reversal
from billing.subscriptions.revocation import revoke
from billing.subscriptions.types import ReversalFacts


@dataclass(frozen=True)
class Payment:
    """A paid invoice or pack, and the credits that were granted for it."""

    id: str
    credits: int
    amount_paid: int
    expires_at: datetime  # of its credits
    returned_as: GrantKind  # the kind of credits that come back
    invoice_id: str | None = None
    pack_id: str | None = None


def grant_reference(payment_id: str) -> str:
    """The reference of the grant for an invoice or a pack."""
    return f"stripe:{payment_id}"


def settle(
    session: Session,
    account: Account,
    payment: Payment,
    facts: Collection[ReversalFacts],
    now: datetime,
) -> list[str]:
    """Revoke the share of the credits that was refunded or disputed; returns a description of each change.

    `facts`: all refunds and disputes of the payment that are in effect.
    """
    if payment.credits == 0 or payment.amount_paid == 0:
        return []
    of_payment = or_(col(Reversal.invoice_id) == payment.id, col(Reversal.pack_id) == payment.id)
    stored = {each.id: each for each in session.exec(select(Reversal).where(of_payment)).all()}
    in_effect = {each.id for each in facts}
    changes = []
    for each_id in sorted(set(stored) - in_effect):
        if stored[each_id].returned_at is None:
            changes.append(_give_back(session, account, stored[each_id], payment, now))
    counted = {each.id for each in stored.values() if each.returned_at is None}
    amount, credits_ = 0, 0
    # Those processed before come first: a new one, or one lost after it was won, takes the rest.
    for each in sorted(facts, key=lambda one: (one.id not in counted, one.created_at, one.id)):
        amount = min(payment.amount_paid, amount + each.amount)
        if each.id not in counted:
            # Summed before rounding down, so that partial refunds add up to the whole payment.
            due = max(0, payment.credits * amount // payment.amount_paid - credits_)
            stored[each.id] = _take_back(session, account, each, payment, stored, due, now)
            changes.append(f"{each.id}: {stored[each.id].taken} of {due} credits taken back")
        credits_ += stored[each.id].credits
    return changes


def _take_back(
    session: Session,
    account: Account,
    reversal: ReversalFacts,
    payment: Payment,
    stored: Mapping[str, Reversal],
    due: int,
    now: datetime,
) -> Reversal:
    """`stored`: the payment's stored reversals; this one is among them if it was undone before."""
    # Credits returned for a reversal that was undone belong to the payment too, and are taken first.
    returned = _returned_grants(session, account, payment, [*stored, reversal.id])
    times = len(_returned_grants(session, account, payment, [reversal.id]))
    missing = due
    for reference in (*returned, grant_reference(payment.id)):
        if missing > 0:
            missing = revoke(
                session,
                account,
                grant_reference=reference,
                amount=missing,
                reference=_revocation_reference(reversal.id, times, payment.id, reference),
                now=now,
            )
    row = stored.get(reversal.id)
    if row is None:
        row = Reversal(
            id=reversal.id,
            account_id=account.id,
            invoice_id=payment.invoice_id,
            pack_id=payment.pack_id,
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
    session: Session, account: Account, reversal: Reversal, payment: Payment, now: datetime
) -> str:
    """Return the revoked credits until they expire: the dispute was won or the refund failed."""
    reversal.returned_at = now
    if reversal.taken > 0:
        times = len(_returned_grants(session, account, payment, [reversal.id]))
        grants.grant(
            session,
            account,
            kind=payment.returned_as,
            amount=reversal.taken,
            reference=_returned_reference(reversal.id) + (f":{times + 1}" if times else ""),
            expires_at=payment.expires_at,
            now=now,
        )
    session.flush()
    return f"{reversal.id}: {reversal.taken} credits given back"


def _returned_grants(
    session: Session, account: Account, payment: Payment, reversal_ids: Collection[str]
) -> list[str]:
    """References of the grants that returned these reversals' credits, newest first."""
    given_back = session.exec(
        select(Grant.created_at, Grant.reference).where(
            col(Grant.account_id) == account.id, col(Grant.kind) == payment.returned_as
        )
    ).all()
    prefixes = tuple(_returned_reference(each) for each in reversal_ids)
    # Sorted here: databases order text differently.
    return [reference for _, reference in sorted(given_back, reverse=True) if reference.startswith(prefixes)]


def _returned_reference(reversal_id: str) -> str:
    return f"stripe:{reversal_id}:returned"


def _revocation_reference(reversal_id: str, times_undone: int, payment_id: str, reference: str) -> str:
    """Unique for each revocation and grant, because an entry's reference is used once."""
    if times_undone == 0 and reference == grant_reference(payment_id):
        return f"stripe:{reversal_id}"
    return f"stripe:{reversal_id}:{times_undone}:{reference}"
