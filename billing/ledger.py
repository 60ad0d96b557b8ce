"""Credits: granted, held, captured, released, refunded, expired.

Every function takes an open session and the present moment and never commits. Those that take an `account`
need its row from `accounts.lock`; those that take a hold's id lock the account themselves. Locks are always
taken in the order account, hold, grant.
"""

from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Literal

from sqlmodel import Session, col, func, or_, select, update

from billing import accounts
from billing.errors import (
    DuplicateReference,
    HoldNotCaptured,
    HoldSettled,
    InsufficientCredits,
    InvalidGrant,
    LeaseAlive,
    LeaseLost,
)
from billing.identifiers import new_id
from billing.models import Account, Entry, EntryKind, Grant, GrantKind, Hold, HoldStatus
from billing.periods import period_containing
from billing.plans import PLANS, PlanName
from billing.rows import insert_unless_taken, move

LARGEST_GRANT_CREDITS = 1_000_000


def refresh(session: Session, account: Account, now: datetime) -> None:
    """Expire what has ended and grant the present period's credits, once however often it is asked.

    Lazy: done whenever credits are about to be read or spent, so no scheduler is needed. Periods in which
    nobody asked are not made up for.
    """
    expire_due(session, account, now)
    if account.period_ends_at is not None and now < account.period_ends_at:
        return  # Nothing is due, or the clock was set back into a period that is over.
    starts_at, ends_at = period_containing(account.period_anchor_at, now)
    plan = PLANS[PlanName(account.plan)]
    with suppress(DuplicateReference):  # They came before the account's anchor was moved within this day.
        grant(
            session,
            account,
            kind=GrantKind.PLAN if plan.paid else GrantKind.MONTHLY,
            amount=plan.monthly_credits,
            reference=f"grant:{account.id}:{starts_at:%Y-%m-%d}",
            starts_at=starts_at,
            expires_at=ends_at,
            now=now,
        )
    account.period_ends_at = ends_at
    session.flush()


def grant(
    session: Session,
    account: Account,
    *,
    kind: GrantKind,
    amount: int,
    reference: str,
    expires_at: datetime | None,
    now: datetime,
    starts_at: datetime | None = None,
) -> Grant:
    """Credits that end at `expires_at`, or never. One that has ended already expires at once.

    Raises InvalidGrant unless 1 <= amount <= 1,000,000, and DuplicateReference.
    """
    if not 0 < amount <= LARGEST_GRANT_CREDITS:
        raise InvalidGrant(f"a grant is 1 to {LARGEST_GRANT_CREDITS:,} credits, not {amount:,}")
    granted = insert_unless_taken(
        session,
        Grant(
            id=new_id("grant"),
            account_id=account.id,
            kind=kind.value,
            reference=reference,
            amount=amount,
            available=0,
            starts_at=starts_at or now,
            expires_at=expires_at,
            created_at=now,
        ),
    )
    if granted is None:
        raise DuplicateReference(f"there is a grant {reference}")
    _write_entry(session, granted, EntryKind.GRANT, amount, reference, now)
    granted = move(session, account_id=account.id, grant_id=granted.id, available=amount)
    return _expire_if_ended(session, granted, now)


def expire_due(session: Session, account: Account, now: datetime) -> None:
    """Take away what is unspent of grants that have ended; credits in open holds stay until they settle."""
    ended = session.exec(
        select(Grant)
        .where(
            col(Grant.account_id) == account.id,
            col(Grant.expires_at) <= now,
            col(Grant.available) > 0,
        )
        .order_by(col(Grant.expires_at), col(Grant.id))
        .execution_options(populate_existing=True)
    ).all()
    for each in ended:
        _expire_if_ended(session, each, now)


def hold(
    session: Session,
    account: Account,
    *,
    reference: str,
    lease_owner: str,
    lease_seconds: float,
    now: datetime,
) -> Hold:
    """Set 1 credit aside, from the grant that ends first; those that never end come last.

    Raises InsufficientCredits, DuplicateReference.
    """
    source = session.exec(
        select(Grant)
        .where(
            col(Grant.account_id) == account.id,
            col(Grant.available) > 0,
            or_(col(Grant.expires_at).is_(None), col(Grant.expires_at) > now),
        )
        .order_by(col(Grant.expires_at).nulls_last(), col(Grant.created_at), col(Grant.id))
        .limit(1)
        .execution_options(populate_existing=True)
    ).first()
    if source is None:
        raise InsufficientCredits("no credits left")
    held = insert_unless_taken(
        session,
        Hold(
            id=new_id("hold"),
            account_id=account.id,
            grant_id=source.id,
            reference=reference,
            amount=1,
            status=HoldStatus.OPEN.value,
            lease_owner=lease_owner,
            lease_until=now + timedelta(seconds=lease_seconds),
            created_at=now,
        ),
    )
    if held is None:
        raise DuplicateReference(f"there is a hold {reference}")
    move(session, account_id=account.id, grant_id=source.id, available=-held.amount, held=held.amount)
    return held


def capture(session: Session, hold_id: str, *, lease_owner: str, now: datetime) -> Entry:
    """Spend the held credit: the call succeeded.

    Raises LeaseLost when the lease lapsed or is another owner's, HoldSettled when it was settled before.
    """
    lock_hold(session, hold_id)
    settled = _settle(
        session,
        hold_id,
        HoldStatus.CAPTURED,
        col(Hold.lease_owner) == lease_owner,
        col(Hold.lease_until) > now,
        now=now,
    )
    if settled is None:
        seen = session.get_one(Hold, hold_id, populate_existing=True)
        if seen.status in (HoldStatus.OPEN, HoldStatus.EXPIRED):
            raise LeaseLost(f"the lease of {hold_id} lapsed before it was captured")
        raise HoldSettled(f"{hold_id} was {seen.status} before")
    source = move(session, account_id=settled.account_id, grant_id=settled.grant_id, held=-settled.amount)
    return _write_entry(
        session, source, EntryKind.CAPTURE, -settled.amount, f"capture:{hold_id}", now, hold_id=hold_id
    )


