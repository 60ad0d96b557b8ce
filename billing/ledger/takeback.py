"""Takes credits back from an account, whichever grants they are of."""

from datetime import datetime

from sqlmodel import Session, case, col, or_, select

from billing.errors import DuplicateReference, InvalidGrant
from billing.ledger.grants import LARGEST_GRANT_CREDITS
from billing.ledger.models import Account, Entry, EntryKind, Grant, GrantKind
from billing.ledger.postings import move, write_entry

#: What was given is taken first, and what was paid for one by one is taken last.
_TURN = case((col(Grant.kind) == GrantKind.GOODWILL, 0), (col(Grant.kind) == GrantKind.PACK, 2), else_=1)


def take_back(session: Session, account: Account, *, amount: int, reference: str, now: datetime) -> int:
    """Take back up to `amount` available credits; returns how many were taken.

    Credits held by running calls stay, so nothing falls below zero: a call that succeeds is charged, and one
    that fails gives its credit back to the account. `account` comes from `accounts.lock_even_closed`, and
    its ended grants were expired. Raises InvalidGrant unless 1 <= amount <= 1,000,000, and
    DuplicateReference; without credits to take no entry is written, and it may be tried again.
    """
    if not 1 <= amount <= LARGEST_GRANT_CREDITS:
        raise InvalidGrant(f"1 to {LARGEST_GRANT_CREDITS:,} credits can be taken back, not {amount:,}")
    if session.exec(select(Entry.id).where(col(Entry.reference) == f"{reference}:1")).first() is not None:
        raise DuplicateReference(f"there is an entry {reference}:1")
    live = (
        select(Grant)
        .where(
            col(Grant.account_id) == account.id,
            col(Grant.available) > 0,
            or_(col(Grant.expires_at).is_(None), col(Grant.expires_at) > now),
        )
        .order_by(_TURN, col(Grant.created_at).desc(), col(Grant.id))
        .execution_options(populate_existing=True)
    )
    left = amount
    for number, grant in enumerate(session.exec(live).all(), 1):
        taken = min(left, grant.available)
        write_entry(
            session,
            account_id=account.id,
            grant_id=grant.id,
            kind=EntryKind.REVOCATION,
            amount=-taken,
            reference=f"{reference}:{number}",
            now=now,
        )
        move(session, account_id=account.id, grant_id=grant.id, available=-taken)
        left -= taken
        if left == 0:
            break
    return amount - left
