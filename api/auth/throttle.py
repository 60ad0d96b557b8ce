"""Limits on attempts: buckets in the database, exact across processes and restarts.

The account's bucket limits guesses of one password from many addresses, the address's bucket attempts on many
accounts. The owner is never locked out: a browser that signed in to the account before has its own bucket,
which others cannot exhaust, and a mailed link always works. Unknown accounts have buckets like known ones. In
memory, the limits would grow with the number of processes and be lost at each restart; one small write per
attempt costs little compared with hashing the password.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, col, delete, select

from api import rate_limit
from api.auth.models import Throttle
from api.errors import RateLimited
from api.networks import network_of


@dataclass(frozen=True)
class Limit:
    """A burst of `attempts`, refilled evenly over `per`."""

    attempts: int
    per: timedelta


LOGIN_BY_ADDRESS = Limit(30, timedelta(minutes=10))
LOGIN_BY_ACCOUNT = Limit(10, timedelta(minutes=10))
#: Sign-ups and requests for mail.
FORMS_BY_ADDRESS = Limit(20, timedelta(minutes=10))
#: Mails to one address, from all requests together.
MAILS = Limit(5, timedelta(hours=1))


def take(session: Session, bucket: str, limit: Limit, now: datetime) -> timedelta | None:
    """Take one attempt from the bucket; returns None, or the time to wait if none is left."""
    row = _lock(session, bucket, now)
    taken = rate_limit.take(row.full_at, limit=limit.attempts, window=limit.per, now=now)
    if taken is None:
        state = rate_limit.state(row.full_at, limit=limit.attempts, window=limit.per, now=now)
        return timedelta(seconds=state.retry_after_seconds)
    row.full_at = taken[0]
    session.flush()
    return None


def wait_seconds(session: Session, bucket: str, limit: Limit, now: datetime) -> int:
    """How long it is until the bucket has an attempt; 0 if it has one."""
    row = session.get(Throttle, bucket)
    full_at = None if row is None else row.full_at
    return rate_limit.state(full_at, limit=limit.attempts, window=limit.per, now=now).retry_after_seconds


def require(session: Session, bucket: str, limit: Limit, now: datetime) -> None:
    """As `take`, but raises RateLimited if no attempt is left."""
    wait = take(session, bucket, limit, now)
    if wait is not None:
        raise refusal(wait)


def refusal(wait: timedelta) -> RateLimited:
    seconds = -(-wait // timedelta(seconds=1))
    wait_text = f"{seconds} seconds" if seconds < 120 else f"{-(-seconds // 60)} minutes"
    return RateLimited(f"Too many attempts. Try again in {wait_text}.", seconds)


def give_back(session: Session, bucket: str, limit: Limit, now: datetime) -> None:
    """Give one attempt back, because it succeeded."""
    row = _lock(session, bucket, now)
    row.full_at = rate_limit.give_back(row.full_at, limit=limit.attempts, window=limit.per, now=now)
    session.flush()


def by_address(kind: str, address: str) -> str:
    """The bucket of a network address. An IPv6 network of 64 bits is one customer's, so it counts as one."""
    return _bucket_id(kind, network_of(address))


def by_email(kind: str, email: str) -> str:
    return _bucket_id(kind, email)


def by_device(email: str, device: str) -> str:
    """The bucket of a browser that signed in to this account before."""
    return _bucket_id("device", f"{email}\n{device}")


def delete_full(session: Session, now: datetime, *, limit: int) -> int:
    """Delete up to `limit` full buckets, which equal having no row; returns the number deleted."""
    full = select(Throttle.bucket).where(col(Throttle.full_at) <= now).limit(limit)
    deleted = session.execute(
        delete(Throttle)
        .where(col(Throttle.bucket).in_(full))
        .returning(col(Throttle.bucket))
        .execution_options(synchronize_session=False)
    )
    return len(deleted.all())


def _lock(session: Session, bucket: str, now: datetime) -> Throttle:
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    session.execute(insert(Throttle).values(bucket=bucket, full_at=now).on_conflict_do_nothing())
    return session.get_one(Throttle, bucket, with_for_update=True, populate_existing=True)


def _bucket_id(kind: str, what: str) -> str:
    return hashlib.sha256(f"{kind}\n{what}".encode("utf-8", "surrogatepass")).hexdigest()
