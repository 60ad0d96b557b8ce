"""Accounts: create, find, lock, suspend, close."""

from datetime import datetime

from sqlalchemy import bindparam
from sqlmodel import Session, col, select

from billing.errors import AccountClosed, AccountExists, AccountSuspended, UnknownAccount
from billing.identifiers import new_id
from billing.ledger.models import Account
from billing.ledger.plans import PlanName
from billing.ledger.postings import insert_unless_taken
from billing.text import is_storable_text

EMAIL_LENGTH_MAX = 254

# Built once, as all statements that every call runs: building takes longer than running.
_LOCK = (
    select(Account)
    .where(col(Account.id) == bindparam("account_id"))
    # FOR NO KEY UPDATE on PostgreSQL: rows that only refer to the account can still be inserted. SQLite
    # ignores it; there the transaction holds the only write lock from BEGIN IMMEDIATE on.
    .with_for_update(key_share=True)
    .execution_options(populate_existing=True)
)


def create(
    session: Session,
    *,
    email: str,
    plan: PlanName = PlanName.FREE,
    now: datetime,
    is_verified: bool = True,
) -> Account:
    """Create an account whose periods count from `now`; `ledger.refresh` grants its first credits.

    `is_verified`: the address is known to be the owner's. Otherwise no credits are granted or spent until
    `verify`. Raises AccountExists; addresses are compared in lower case.
    """
    account = insert_unless_taken(
        session,
        Account(
            id=new_id("acc"),
            email=normalise_email(email),
            plan=plan.value,
            created_at=now,
            period_anchor_at=now,
            verified_at=now if is_verified else None,
        ),
        unique_column="email",
    )
    if account is None:
        raise AccountExists(f"{normalise_email(email)} has an account already")
    return account


def verify(session: Session, account: Account, *, now: datetime) -> None:
    """Record that the address was verified. Idempotent; `account` comes from `lock`."""
    if account.verified_at is None:
        account.verified_at = now
        session.flush()


def find_by_email(session: Session, email: str) -> Account:
    """The account of this address, also a closed one. Raises UnknownAccount."""
    account = session.exec(select(Account).where(col(Account.email) == normalise_email(email))).one_or_none()
    if account is None:
        raise UnknownAccount(f"no account for {normalise_email(email)}")
    return account


def lock(session: Session, account_id: str) -> Account:
    """The account's current row, locked until the transaction ends. Lock it before changing credits.

    Raises UnknownAccount, AccountClosed, AccountSuspended.
    """
    account = lock_even_closed(session, account_id)
    if account.closed_at is not None:
        raise AccountClosed("this account was closed")
    if account.suspended_at is not None:
        raise AccountSuspended("this account is suspended")
    return account


def lock_even_closed(session: Session, account_id: str) -> Account:
    """As `lock`, but also for closed and suspended accounts, whose running calls still settle."""
    account = session.exec(_LOCK, params={"account_id": account_id}).one_or_none()
    if account is None:
        raise UnknownAccount(f"no account {account_id}")
    return account


def change_plan(session: Session, account: Account, plan: PlanName) -> None:
    """Change the plan: limits at once, credits from the next period on. Granted credits are kept."""
    account.plan = plan.value
    session.flush()


def suspend(session: Session, account: Account, *, now: datetime) -> None:
    """Let nothing new start; running calls still settle. Idempotent; `account` is locked."""
    account.suspended_at = account.suspended_at or now
    session.flush()


def restore(session: Session, account: Account) -> None:
    """End a suspension. Idempotent; `account` is locked."""
    account.suspended_at = None
    session.flush()


def mark_operator(session: Session, account: Account, *, now: datetime) -> None:
    """Let the account use the operator's panel. Idempotent; `account` is locked."""
    account.operator_since = account.operator_since or now
    session.flush()


def unmark_operator(session: Session, account: Account) -> None:
    """Take the operator's mark away. Idempotent; `account` is locked."""
    account.operator_since = None
    session.flush()


def close(session: Session, account_id: str, *, now: datetime) -> None:
    """Close the account: nothing new can start, running calls still settle. Raises as `lock`."""
    lock(session, account_id).closed_at = now
    session.flush()


def is_storable(email: str) -> bool:
    """Whether `email` fits its column and can be stored by every database; its syntax is not checked."""
    return len(email) <= EMAIL_LENGTH_MAX and is_storable_text(email)


def normalise_email(email: str) -> str:
    """The canonical form in which an address is stored and looked up."""
    return email.strip().lower()
