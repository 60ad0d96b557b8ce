"""A row in every table of signing in, for tests that copy or migrate whole databases."""

from datetime import datetime

from sqlmodel import Session

from api.auth import sessions
from api.auth.former_accounts import FormerAddresses
from api.auth.models import FormerAddress, Identity, OneTimeToken, Password, Purpose, Throttle
from billing.identifiers import new_id

FORMER = FormerAddresses(("a secret of thirty-two characters or more",))


def sign_up(session: Session, account_id: str, now: datetime) -> None:
    """What an account has that uses every way of signing in."""
    sessions.create(session, account_id, now=now)
    session.add(Password(account_id=account_id, hash="$argon2id$…", changed_at=now))
    session.add(Throttle(bucket=new_id("bucket"), full_at=now))
    session.add(
        FormerAddress(
            id=new_id("hash"), period_anchor_at=now, period_ends_at=now, had_subscription=True, kept_until=now
        )
    )
    session.add(
        OneTimeToken(
            id=new_id("tok"),
            account_id=account_id,
            purpose=Purpose.VERIFY,
            token_sha256=new_id("hash"),
            created_at=now,
            expires_at=now,
        )
    )
    session.add(
        Identity(
            id=new_id("idt"),
            account_id=account_id,
            issuer="github",
            subject=account_id,
            email="someone@example.com",
            created_at=now,
        )
    )
    session.flush()
