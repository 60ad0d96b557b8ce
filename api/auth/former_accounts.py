"""Hashed addresses of deleted accounts, so that free credits and trials are not granted twice.

Otherwise each deletion and new sign-up would grant another month of free credits and another trial. Only a
keyed hash is stored, which does not reveal the address without the server's secret. It is kept until the
period ends, or for a year if there was a subscription, which may have included a trial.
"""

import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlmodel import Session, col, delete, select

from api.auth.models import FormerAddress
from billing.ledger.models import Account
from billing.subscriptions import subscriptions

_SUBSCRIPTION_KEPT_FOR = timedelta(days=365)


@dataclass(frozen=True)
class FormerAddresses:
    """`secrets`: the server's current secret, then earlier ones that are still accepted."""

    secrets: tuple[str, ...]

    def remember(self, session: Session, account: Account, now: datetime) -> None:
        """Record an account that is about to be deleted; `account` comes from `accounts.lock`."""
        had_subscription = subscriptions.had_any(session, account.id) or self.had_subscription(
            session, account.email, now
        )
        ends_at = account.period_ends_at or now
        kept_until = max(ends_at, now + _SUBSCRIPTION_KEPT_FOR) if had_subscription else ends_at
        if account.verified_at is None or kept_until <= now:
            return  # nothing was granted that a new account could get again
        for old in self._rows(session, account.email, now):
            session.delete(old)
        session.flush()
        session.add(
            FormerAddress(
                id=_hash(self.secrets[0], account.email),
                period_anchor_at=account.period_anchor_at,
                period_ends_at=ends_at,
                had_subscription=had_subscription,
                kept_until=kept_until,
            )
        )
        session.flush()

    def continue_period(self, session: Session, account: Account, now: datetime) -> None:
        """Give a new account the current period of the deleted one, whose credits were granted already."""
        for former in self._rows(session, account.email, now):
            if former.period_ends_at > now:
                account.period_anchor_at = former.period_anchor_at
                account.period_ends_at = former.period_ends_at
                session.flush()

    def had_subscription(self, session: Session, email: str, now: datetime) -> bool:
        return any(former.had_subscription for former in self._rows(session, email, now))

    def _rows(self, session: Session, email: str, now: datetime) -> list[FormerAddress]:
        hashes = [_hash(secret, email) for secret in self.secrets]
        wanted = select(FormerAddress).where(
            col(FormerAddress.id).in_(hashes), col(FormerAddress.kept_until) > now
        )
        return list(session.exec(wanted))


def delete_expired(session: Session, now: datetime, *, limit: int) -> int:
    """Delete up to `limit` expired rows; returns the number deleted."""
    expired = select(FormerAddress.id).where(col(FormerAddress.kept_until) <= now).limit(limit)
    deleted = session.execute(
        delete(FormerAddress)
        .where(col(FormerAddress.id).in_(expired))
        .returning(col(FormerAddress.id))
        .execution_options(synchronize_session=False)
    )
    return len(deleted.all())


def _hash(secret: str, email: str) -> str:
    return hmac.new(secret.encode(), f"bgeraser former address\n{email}".encode(), hashlib.sha256).hexdigest()
