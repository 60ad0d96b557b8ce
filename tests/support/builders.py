"""What the ledger's tests are made of."""

import itertools
from datetime import UTC, datetime, timedelta

from sqlmodel import Session, select

from billing.ledger import accounts, ledger
from billing.ledger.models import Account, Entry, EntryKind, Grant, GrantKind, Hold
from billing.ledger.plans import PlanName

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
SECOND, MINUTE, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)
OWNER = "process-1"

_numbers = itertools.count(1)


def unique(prefix: str) -> str:
    return f"{prefix}:{next(_numbers)}"


def make_account(
    session: Session, *, credits: int = 0, plan: PlanName = PlanName.FREE, now: datetime = NOON
) -> Account:
    """An account without its plan's credits, which `ledger.refresh` brings, but with `credits` for ever."""
    account = accounts.create(session, email=f"{unique('someone')}@example.org", plan=plan, now=now)
    if credits:
        make_grant(session, account, credits, now=now)
    return account


def make_grant(
    session: Session,
    account: Account,
    amount: int,
    *,
    expires_at: datetime | None = None,
    reference: str | None = None,
    now: datetime = NOON,
) -> Grant:
    return ledger.grant(
        session,
        account,
        kind=GrantKind.GOODWILL,
        amount=amount,
        reference=reference or unique("goodwill"),
        expires_at=expires_at,
        now=now,
    )


def make_hold(
    session: Session,
    account: Account,
    *,
    reference: str | None = None,
    lease_seconds: float = 30,
    now: datetime = NOON,
) -> Hold:
    return ledger.hold(
        session,
        account,
        reference=reference or unique("request"),
        lease_owner=OWNER,
        lease_seconds=lease_seconds,
        now=now,
    )


def make_captured_hold(session: Session, account: Account, *, now: datetime = NOON) -> Hold:
    held = make_hold(session, account, now=now)
    ledger.capture(session, held.id, lease_owner=OWNER, now=now)
    return held


def capture_of(session: Session, hold: Hold) -> Entry:
    """The entry by which the hold's credit was spent."""
    return session.exec(select(Entry).where(Entry.hold_id == hold.id, Entry.kind == EntryKind.CAPTURE)).one()
