"""How far credits have run down since the last ones arrived: each level is reached once, then.

The level is a column of the account's row, which is locked by everything that changes credits. So it is
exact under concurrency, and a call that reaches no new level writes nothing for it.
"""

from sqlmodel import Session, col, func, select

from billing.ledger.models import Account, CreditLevel, Entry, EntryKind, Grant, GrantKind

#: The share of the credits at which they are few: a fifth.
_LOW_SHARE = 5
_OF_A_PERIOD = (GrantKind.MONTHLY, GrantKind.PLAN)


def restart(session: Session, account: Account, granted: Grant) -> None:
    """Count from new credits, which have just been granted. The account must be locked.

    Few are a fifth of what the period brought; for credits outside of periods, a fifth of all that are
    there. Credits that have ended already change nothing.
    """
    if granted.available == 0:
        return
    if granted.kind in _OF_A_PERIOD:
        brought = session.exec(
            select(func.sum(Grant.amount)).where(
                col(Grant.account_id) == account.id,
                col(Grant.kind).in_(_OF_A_PERIOD),
                col(Grant.expires_at) == granted.expires_at,
            )
        ).one()
    else:
        brought = account.available + account.held
    account.low_credits = max(1, int(brought) // _LOW_SHARE)
    account.level = CreditLevel.AMPLE.value
    session.flush()


def lower(session: Session, account: Account) -> CreditLevel | None:
    """The level that the account has just reached, None if it is the same. The account must be locked.

    Held credits may come back, so they count as left. A credit that comes back does not raise the level.
    """
    if account.available > account.low_credits or account.level == CreditLevel.EXHAUSTED:
        return None
    if account.level == CreditLevel.LOW and account.available > 0:
        return None  # Without looking at `held`, which would have to be read again after a capture.
    left = account.available + account.held
    if left == 0:
        reached = CreditLevel.EXHAUSTED
    elif left <= account.low_credits:
        reached = CreditLevel.LOW
    else:
        return None
    if account.level == reached:
        return None
    account.level = reached.value
    session.flush()
    return reached


def latest_grant(session: Session, account_id: str) -> str:
    """The id of the grant that brought the account's latest credits; "" without any."""
    # In the order of the entries, because two grants may have one time.
    of_grants = (col(Entry.account_id) == account_id, col(Entry.kind) == EntryKind.GRANT)
    newest = select(Entry.grant_id).where(*of_grants).order_by(col(Entry.id).desc()).limit(1)
    return session.exec(newest).first() or ""
