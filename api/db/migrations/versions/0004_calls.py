"""The call log, which includes refused calls."""

import sqlalchemy as sa
from alembic import op

from billing.timestamps import UtcDateTime

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "call_record",
        sa.Column("request_id", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("key_id", sa.String(), nullable=True),
        sa.Column("tool", sa.String(), nullable=False),
        sa.Column("day", sa.String(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("duration_ms", sa.Integer(), nullable=False),
        sa.Column("status_code", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(), nullable=True),
        sa.Column("credits", sa.Integer(), nullable=False),
        sa.CheckConstraint("credits >= 0", name="call_record_credits_not_negative"),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.PrimaryKeyConstraint("request_id"),
    )
    op.create_index("call_record_by_account", "call_record", ["account_id", "started_at"])
    op.create_index("call_record_by_day", "call_record", ["account_id", "day"])
    op.create_index("call_record_age", "call_record", ["day"])


def downgrade() -> None:
    op.drop_table("call_record")
