"""Alerts, which of them are mailed, and how far each account's credits have run down."""

import sqlalchemy as sa
from alembic import op

from billing.timestamps import UtcDateTime

revision = "0020"
down_revision = "0019"

#: Until the next credits arrive: a fifth of the plan's monthly credits, as it was announced before.
_LOW = "case plan when 'business' then 1000 when 'standard' then 100 else 3 end"


def upgrade() -> None:
    op.add_column("account", sa.Column("low_credits", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("account", sa.Column("level", sa.String(), nullable=False, server_default="ample"))
    op.execute(f"update account set low_credits = {_LOW}")  # noqa: S608 - constants
    # What is low already was announced.
    op.execute(
        "update account set level = case when available + held = 0 then 'exhausted' else 'low' end"
        " where available + held <= low_credits"
    )
    op.create_table(
        "alert",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("reference", sa.String(), nullable=False),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.Column("mail_status", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", UtcDateTime(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=True),
        sa.CheckConstraint(
            "mail_status in ('none', 'pending', 'sent', 'failed')", name="alert_mail_status_known"
        ),
        sa.CheckConstraint(
            "(mail_status = 'pending') = (next_attempt_at is not null)", name="alert_pending_mail_is_due"
        ),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("reference"),
    )
    op.create_index("ix_alert_account_id", "alert", ["account_id"])
    op.create_index("alert_pending_mail", "alert", ["mail_status", "id"])
    op.create_index("alert_expiry", "alert", ["expires_at"])
    op.create_table(
        "alert_preference",
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("muted", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.PrimaryKeyConstraint("account_id"),
    )


def downgrade() -> None:
    op.drop_table("alert_preference")
    op.drop_table("alert")
    op.drop_column("account", "level")
    op.drop_column("account", "low_credits")
