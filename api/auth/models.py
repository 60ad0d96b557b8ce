"""Tables of signing in. Secrets are stored as hashes only, so a leaked table does not let anyone sign in."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, UniqueConstraint
from sqlmodel import Field, SQLModel

from billing.timestamps import UtcDateTime


class BrowserSession(SQLModel, table=True):
    """One browser that is known to the server: a guest's, or one signed in to an account.

    The cookie's token is stored as its SHA-256 only. A session that ended has no row.
    """

    __tablename__ = "browser_session"

    id: str = Field(primary_key=True)  # ses_…
    token_sha256: str = Field(unique=True)  # hex
    account_id: str | None = Field(default=None, foreign_key="account.id", index=True)  # null: a guest
    user_agent: str  # shortened; shown in the list of sessions
    address: str
    created_at: datetime = Field(sa_type=UtcDateTime)
    last_seen_at: datetime = Field(sa_type=UtcDateTime)  # noted every few minutes
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)  # moves on with use, up to a limit


class Password(SQLModel, table=True):
    """An account's password as an argon2id hash. Accounts that sign in elsewhere have none."""

    __tablename__ = "password"

    account_id: str = Field(primary_key=True, foreign_key="account.id")
    hash: str  # with its salt and parameters, as argon2 writes it
    changed_at: datetime = Field(sa_type=UtcDateTime)


class Purpose(StrEnum):
    VERIFY = "verify"  # the address, after sign-up
    RESET = "reset"  # the password
    LOGIN = "login"  # the operator's one-time login address


class OneTimeToken(SQLModel, table=True):
    """A link that was mailed. Using it deletes the row."""

    __tablename__ = "one_time_token"
    __table_args__ = (
        CheckConstraint("purpose in ('verify', 'reset', 'login')", name="one_time_token_purpose_known"),
    )

    id: str = Field(primary_key=True)  # tok_…
    account_id: str = Field(foreign_key="account.id", index=True)
    purpose: str
    token_sha256: str = Field(unique=True)  # hex
    # SHA-256 of the asking browser's token; a link opened in that very browser may sign in at once.
    browser_sha256: str | None = Field(default=None)
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)


class Identity(SQLModel, table=True):
    """A sign-in elsewhere that opens an account: who says so, and whom they mean."""

    __tablename__ = "identity"
    __table_args__ = (UniqueConstraint("issuer", "subject", name="identity_once"),)

    id: str = Field(primary_key=True)  # idt_…
    account_id: str = Field(foreign_key="account.id", index=True)
    issuer: str  # the provider's address, such as https://accounts.google.com
    subject: str  # the provider's own, unchanging name of the person
    email: str  # as the provider sent it last; for display only
    created_at: datetime = Field(sa_type=UtcDateTime)


class FormerAddress(SQLModel, table=True):
    """What a deleted account of an address had, so that signing up again brings none of it twice.

    The address itself is not kept, only its HMAC with the server's secret.
    """

    __tablename__ = "former_address"

    id: str = Field(primary_key=True)  # the HMAC, hex
    period_anchor_at: datetime = Field(sa_type=UtcDateTime)
    period_ends_at: datetime = Field(sa_type=UtcDateTime)  # until then this period's credits were given
    had_subscription: bool
    kept_until: datetime = Field(sa_type=UtcDateTime, index=True)


class Throttle(SQLModel, table=True):
    """How far one bucket of attempts is used up: the timestamp of the generic cell rate algorithm."""

    __tablename__ = "throttle"

    bucket: str = Field(primary_key=True)  # SHA-256 of what is counted: an address, an account's e-mail, …
    full_at: datetime = Field(sa_type=UtcDateTime, index=True)  # past: the row says nothing any more
