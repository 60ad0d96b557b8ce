"""Credits that invoices are worth, plans given by the operator, addresses of deleted accounts."""

import sqlalchemy as sa
from alembic import op

from billing.timestamps import UtcDateTime

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("account", sa.Column("given_plan", sa.String(), nullable=True))
    op.add_column("paid_invoice", sa.Column("entitled", sa.Integer(), nullable=False, server_default="0"))
    op.execute("update paid_invoice set entitled = credits")
    op.create_table(
        "former_address",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("period_anchor_at", UtcDateTime(), nullable=False),
        sa.Column("period_ends_at", UtcDateTime(), nullable=False),
        sa.Column("had_subscription", sa.Boolean(), nullable=False),
        sa.Column("kept_until", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_former_address_kept_until", "former_address", ["kept_until"])
    op.create_table(
        "trial_card",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("kept_until", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_trial_card_kept_until", "trial_card", ["kept_until"])


def downgrade() -> None:
    op.drop_table("trial_card")
    op.drop_table("former_address")
    op.drop_column("paid_invoice", "entitled")
    op.drop_column("account", "given_plan")
