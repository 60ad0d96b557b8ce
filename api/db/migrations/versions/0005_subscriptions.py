"""Stripe customers, subscriptions, paid invoices, reversals and events; periodic work."""

import sqlalchemy as sa
from alembic import op

from billing.timestamps import UtcDateTime

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("account", sa.Column("subscription_id", sa.String(), nullable=True))
    op.create_table(
        "stripe_customer",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("sync_token", sa.String(), nullable=True),
        sa.Column("sync_until", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("account_id"),
    )
    op.create_table(
        "subscription",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("item_id", sa.String(), nullable=False),
        sa.Column("plan", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("period_starts_at", UtcDateTime(), nullable=False),
        sa.Column("period_ends_at", UtcDateTime(), nullable=False),
        sa.Column("ends_at", UtcDateTime(), nullable=True),
        sa.Column("grace_ends_at", UtcDateTime(), nullable=True),
        sa.Column("next_plan", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_subscription_account_id", "subscription", ["account_id"])
    op.create_table(
        "paid_invoice",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("subscription_id", sa.String(), nullable=False),
        sa.Column("plan", sa.String(), nullable=False),
        sa.Column("amount_paid", sa.Integer(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("credits", sa.Integer(), nullable=False),
        sa.Column("period_ends_at", UtcDateTime(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("amount_paid >= 0", name="paid_invoice_amount_not_negative"),
        sa.CheckConstraint("credits >= 0", name="paid_invoice_credits_not_negative"),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_paid_invoice_account_id", "paid_invoice", ["account_id"])
    op.create_table(
        "payment_reversal",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("invoice_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("amount", sa.Integer(), nullable=False),
        sa.Column("credits", sa.Integer(), nullable=False),
        sa.Column("taken", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("returned_at", UtcDateTime(), nullable=True),
        sa.CheckConstraint("taken >= 0 and taken <= credits", name="payment_reversal_takes_no_more"),
        sa.CheckConstraint("kind in ('refund', 'dispute')", name="payment_reversal_kind_known"),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.ForeignKeyConstraint(["invoice_id"], ["paid_invoice.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_payment_reversal_account_id", "payment_reversal", ["account_id"])
    op.create_index("ix_payment_reversal_invoice_id", "payment_reversal", ["invoice_id"])
    op.create_table(
        "stripe_event",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("customer_id", sa.String(), nullable=True),
        sa.Column("object_id", sa.String(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("received_at", UtcDateTime(), nullable=False),
        sa.Column("handled_at", UtcDateTime(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_try_at", UtcDateTime(), nullable=False),
        sa.Column("error", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_stripe_event_customer_id", "stripe_event", ["customer_id"])
    op.create_index("ix_stripe_event_received_at", "stripe_event", ["received_at"])
    op.create_index("stripe_event_waiting", "stripe_event", ["handled_at", "next_try_at"])
    op.create_table(
        "periodic_work",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )


def downgrade() -> None:
    tables = (
        "periodic_work",
        "stripe_event",
        "payment_reversal",
        "paid_invoice",
        "subscription",
        "stripe_customer",
    )
    for table in tables:
        op.drop_table(table)
    op.drop_column("account", "subscription_id")
