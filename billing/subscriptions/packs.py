"""Credits granted for paid packs, once for each, whichever plan the account has.

A pack is one checkout session. Its credits last for whole months from the payment, across changes and ends of
plans, and go back in part for refunds and disputes.
"""

import re
from datetime import datetime

from sqlmodel import Session, col, func, select

from billing.ledger import grants
from billing.ledger.models import Account, GrantKind
from billing.ledger.periods import period_start
from billing.subscriptions import reversals
from billing.subscriptions.models import PackPurchase
from billing.subscriptions.reversals import Payment, grant_reference
from billing.subscriptions.types import CustomerFacts, PackFacts

LOOKUP_KEY_PREFIX = "bgeraser_pack_"
_LOOKUP_KEY = re.compile(rf"{LOOKUP_KEY_PREFIX}([1-9][0-9]{{0,6}})")


def lookup_key(credits_: int | str) -> str:
    """The lookup key of the price of a pack."""
    return f"{LOOKUP_KEY_PREFIX}{credits_}"


def credits_of(key: str | None) -> int | None:
    """The credits of the pack with this lookup key; None if it is not one of a pack."""
    found = _LOOKUP_KEY.fullmatch(key or "")
    credits_ = int(found[1]) if found is not None else 0
    return credits_ if 1 <= credits_ <= grants.LARGEST_GRANT_CREDITS else None


def apply(session: Session, account: Account, facts: CustomerFacts, months: int, now: datetime) -> list[str]:
    """Grant and revoke the credits of packs of a locked account; returns a description of each change.

    `months`: how long the credits of a new pack last. A closed account gets no new ones: see `late`.
    """
    changes = []
    for each in sorted(facts.packs, key=lambda one: (one.paid_at, one.id)):
        stored = session.get(PackPurchase, each.id)
        if stored is None and account.closed_at is None:
            stored = _grant(session, account, each, months, now)
            changes.append(f"{each.id}: {each.credits} credits granted")
        if stored is None:
            continue
        payment = Payment(
            id=stored.id,
            pack_id=stored.id,
            credits=stored.credits,
            amount_paid=stored.amount_paid,
            expires_at=stored.expires_at,
            returned_as=GrantKind.PACK,
        )
        changes += reversals.settle(session, account, payment, each.reversals, now)
    return changes


def late(session: Session, account: Account, facts: CustomerFacts) -> list[PackFacts]:
    """Packs whose payment was first seen after the account was closed, so that nothing was granted."""
    if account.closed_at is None:
        return []
    return [each for each in facts.packs if session.get(PackPurchase, each.id) is None]


def oldest_kept(session: Session, account_id: str, now: datetime) -> datetime | None:
    """When the oldest pack was ordered whose credits have not expired yet."""
    return session.exec(
        select(func.min(PackPurchase.created_at)).where(
            col(PackPurchase.account_id) == account_id, col(PackPurchase.expires_at) > now
        )
    ).one()


def purchase(session: Session, account_id: str, session_id: str) -> PackPurchase | None:
    """The account's pack that was bought in this checkout session, once it was granted."""
    found = session.get(PackPurchase, session_id)
    return found if found is not None and found.account_id == account_id else None


def _grant(session: Session, account: Account, pack: PackFacts, months: int, now: datetime) -> PackPurchase:
    expires_at = period_start(pack.paid_at, months)
    grants.grant(
        session,
        account,
        kind=GrantKind.PACK,
        amount=pack.credits,
        reference=grant_reference(pack.id),
        starts_at=pack.paid_at,
        expires_at=expires_at,
        now=now,
    )
    stored = PackPurchase(
        id=pack.id,
        account_id=account.id,
        credits=pack.credits,
        amount_paid=pack.amount_paid,
        currency=pack.currency,
        created_at=pack.created_at,
        expires_at=expires_at,
    )
    session.add(stored)
    session.flush()
    return stored
