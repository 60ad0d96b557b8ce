"""Grants of credits, including those of each period, and their expiry.

Called as `ledger.refresh`, `ledger.grant` and `ledger.expire_due`; each of these needs the account's row from
`accounts.lock`.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import bindparam
from sqlmodel import Session, col, func, select

from billing.errors import DuplicateReference, InvalidGrant
from billing.identifiers import new_id
from billing.ledger import levels
from billing.ledger.models import Account, EntryKind, Grant, GrantKind, PaidInvoice
from billing.ledger.periods import period_containing
from billing.ledger.plans import PLANS, PlanName
from billing.ledger.postings import expire_if_ended, insert_unless_taken, move, write_entry

LARGEST_GRANT_CREDITS = 1_000_000
#: An invoice's credits expire this long after its period: Stripe charges the next one about an hour after the
#: period's end, and a paying customer must not be without credits until then.
RENEWAL_SLACK = timedelta(hours=2)
_PERIOD_REFERENCE = "grant:"


@dataclass(frozen=True)
class PackCredits:
    """Credits of packs that can be held now, and when the next of them expire; None without any."""

    available: int
    expire_at: datetime | None


_ENDED = (
    select(Grant)
    .where(
        col(Grant.account_id) == bindparam("account_id"),
        col(Grant.expires_at) <= bindparam("now"),
        col(Grant.available) > 0,
    )
    .order_by(col(Grant.expires_at), col(Grant.id))
    .execution_options(populate_existing=True)
)


def refresh(session: Session, account: Account, now: datetime) -> None:
    """Expire ended grants and grant the current period's credits. Idempotent.

    Called whenever credits are about to be read or spent, so no scheduler is needed. Skipped periods are not
    granted later. Accounts with an unverified address get no credits; those whose plan comes from a Stripe
    subscription get theirs from paid invoices.
    """
    expire_due(session, account, now)
    if account.subscription_id is not None:
        return
    if account.verified_at is None:
        return  # The period stays due, and its credits are granted once the address is verified.
    starts_at, ends_at = period_containing(account.period_anchor_at, now)
    if account.period_ends_at == ends_at:
        return
    plan = PLANS[PlanName(account.plan)]
    reference = f"{_PERIOD_REFERENCE}{account.id}:{starts_at:%Y-%m-%d}"
    # The reference decides, not the cached end: after a clock was set back, this period's credits may have
    # been granted already, and a clock that ran ahead must not prevent the grants of later periods.
    if session.exec(select(Grant.id).where(col(Grant.reference) == reference)).first() is None:
        # The credits of this period may have been granted by a subscription that ended in its middle.
        due = plan.monthly_credits - granted_in_period(session, account.id, ends_at)
        if due <= 0:
            return
        grant(
            session,
            account,
            kind=GrantKind.PLAN if plan.paid else GrantKind.MONTHLY,
            amount=due,
            reference=reference,
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
    """Grant credits that expire at `expires_at`, or never; those that have ended already expire at once.

    `starts_at` is informational: the credits can be spent at once.

    Raises InvalidGrant unless 1 <= amount <= 1,000,000, and
    DuplicateReference.
    """
    if not 1 <= amount <= LARGEST_GRANT_CREDITS:
        raise InvalidGrant(f"a grant is 1 to {LARGEST_GRANT_CREDITS:,} credits, not {amount:,}")
    # All or nothing, because a caller may treat DuplicateReference as success and commit. The savepoint also
    # covers a reference that is used by another kind of entry, which is detected only after the grant's row
    # was written.
    with session.begin_nested():
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
        write_entry(
            session,
            account_id=account.id,
            grant_id=granted.id,
            kind=EntryKind.GRANT,
            amount=amount,
            reference=reference,
            now=now,
        )
        move(session, account_id=account.id, grant_id=granted.id, available=amount)
        expire_if_ended(session, granted, now)
        levels.restart(session, account, granted)
    return granted


def pack_credits(session: Session, account_id: str) -> PackCredits:
    """What is left of packs, for an account whose ended grants were expired."""
    unspent = select(func.coalesce(func.sum(Grant.available), 0), func.min(Grant.expires_at)).where(
        col(Grant.account_id) == account_id, col(Grant.kind) == GrantKind.PACK, col(Grant.available) > 0
    )
    available, expire_at = session.exec(unspent).one()
    return PackCredits(int(available), expire_at)


def granted_in_period(session: Session, account_id: str, ends_at: datetime) -> int:
    """Credits granted for the period ending at `ends_at`, by invoices or at its start."""
    by_invoices = session.exec(
        select(func.coalesce(func.sum(PaidInvoice.credits), 0)).where(
            col(PaidInvoice.account_id) == account_id, col(PaidInvoice.period_ends_at) == ends_at
        )
    ).one()
    by_itself = session.exec(
        select(func.coalesce(func.sum(Grant.amount), 0)).where(
            col(Grant.account_id) == account_id,
            col(Grant.expires_at) == ends_at,
            col(Grant.reference).startswith(_PERIOD_REFERENCE),
        )
    ).one()
    return int(by_invoices) + int(by_itself)


def expire_due(session: Session, account: Account, now: datetime) -> None:
    """Expire the unspent credits of ended grants; credits in open holds stay until they settle."""
    for each in session.exec(_ENDED, params={"account_id": account.id, "now": now}).all():
        expire_if_ended(session, each, now)
