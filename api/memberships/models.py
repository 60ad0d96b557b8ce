"""Tables of members. A person is an account with its own login; the account it works in owns everything."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, UniqueConstraint
from sqlmodel import Field, SQLModel

from billing.timestamps import UtcDateTime


class Role(StrEnum):
    OWNER = "owner"  # the account itself; never stored
    MEMBER = "member"  # spends the account's credits and makes keys
    VIEWER = "viewer"  # sees pictures and usage, changes nothing


class Membership(SQLModel, table=True):
    """A person may work in this account. Without a row it may not: nothing caches it."""

    __tablename__ = "membership"
    __table_args__ = (
        CheckConstraint("role in ('member', 'viewer')", name="membership_role_known"),
        CheckConstraint("account_id <> person_id", name="membership_of_another"),
    )

    account_id: str = Field(primary_key=True, foreign_key="account.id")
    person_id: str = Field(primary_key=True, foreign_key="account.id", index=True)
    role: str
    created_at: datetime = Field(sa_type=UtcDateTime)


class Invitation(SQLModel, table=True):
    """A link that makes whoever has this address a member. Accepting it deletes the row."""

    __tablename__ = "invitation"
    __table_args__ = (
        UniqueConstraint("account_id", "email", name="invitation_once"),
        CheckConstraint("role in ('member', 'viewer')", name="invitation_role_known"),
    )

    id: str = Field(primary_key=True)  # inv_…
    account_id: str = Field(foreign_key="account.id")
    email: str  # lower case
    role: str
    token_sha256: str = Field(unique=True)  # hex
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)
