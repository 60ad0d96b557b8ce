"""One-time tokens of mailed links: valid once, for a limited time, for one purpose."""

import secrets
from datetime import datetime, timedelta

from sqlmodel import Session, col, delete, select

from api.auth.models import OneTimeToken, Purpose
from api.auth.sessions import hash_of
from billing.identifiers import new_id

LIFETIME = {
    Purpose.VERIFY: timedelta(hours=24),
    Purpose.RESET: timedelta(hours=1),
    Purpose.LOGIN: timedelta(hours=24),
}
_LENGTH_MAX = 100


def create(
    session: Session, account_id: str, purpose: Purpose, *, now: datetime, browser_token: str = ""
) -> str:
    """Create a token, of which only the hash is stored. `browser_token` identifies the requesting browser."""
    token = secrets.token_urlsafe(32)
    session.add(
        OneTimeToken(
            id=new_id("tok"),
            account_id=account_id,
            purpose=purpose.value,
            token_sha256=hash_of(token),
            browser_sha256=hash_of(browser_token) if browser_token else None,
            created_at=now,
            expires_at=now + LIFETIME[purpose],
        )
    )
    session.flush()
    return token


def peek(session: Session, token: str, purpose: Purpose, now: datetime) -> OneTimeToken | None:
    """The token's row if it is valid. Not used up: mail filters open links before people do."""
    if len(token) > _LENGTH_MAX:
        return None
    return session.exec(
        select(OneTimeToken).where(
            OneTimeToken.token_sha256 == hash_of(token),
            OneTimeToken.purpose == purpose.value,
            col(OneTimeToken.expires_at) > now,
        )
    ).one_or_none()


def use(session: Session, token: str, purpose: Purpose, now: datetime) -> OneTimeToken | None:
    """As `peek`, and use the token up: of two concurrent uses, one gets None."""
    row = peek(session, token, purpose, now)
    if row is None:
        return None
    session.expunge(row)
    statement = delete(OneTimeToken).where(col(OneTimeToken.id) == row.id).returning(col(OneTimeToken.id))
    return row if session.execute(statement).first() is not None else None


def is_from_browser(row: OneTimeToken, browser_token: str) -> bool:
    """Whether the browser that opens the link is the one that requested it."""
    return bool(browser_token) and row.browser_sha256 == hash_of(browser_token)


def withdraw(session: Session, account_id: str, *purposes: Purpose) -> None:
    """Delete the account's tokens of these purposes; without a purpose, all of them."""
    statement = delete(OneTimeToken).where(col(OneTimeToken.account_id) == account_id)
    if purposes:
        statement = statement.where(col(OneTimeToken.purpose).in_([purpose.value for purpose in purposes]))
    session.execute(statement)


def delete_expired(session: Session, now: datetime, *, limit: int) -> int:
    """Delete up to `limit` expired tokens; returns the number deleted."""
    expired = select(OneTimeToken.id).where(col(OneTimeToken.expires_at) <= now).limit(limit)
    deleted = session.execute(
        delete(OneTimeToken)
        .where(col(OneTimeToken.id).in_(expired))
        .returning(col(OneTimeToken.id))
        .execution_options(synchronize_session=False)
    )
    return len(deleted.all())
