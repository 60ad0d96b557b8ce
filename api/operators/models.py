"""The table of the audit log."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import BigInteger, Column, Index, Integer, Text, UniqueConstraint
from sqlmodel import Field, SQLModel

from billing.timestamps import UtcDateTime


class Act(StrEnum):
    """What an operator does, in the panel or on the command line."""

    CREATE_ACCOUNT = "create-account"
    CREATE_KEY = "create-key"
    LOGIN_LINK = "login-link"
    GRANT_OPERATOR = "grant-operator"
    REVOKE_OPERATOR = "revoke-operator"
    GRANT_CREDITS = "grant-credits"
    TAKE_BACK_CREDITS = "take-back-credits"
    CHANGE_PLAN = "change-plan"
    SUSPEND = "suspend"
    RESTORE = "restore"
    END_SESSIONS = "end-sessions"
    REVOKE_KEYS = "revoke-keys"
    REFUND_CALL = "refund-call"
    RECONCILE = "reconcile"


class AuditEntry(SQLModel, table=True):
    """One act. Written by the transaction that does it; triggers (`api.db.append_only`) refuse changes.

    Accounts are named by their ids only, which stay when an account is deleted.
    """

    __tablename__ = "audit_log"
    __table_args__ = (
        # A form that is sent twice acts once.
        UniqueConstraint("operator_id", "form_token", name="audit_log_form_once"),
        Index("audit_log_by_account", "account_id", "id"),
        Index("audit_log_by_operator", "operator_id", "id"),
        Index("audit_log_by_act", "act", "id"),
    )

    id: int | None = Field(
        default=None,
        # SQLite assigns numbers only to a plain INTEGER key.
        sa_column=Column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    )
    created_at: datetime = Field(sa_type=UtcDateTime)
    operator_id: str | None = Field(default=None, foreign_key="account.id")  # null: the command line
    act: str
    account_id: str | None = Field(default=None, foreign_key="account.id")  # null: all of them
    before: str = Field(sa_column=Column(Text, nullable=False))  # JSON
    after: str = Field(sa_column=Column(Text, nullable=False))  # JSON
    reason: str = Field(sa_column=Column(Text, nullable=False))
    request_id: str  # "" on the command line
    address: str  # the operator's network address; "" on the command line
    form_token: str | None = Field(default=None)
