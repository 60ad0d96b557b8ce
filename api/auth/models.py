"""Tables of authentication. Secrets are stored as hashes only, so a leaked table does not grant access."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import Boolean, CheckConstraint, Column, String, UniqueConstraint, text
from sqlalchemy import false as sa_false
from sqlmodel import Field, SQLModel

from billing.timestamps import UtcDateTime


class ApiKey(SQLModel, table=True):
    """A key's hash and first characters. The key itself is shown once and not stored."""

    __tablename__ = "api_key"

    id: str = Field(primary_key=True)  # key_…
    account_id: str = Field(foreign_key="account.id", index=True)
    name: str
    first_characters: str  # "bge_live_Ab3d": enough to recognise it in a list
    sha256: str = Field(unique=True)  # hex, of the whole key
    created_at: datetime = Field(sa_type=UtcDateTime)
    last_used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    #: From where it was used then.
    last_used_address: str | None = Field(default=None)
    #: When it stops working: as chosen, or earlier because it was replaced.
    expires_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    #: The expiry that the account's owner chose, which a key that replaces this one keeps.
    chosen_expires_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    #: When another key replaced it. It works until the end of the grace period.
    replaced_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    revoked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    #: The id of the first one of the keys that replaced each other; of a live key, its budget too.
    family_id: str = Field(default="", sa_column=Column(String, nullable=False, server_default=text("''")))
    #: A sandbox key: its calls cost nothing, and their results are small and marked.
    is_test: bool = Field(default=False, sa_column=Column(Boolean, nullable=False, server_default=sa_false()))
    #: Names of tools with commas between them; null: all.
    allowed_tools: str | None = Field(default=None)
    #: The member who made it, whose removal ends it; null: the account's owner.
    created_by_id: str | None = Field(default=None)


class BrowserSession(SQLModel, table=True):
    """The session of one browser: a guest's, or one signed in to an account.

    Only the SHA-256 of the cookie's token is stored. An ended session has no row.
    """

    __tablename__ = "browser_session"

    id: str = Field(primary_key=True)  # ses_…
    token_sha256: str = Field(unique=True)  # hex
    account_id: str | None = Field(default=None, foreign_key="account.id", index=True)  # null: a guest
    #: The account of another person that is worked in, as long as the person is a member; null: its own.
    acting_account_id: str | None = Field(default=None)
    user_agent: str  # truncated; shown in the list of sessions
    address: str
    created_at: datetime = Field(sa_type=UtcDateTime)
    last_seen_at: datetime = Field(sa_type=UtcDateTime)  # updated every few minutes
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)  # extended by use, up to a limit


class Password(SQLModel, table=True):
    """An account's password as an argon2id hash. Accounts that only use external identities have none."""

    __tablename__ = "password"

    account_id: str = Field(primary_key=True, foreign_key="account.id")
    hash: str  # in argon2's encoded form, with salt and parameters
    changed_at: datetime = Field(sa_type=UtcDateTime)


class Purpose(StrEnum):
    VERIFY = "verify"  # the address, after sign-up
    RESET = "reset"  # the password
    LOGIN = "login"  # the operator's one-time login address


class OneTimeToken(SQLModel, table=True):
    """The token of a mailed link or of the operator's login link. Using it deletes the row."""

    __tablename__ = "one_time_token"
    __table_args__ = (
        CheckConstraint("purpose in ('verify', 'reset', 'login')", name="one_time_token_purpose_known"),
    )

    id: str = Field(primary_key=True)  # tok_…
    account_id: str = Field(foreign_key="account.id", index=True)
    purpose: str
    token_sha256: str = Field(unique=True)  # hex
    # SHA-256 of the token of the browser that requested the link; only that browser is signed in by it.
    browser_sha256: str | None = Field(default=None)
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)


class Identity(SQLModel, table=True):
    """An external identity linked to an account: the provider and its name for the user."""

    __tablename__ = "identity"
    __table_args__ = (UniqueConstraint("issuer", "subject", name="identity_once"),)

    id: str = Field(primary_key=True)  # idt_…
    account_id: str = Field(foreign_key="account.id", index=True)
    issuer: str  # the provider's address, such as https://accounts.google.com
    subject: str  # the provider's stable identifier of the user
    email: str  # as the provider sent it; for display only
    created_at: datetime = Field(sa_type=UtcDateTime)


class FormerAddress(SQLModel, table=True):
    """What a deleted account had received, so that the same address does not receive it again.

    The address itself is not stored, only its HMAC with the server's secret.
    """

    __tablename__ = "former_address"

    id: str = Field(primary_key=True)  # the HMAC, hex
    period_anchor_at: datetime = Field(sa_type=UtcDateTime)
    period_ends_at: datetime = Field(sa_type=UtcDateTime)  # the period whose credits were granted ends then
    had_subscription: bool
    kept_until: datetime = Field(sa_type=UtcDateTime, index=True)


class Throttle(SQLModel, table=True):
    """The fill level of one bucket of attempts: the timestamp of the generic cell rate algorithm."""

    __tablename__ = "throttle"

    bucket: str = Field(primary_key=True)  # SHA-256 of the counted key: an address, an account's e-mail, …
    full_at: datetime = Field(sa_type=UtcDateTime, index=True)  # in the past: equal to having no row
