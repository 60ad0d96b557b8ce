"""Browser sessions: create, find, upgrade at login, list, end.

The token is stored in a cookie and its SHA-256 in the database: a plain hash is enough for 256 random bits.
Ending a session deletes its row, which takes effect at once in every process: sessions are not cached.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, delete, select, update

from api.auth.models import BrowserSession
from billing.identifiers import new_id
from billing.ledger.models import Account

#: A session ends this long after it was last used,
IDLE = timedelta(days=14)
#: or this long after login, whichever comes first.
LONGEST = timedelta(days=90)
#: A guest's session lasts as long as a guest's images.
GUEST_IDLE = timedelta(hours=24)
#: How recent a login must be to confirm an action of an account without a password, such as deletion.
FRESH = timedelta(minutes=10)
_TOUCH_EVERY = timedelta(minutes=5)
_USER_AGENT_LENGTH_MAX = 200
_TOKEN_BYTES = 32
_TOKEN_LENGTH = 43  # of `secrets.token_urlsafe(_TOKEN_BYTES)`


@dataclass(frozen=True)
class CreatedSession:
    """A new session. `token` goes into the cookie and is never available again."""

    session_id: str
    token: str
    #: The session that this one replaced, if any; its row is deleted. A guest's data can be transferred to
    #: the account in the same transaction.
    old_session_id: str | None = None


def hash_of(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def csrf_token(token: str, acting_account_id: str = "") -> str:
    """The CSRF token of this session, derived from its token by a one-way function.

    It is another one in each account that the session works in, so that a page of one changes no other.
    """
    return hmac.new(token.encode(), f"bgeraser csrf{acting_account_id}".encode(), hashlib.sha256).hexdigest()


def create(
    session: Session,
    account_id: str | None,
    *,
    user_agent: str = "",
    address: str = "",
    now: datetime,
    token: str | None = None,
) -> CreatedSession:
    """Create a session of the account, or of a guest, with a new token unless `token` is given."""
    token = token or secrets.token_urlsafe(_TOKEN_BYTES)
    row = BrowserSession(
        id=new_id("ses"),
        token_sha256=hash_of(token),
        account_id=account_id,
        user_agent=user_agent[:_USER_AGENT_LENGTH_MAX],
        address=address,
        created_at=now,
        last_seen_at=now,
        expires_at=now + (GUEST_IDLE if account_id is None else IDLE),
    )
    session.add(row)
    session.flush()
    return CreatedSession(row.id, token)


def begin_guest(
    session: Session, token: str, *, user_agent: str, address: str, now: datetime
) -> CreatedSession:
    """Create or find a guest's session for the random token that the browser received before.

    Forms and scripts of pages that were opened before the session began stay valid. A token of another form,
    or one of an account's session, is replaced by a new one.
    """
    facts: dict[str, Any] = {"user_agent": user_agent, "address": address, "now": now}
    if len(token) != _TOKEN_LENGTH:
        return create(session, None, **facts)
    session.execute(
        delete(BrowserSession).where(
            col(BrowserSession.token_sha256) == hash_of(token), col(BrowserSession.expires_at) <= now
        )
    )
    try:
        with session.begin_nested():
            return create(session, None, token=token, **facts)
    except IntegrityError:  # a concurrent request of the same browser created it
        row = session.exec(select(BrowserSession).where(BrowserSession.token_sha256 == hash_of(token))).one()
        return CreatedSession(row.id, token) if row.account_id is None else create(session, None, **facts)


def find(session: Session, token: str, now: datetime) -> tuple[BrowserSession, Account | None] | None:
    """The session of this token and its account; None if unknown, expired, or of a closed account."""
    row = session.exec(
        select(BrowserSession, Account)
        .join(Account, isouter=True)
        .where(BrowserSession.token_sha256 == hash_of(token), col(BrowserSession.expires_at) > now)
    ).one_or_none()
    if row is None or (row[1] is not None and row[1].closed_at is not None):
        return None
    return row


def upgrade(
    session: Session,
    old_session_id: str | None,
    account_id: str,
    now: datetime,
    *,
    user_agent: str = "",
    address: str = "",
) -> CreatedSession:
    """Log in: create a session of the account with a new token, and end the browser's old session.

    The result contains both ids, so that a guest's data can be transferred.
    """
    created = create(session, account_id, user_agent=user_agent, address=address, now=now)
    if old_session_id is None:
        return created
    session.execute(delete(BrowserSession).where(col(BrowserSession.id) == old_session_id))
    return CreatedSession(created.session_id, created.token, old_session_id)


def touch_is_due(row: BrowserSession, now: datetime) -> bool:
    return row.last_seen_at <= now - _TOUCH_EVERY


def touch(session: Session, session_id: str, now: datetime) -> None:
    """Record that the session is in use, which extends it."""
    row = session.get(BrowserSession, session_id)
    if row is None or not touch_is_due(row, now):
        return
    end = now + GUEST_IDLE if row.account_id is None else min(now + IDLE, row.created_at + LONGEST)
    # Updates an existing row only: a session that was ended meanwhile must not be restored.
    session.execute(
        update(BrowserSession)
        .where(col(BrowserSession.id) == session_id)
        .values(last_seen_at=now, expires_at=end)
        .execution_options(synchronize_session=False)
    )


def listed(session: Session, account_id: str, now: datetime) -> list[BrowserSession]:
    """The account's sessions, most recently used first."""
    statement = (
        select(BrowserSession)
        .where(BrowserSession.account_id == account_id, col(BrowserSession.expires_at) > now)
        .order_by(col(BrowserSession.last_seen_at).desc(), col(BrowserSession.id))
    )
    return list(session.exec(statement))


def end(session: Session, session_id: str) -> None:
    """End a session, if it still exists."""
    session.execute(delete(BrowserSession).where(col(BrowserSession.id) == session_id))


def end_of_account(session: Session, account_id: str, session_id: str) -> bool:
    """End one of the account's sessions; False if it has no session of this id."""
    ended = session.execute(
        delete(BrowserSession)
        .where(col(BrowserSession.id) == session_id, col(BrowserSession.account_id) == account_id)
        .returning(col(BrowserSession.id))
    )
    return ended.first() is not None


def end_all(session: Session, account_id: str, *, but: str | None = None) -> None:
    """End every session of the account except `but`."""
    others = delete(BrowserSession).where(col(BrowserSession.account_id) == account_id)
    if but is not None:
        others = others.where(col(BrowserSession.id) != but)
    session.execute(others)


def delete_expired(session: Session, now: datetime, *, limit: int) -> int:
    """Delete up to `limit` expired sessions; returns the number deleted."""
    ended = select(BrowserSession.id).where(col(BrowserSession.expires_at) <= now).limit(limit)
    deleted = session.execute(
        delete(BrowserSession)
        .where(col(BrowserSession.id).in_(ended))
        .returning(col(BrowserSession.id))
        .execution_options(synchronize_session=False)
    )
    return len(deleted.all())
