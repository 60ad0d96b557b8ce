"""Revokes credits whose payment was refunded or disputed."""

from datetime import datetime

from sqlmodel import Session, col, select

from billing.errors import DuplicateReference, InvalidGrant
from billing.ledger.models import Account, Entry, EntryKind, Grant
from billing.ledger.postings import move, write_entry


def revoke(
    session: Session, account: Account, *, grant_reference: str, amount: int, reference: str, now: datetime
) -> int:
    """Revoke up to `amount` unspent credits of one grant; returns the shortfall.

    Credits that are spent, expired or held by a running call stay, so no balance falls below zero. `account`
    comes from `accounts.lock`. Raises InvalidGrant for a grant that is not the account's or an amount below
    1, and DuplicateReference; a revocation without credits to take writes no entry and may be retried.
    """
    if amount < 1:
        raise InvalidGrant(f"cannot take back {amount:,} credits")
    grant = session.exec(
        select(Grant)
        .where(col(Grant.account_id) == account.id, col(Grant.reference) == grant_reference)
        .execution_options(populate_existing=True)
    ).one_or_none()
    if grant is None:
        raise InvalidGrant(f"the account has no grant {grant_reference}")
    if session.exec(select(Entry.id).where(col(Entry.reference) == reference)).first() is not None:
        raise DuplicateReference(f"there is an entry {reference}")
    taken = min(amount, grant.available)
    if taken > 0:
        write_entry(
            session,
            account_id=account.id,
            grant_id=grant.id,
            kind=EntryKind.REVOCATION,
            amount=-taken,
            reference=reference,
            now=now,
        )
        move(session, account_id=account.id, grant_id=grant.id, available=-taken)
    return amount - taken