def release(
    session: Session,
    hold_id: str,
    *,
    now: datetime,
    status: Literal[HoldStatus.RELEASED, HoldStatus.EXPIRED] = HoldStatus.RELEASED,
) -> Hold:
    """Give the held credit back, uncharged; if its grant has ended meanwhile it expires at once.

    `EXPIRED` is for a hold whose process died. Raises HoldSettled, and for `EXPIRED` LeaseAlive if the owner
    renewed its lease after all.
    """
    lock_hold(session, hold_id)
    lapsed = [col(Hold.lease_until) <= now] if status is HoldStatus.EXPIRED else []
    settled = _settle(session, hold_id, status, *lapsed, now=now)
    if settled is None:
        seen = session.get_one(Hold, hold_id, populate_existing=True)
        if seen.status == HoldStatus.OPEN:
            raise LeaseAlive(f"the owner of {hold_id} still renews its lease")
        raise HoldSettled(f"{hold_id} was {seen.status} before")
    source = move(
        session,
        account_id=settled.account_id,
        grant_id=settled.grant_id,
        available=settled.amount,
        held=-settled.amount,
    )
    _expire_if_ended(session, source, now)
    return settled


def refund(session: Session, hold_id: str, *, now: datetime) -> Entry:
    """Give a captured credit back to its grant; if that has ended meanwhile it expires at once.

    Raises HoldNotCaptured, and DuplicateReference the second time.
    """
    spent = lock_hold(session, hold_id)
    if spent.status != HoldStatus.CAPTURED:
        raise HoldNotCaptured(f"{hold_id} is {spent.status}: there is nothing to give back")
    source = session.get_one(Grant, spent.grant_id)
    entry = _write_entry(
        session, source, EntryKind.REFUND, spent.amount, f"refund:{hold_id}", now, hold_id=hold_id
    )
    source = move(session, account_id=spent.account_id, grant_id=source.id, available=spent.amount)
    _expire_if_ended(session, source, now)
    return entry


def renew_leases(
    session: Session, lease_owner: str, hold_ids: Iterable[str], lease_until: datetime
) -> set[str]:
    """Keep running calls' holds alive; the ids of those that are still open and this owner's."""
    statement = (
        update(Hold)
        .where(
            col(Hold.id).in_(list(hold_ids)),
            col(Hold.lease_owner) == lease_owner,
            col(Hold.status) == HoldStatus.OPEN,
        )
        .values(lease_until=lease_until)
        .returning(col(Hold.id))
        .execution_options(synchronize_session=False)
    )
    return set(session.scalars(statement).all())


def lapsed_holds(session: Session, now: datetime, limit: int) -> list[Hold]:
    """Open holds whose lease ran out, the longest dead first. Release each in a transaction of its own."""
    statement = (
        select(Hold)
        .where(col(Hold.status) == HoldStatus.OPEN, col(Hold.lease_until) <= now)
        .order_by(col(Hold.lease_until))
        .limit(limit)
    )
    return list(session.exec(statement).all())


def lock_hold(session: Session, hold_id: str) -> Hold:
    """The hold's fresh row, its account locked before. A plain read finds the account: it never changes."""
    account_id = session.exec(select(Hold.account_id).where(col(Hold.id) == hold_id)).one()
    accounts.lock_even_closed(session, account_id)
    return session.get_one(Hold, hold_id, populate_existing=True)


def _settle(
    session: Session, hold_id: str, status: HoldStatus, *conditions: object, now: datetime
) -> Hold | None:
    # Conditional, so that of two that settle one hold one finds nothing to change, whatever locks they took.
    statement = (
        update(Hold)
        .where(col(Hold.id) == hold_id, col(Hold.status) == HoldStatus.OPEN, *conditions)  # type: ignore[arg-type]
        .values(status=status.value, settled_at=now)
        .returning(Hold)
        .execution_options(synchronize_session=False, populate_existing=True)
    )
    return session.scalars(statement).one_or_none()


def _expire_if_ended(session: Session, grant: Grant, now: datetime) -> Grant:
    unspent = grant.available
    if grant.expires_at is None or grant.expires_at > now or unspent == 0:
        return grant
    # More than once only if a credit came back after the end: its hold was released, or its capture refunded.
    earlier = session.scalar(
        select(func.count()).where(col(Entry.grant_id) == grant.id, col(Entry.kind) == EntryKind.EXPIRY)
    )
    _write_entry(session, grant, EntryKind.EXPIRY, -unspent, f"expiry:{grant.id}:{(earlier or 0) + 1}", now)
    return move(session, account_id=grant.account_id, grant_id=grant.id, available=-unspent)


def _write_entry(
    session: Session,
    grant: Grant,
    kind: EntryKind,
    amount: int,
    reference: str,
    now: datetime,
    hold_id: str | None = None,
) -> Entry:
    entry = insert_unless_taken(
        session,
        Entry(
            account_id=grant.account_id,
            grant_id=grant.id,
            hold_id=hold_id,
            kind=kind.value,
            amount=amount,
            reference=reference,
            created_at=now,
        ),
    )
    if entry is None:
        raise DuplicateReference(f"there is an entry {reference}")
    return entry
