"""An account's statement: its entries with the balance after each."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, func, select

from billing.ledger.models import Account, Entry, Grant, Hold


@dataclass(frozen=True)
class Line:
    entry_id: int
    at: datetime
    kind: str  # an EntryKind
    amount: int  # credits, signed
    balance: int  # credits after this entry, including those in open holds
    reference: str
    grant_id: str
    grant_kind: str  # a GrantKind
    hold_id: str | None


def statement(session: Session, account_id: str, limit: int, before: int | None = None) -> list[Line]:
    """Up to `limit` lines, newest first; the next page is `before` the last line's `entry_id`.

    Balances are computed backwards from the account's current one, so that a page reads only newer entries
    and not the whole history.
    """
    # One statement, so that entries and balance are consistent.
    balance = select(col(Account.available) + col(Account.held)).where(col(Account.id) == account_id)
    page = select(Entry, col(Grant.kind), balance.scalar_subquery())
    if before is not None:
        newer = select(func.coalesce(func.sum(Entry.amount), 0)).where(
            col(Entry.account_id) == account_id, col(Entry.id) >= before
        )
        page = select(Entry, col(Grant.kind), balance.scalar_subquery() - newer.scalar_subquery()).where(
            col(Entry.id) < before
        )
    page = page.join(Grant, col(Grant.id) == col(Entry.grant_id)).where(col(Entry.account_id) == account_id)
    lines: list[Line] = []
    for entry, grant_kind, newest_balance in session.exec(page.order_by(col(Entry.id).desc()).limit(limit)):
        assert entry.id is not None
        after = lines[-1].balance - lines[-1].amount if lines else newest_balance
        lines.append(
            Line(
                entry_id=entry.id,
                at=entry.created_at,
                kind=entry.kind,
                amount=entry.amount,
                balance=after,
                reference=entry.reference,
                grant_id=entry.grant_id,
                grant_kind=grant_kind,
                hold_id=entry.hold_id,
            )
        )
    return lines


def references_of_holds(session: Session, hold_ids: Collection[str]) -> dict[str, str]:
    """The reference of each of these holds, by the hold's id: what the credit was held for."""
    rows = session.exec(select(Hold.id, Hold.reference).where(col(Hold.id).in_(hold_ids)))
    return dict(rows.all())
