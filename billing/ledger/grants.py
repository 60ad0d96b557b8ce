"""Grants of credits, those of each period included, and their expiry.

Called as `ledger.refresh`, `ledger.grant` and `ledger.expire_due`; each needs the account's row from
`accounts.lock`.
"""

from datetime import datetime, timedelta

from sqlalchemy import bindparam
from sqlmodel import Session, col, func, select

from billing.errors import DuplicateReference, InvalidGrant
from billing.identifiers import new_id
from billing.ledger.models import Account, EntryKind, Grant, GrantKind
from billing.ledger.periods import period_containing
from billing.ledger.plans import PLANS, PlanName
from billing.ledger.postings import expire_if_ended, insert_unless_taken, move, write_entry
from billing.subscriptions.models import PaidInvoice

LARGEST_GRANT_CREDITS = 1_000_000
#: An invoice's credits live this much longer than its period: Stripe charges the next one about an hour after
#: the period's end, and a paying customer must not be without credits until then.
RENEWAL_SLACK = timedelta(hours=2)
_PERIOD_REFERENCE = "grant:"

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
    """Expire what has ended and grant the current period's credits. Idempotent.

    Lazy: called whenever credits are about to be read or spent, so no scheduler is needed. Skipped periods
    are not granted later. Accounts whose address is not verified get none, nor do those whose plan comes
    from a Stripe subscription: paid invoices bring their credits.
    """
    expire_due(session, account, now)
    if account.subscription_id is not None:
        return
    if account.verified_at is None:
        return  # A period's credits wait until the address is verified; the period stays due.
    starts_at, ends_at = period_containing(account.period_anchor_at, now)
    if account.period_ends_at == ends_at:
        return
    plan = PLANS[PlanName(account.plan)]
    reference = f"{_PERIOD_REFERENCE}{account.id}:{starts_at:%Y-%m-%d}"
    # The reference decides, not the cached end: after a clock was set back, this period may have had its
    # credits, and a clock that had run ahead for a while must not keep later periods from theirs.
    if session.exec(select(Grant.id).where(col(Grant.reference) == reference)).first() is None:
        # A subscription that ended in the middle of its period has brought this period's credits already.
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
    """Credits that end at `expires_at`, or never; what has ended already expires at once.

    `starts_at` is informational: the credits can be spent at once.

    Raises InvalidGrant unless 1 <= amount <= 1,000,000, and
    DuplicateReference.
    """
    if not 1 <= amount <= LARGEST_GRANT_CREDITS:
        raise InvalidGrant(f"a grant is 1 to {LARGEST_GRANT_CREDITS:,} credits, not {amount:,}")
    # All or nothing, for a caller may take a DuplicateReference as "done before" and commit: also where the
    # reference is another kind of entry's, which is met only after the grant's row was written.
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
    return granted


def granted_in_period(session: Session, account_id: str, ends_at: datetime) -> int:
    """Credits that came in for the period ending at `ends_at`, by invoices or by its own beginning."""
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


def entitled_in_period(session: Session, account_id: str, ends_at: datetime) -> int:
    """Credits that the paid invoices of the period ending at `ends_at` stand for, with those given back."""
    return int(
        session.exec(
            select(func.coalesce(func.sum(PaidInvoice.entitled), 0)).where(
                col(PaidInvoice.account_id) == account_id, col(PaidInvoice.period_ends_at) == ends_at
            )
        ).one()
    )


def expire_due(session: Session, account: Account, now: datetime) -> None:
    """Take away what is unspent of grants that have ended; credits in open holds stay until they settle."""
    for each in session.exec(_ENDED, params={"account_id": account.id, "now": now}).all():
        expire_if_ended(session, each, now)
