"""Credits: granted, held, captured, released, refunded, expired.

Every function takes an open session and the current time, and never commits. Those that take an `account`
need its row from `accounts.lock`; those that take a hold's id lock its account themselves. Locks are taken
in the order account, hold, grant, so that no two transactions wait for each other: settle one hold a
transaction, or the holds of one account.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import ColumnElement, bindparam
from sqlalchemy.sql.dml import ReturningUpdate
from sqlmodel import Session, case, col, or_, select, update

from billing.errors import (
    AddressUnverified,
    DuplicateReference,
    HoldNotCaptured,
    HoldSettled,
    InsufficientCredits,
    LeaseAlive,
    LeaseLost,
)
from billing.identifiers import new_id
from billing.ledger import accounts, budgets
from billing.ledger.grants import expire_due, grant, refresh
from billing.ledger.models import Account, Entry, EntryKind, Grant, GrantKind, Hold, HoldStatus
from billing.ledger.postings import expire_if_ended, insert_unless_taken, move, spend_held, write_entry

__all__ = [
    "WAITING",
    "capture",
    "expire_due",
    "grant",
    "hold",
    "hold_nothing",
    "lapsed_holds",
    "put_back",
    "refresh",
    "refund",
    "release",
    "renew_leases",
    "take_up",
]

#: The lease owner of a hold whose work waits to be taken up. Such a hold does not count as a running call.
WAITING = "waiting"

#: A month's credits are spent first, because they are lost soon; then those of packs, although a pack may
#: end before the month does; then those that never expire.
_TURN = case((col(Grant.kind) == GrantKind.PACK, 1), (col(Grant.expires_at).is_(None), 2), else_=0)

_NEXT_GRANT = (
    select(Grant)
    .where(
        col(Grant.account_id) == bindparam("account_id"),
        col(Grant.available) > 0,
        or_(col(Grant.expires_at).is_(None), col(Grant.expires_at) > bindparam("now")),
    )
    .order_by(_TURN, col(Grant.expires_at), col(Grant.created_at), col(Grant.id))
    .limit(1)
    .execution_options(populate_existing=True)
)

# A read without a lock is enough, because the account of a hold never changes.
_ACCOUNT_OF_HOLD = select(Hold.account_id).where(col(Hold.id) == bindparam("hold_id"))


def _settle_statement(status: HoldStatus, *only_if: ColumnElement[bool]) -> ReturningUpdate[Hold]:
    # Conditional, so that of two transactions that settle one hold the second changes nothing.
    return (
        update(Hold)
        .where(col(Hold.id) == bindparam("hold_id"), col(Hold.status) == HoldStatus.OPEN, *only_if)
        .values(status=status.value, settled_at=bindparam("now"))
        .returning(Hold)
        .execution_options(synchronize_session=False, populate_existing=True)
    )


_SETTLE = {
    HoldStatus.CAPTURED: _settle_statement(
        HoldStatus.CAPTURED,
        col(Hold.lease_owner) == bindparam("owner"),
        col(Hold.lease_until) > bindparam("now"),
    ),
    HoldStatus.RELEASED: _settle_statement(HoldStatus.RELEASED),
    HoldStatus.EXPIRED: _settle_statement(HoldStatus.EXPIRED, col(Hold.lease_until) <= bindparam("now")),
}


def hold(
    session: Session,
    account: Account,
    *,
    reference: str,
    lease_owner: str,
    lease_seconds: float,
    now: datetime,
    budget_id: str | None = None,
) -> Hold:
    """Hold 1 credit: of the month's, then of packs, then of those that never expire; of the first to end.

    It counts for the budget `budget_id`, if there is one. Raises InsufficientCredits, BudgetSpent,
    AddressUnverified, DuplicateReference; nothing has changed then.
    """
    require_verified(account)
    source = session.exec(_NEXT_GRANT, params={"account_id": account.id, "now": now}).first()
    if source is None:
        used = session.exec(select(Hold.id).where(col(Hold.reference) == reference)).first()
        if used is not None:
            raise DuplicateReference(f"there is a hold {reference}")
        raise InsufficientCredits("no credits are left", account.period_ends_at)
    amount = 1
    month_id = None if budget_id is None else budgets.take(session, budget_id, amount, now)
    held = insert_unless_taken(
        session,
        Hold(
            id=new_id("hold"),
            account_id=account.id,
            grant_id=source.id,
            budget_month_id=month_id,
            reference=reference,
            amount=amount,
            status=HoldStatus.OPEN.value,
            lease_owner=lease_owner,
            lease_until=now + timedelta(seconds=lease_seconds),
            created_at=now,
        ),
    )
    if held is None:
        if month_id is not None:
            budgets.give_back(session, month_id, amount)
        raise DuplicateReference(f"there is a hold {reference}")
    move(session, account_id=account.id, grant_id=source.id, available=-held.amount, held=held.amount)
    return held


def hold_nothing(
    session: Session,
    account: Account,
    *,
    reference: str,
    lease_owner: str,
    lease_seconds: float,
    now: datetime,
) -> Hold:
    """A hold of 0 credits: the lease of a call that costs nothing. No balance and no entry comes of it.

    Raises AddressUnverified, DuplicateReference.
    """
    require_verified(account)
    held = insert_unless_taken(
        session,
        Hold(
            id=new_id("hold"),
            account_id=account.id,
            reference=reference,
            amount=0,
            status=HoldStatus.OPEN.value,
            lease_owner=lease_owner,
            lease_until=now + timedelta(seconds=lease_seconds),
            created_at=now,
        ),
    )
    if held is None:
        raise DuplicateReference(f"there is a hold {reference}")
    return held


def require_verified(account: Account) -> None:
    """Raises AddressUnverified: credits can be spent once the address is verified."""
    if account.verified_at is None:
        raise AddressUnverified("the account's address is not verified")


def require_credit(
    session: Session, account: Account, now: datetime, *, budget_id: str | None = None
) -> None:
    """Raises InsufficientCredits, BudgetSpent, AddressUnverified if `hold` would.

    The account must be locked.
    """
    require_verified(account)
    if account.available < 1:
        raise InsufficientCredits("no credits are left", account.period_ends_at)
    if budget_id is not None:
        budgets.require_room(session, budget_id, now)


def capture(
    session: Session, hold_id: str, *, lease_owner: str, now: datetime, account: Account | None = None
) -> Hold:
    """Spend the held credit: the call succeeded. `account`: the hold's, if it is locked already.

    Raises LeaseLost if the lease lapsed or has another owner, HoldSettled if it was settled before.
    """
    if account is None:
        _lock_account_of(session, hold_id)
    settled = _settle(session, hold_id, HoldStatus.CAPTURED, now=now, lease_owner=lease_owner)
    if settled is None:
        found = session.get_one(Hold, hold_id, populate_existing=True)
        if found.status in (HoldStatus.OPEN, HoldStatus.EXPIRED):
            raise LeaseLost(f"the lease of {hold_id} was lost before its call was done")
        raise HoldSettled(f"{hold_id} was {found.status} before")
    if settled.amount:
        spend_held(session, settled, now)
    return settled


def release(
    session: Session,
    hold_id: str,
    *,
    now: datetime,
    status: Literal[HoldStatus.RELEASED, HoldStatus.EXPIRED] = HoldStatus.RELEASED,
    account: Account | None = None,
) -> Hold:
    """Release the held credit uncharged; if its grant has ended meanwhile, it expires at once.

    `EXPIRED` is for a hold whose process died. `account`: the hold's, if it is locked already. Raises
    HoldSettled, and for `EXPIRED` LeaseAlive while the owner still renews the lease.
    """
    if account is None:
        _lock_account_of(session, hold_id)
    settled = _settle(session, hold_id, status, now=now)
    if settled is None:
        found = session.get_one(Hold, hold_id, populate_existing=True)
        if found.status == HoldStatus.OPEN:
            raise LeaseAlive(f"the lease of {hold_id} has not lapsed")
        raise HoldSettled(f"{hold_id} was {found.status} before")
    amount, grant_id = settled.amount, settled.grant_id
    if grant_id is None:
        return settled
    if settled.budget_month_id is not None:
        budgets.give_back(session, settled.budget_month_id, amount)
    move(session, account_id=settled.account_id, grant_id=grant_id, available=amount, held=-amount)
    expire_if_ended(session, session.get_one(Grant, grant_id), now)
    return settled


def refund(session: Session, hold_id: str, *, now: datetime) -> Entry:
    """Return a captured credit to its grant; if that has ended meanwhile, it expires at once.

    Raises HoldNotCaptured, and DuplicateReference the second time.
    """
    _lock_account_of(session, hold_id)
    spent = session.get_one(Hold, hold_id, populate_existing=True)
    if spent.status != HoldStatus.CAPTURED:
        raise HoldNotCaptured(f"{hold_id} is {spent.status}: there is nothing to give back")
    if spent.grant_id is None:
        raise HoldNotCaptured(f"{hold_id} cost nothing: there is nothing to give back")
    entry = write_entry(
        session,
        account_id=spent.account_id,
        grant_id=spent.grant_id,
        kind=EntryKind.REFUND,
        amount=spent.amount,
        reference=f"refund:{hold_id}",
        now=now,
        hold_id=hold_id,
    )
    if spent.budget_month_id is not None:
        budgets.give_back(session, spent.budget_month_id, spent.amount)
    move(session, account_id=spent.account_id, grant_id=spent.grant_id, available=spent.amount)
    expire_if_ended(session, session.get_one(Grant, spent.grant_id), now)
    return entry


def renew_leases(
    session: Session, lease_owner: str, hold_ids: Iterable[str], lease_until: datetime
) -> set[str]:
    """Renew the leases of running calls. Returns the renewed ids; missing ones are settled or not ours."""
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


def take_up(
    session: Session, hold_id: str, *, lease_owner: str, lease_until: datetime, now: datetime
) -> bool:
    """Make `lease_owner` the owner of an open hold that waits or whose lease has lapsed.

    False if another process owns it or it was settled. The account must be locked.
    """
    return _give_lease(
        session,
        hold_id,
        or_(col(Hold.lease_owner) == WAITING, col(Hold.lease_until) <= now),
        lease_owner=lease_owner,
        lease_until=lease_until,
    )


def put_back(session: Session, hold_id: str, *, lease_owner: str, lease_until: datetime) -> bool:
    """Let an open hold of `lease_owner` wait until `lease_until`. False if it is no longer its own."""
    return _give_lease(
        session,
        hold_id,
        col(Hold.lease_owner) == lease_owner,
        lease_owner=WAITING,
        lease_until=lease_until,
    )


def _give_lease(
    session: Session,
    hold_id: str,
    only_if: ColumnElement[bool],
    *,
    lease_owner: str,
    lease_until: datetime,
) -> bool:
    statement = (
        update(Hold)
        .where(col(Hold.id) == hold_id, col(Hold.status) == HoldStatus.OPEN, only_if)
        .values(lease_owner=lease_owner, lease_until=lease_until)
        .returning(col(Hold.id))
        .execution_options(synchronize_session=False)
    )
    return session.scalars(statement).one_or_none() is not None


def lapsed_holds(session: Session, now: datetime, limit: int) -> list[Hold]:
    """Open holds with a lapsed lease, the longest lapsed first. Release each in its own transaction."""
    statement = (
        select(Hold)
        .where(col(Hold.status) == HoldStatus.OPEN, col(Hold.lease_until) <= now)
        .order_by(col(Hold.lease_until), col(Hold.id))
        .limit(limit)
    )
    return list(session.exec(statement).all())


def _lock_account_of(session: Session, hold_id: str) -> None:
    account_id = session.scalars(_ACCOUNT_OF_HOLD, {"hold_id": hold_id}).one()
    accounts.lock_even_closed(session, account_id)


def _settle(
    session: Session, hold_id: str, status: HoldStatus, *, now: datetime, lease_owner: str | None = None
) -> Hold | None:
    """Settle the hold; None if it was not open or did not meet the condition of `status`."""
    values: dict[str, object] = {"hold_id": hold_id, "now": now}
    if lease_owner is not None:
        values["owner"] = lease_owner
    settled: Hold | None = session.scalars(_SETTLE[status], values).one_or_none()
    return settled
