"""Paid packs of credits, and their refunds and disputes beside those of invoices."""

import sqlalchemy as sa
from alembic import op

from billing.timestamps import UtcDateTime

revision = "0017"
down_revision = "0016"

_ONE_PAYMENT = "payment_reversal_of_one_payment"


def upgrade() -> None:
    op.create_table(
        "pack_purchase",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("credits", sa.Integer(), nullable=False),
        sa.Column("amount_paid", sa.Integer(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("amount_paid >= 0", name="pack_purchase_amount_not_negative"),
        sa.CheckConstraint("credits > 0", name="pack_purchase_credits_positive"),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_pack_purchase_account_id", "pack_purchase", ["account_id"])
    with op.batch_alter_table("payment_reversal") as reversal:
        reversal.alter_column("invoice_id", existing_type=sa.String(), nullable=True)
        reversal.add_column(sa.Column("pack_id", sa.String(), nullable=True))
        reversal.create_foreign_key("payment_reversal_pack_id_fkey", "pack_purchase", ["pack_id"], ["id"])
        reversal.create_check_constraint(_ONE_PAYMENT, "(invoice_id is null) <> (pack_id is null)")
        reversal.create_index("ix_payment_reversal_pack_id", ["pack_id"])


def downgrade() -> None:
    op.execute("delete from payment_reversal where invoice_id is null")
    with op.batch_alter_table("payment_reversal") as reversal:
        reversal.drop_index("ix_payment_reversal_pack_id")
        reversal.drop_constraint(_ONE_PAYMENT, type_="check")
        reversal.drop_constraint("payment_reversal_pack_id_fkey", type_="foreignkey")
        reversal.drop_column("pack_id")
        reversal.alter_column("invoice_id", existing_type=sa.String(), nullable=False)
    op.drop_table("pack_purchase")
