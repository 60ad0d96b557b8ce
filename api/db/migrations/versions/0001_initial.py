"""The first schema: accounts, the credit ledger, API keys, images, answers kept for retries.

The triggers are defined in `billing.ledger.constraints` alone. A migration that changes them drops the
existing ones by name and creates the current ones; on a new database it then replaces like with like.
"""

import sqlalchemy as sa
from alembic import op

from billing.ledger import constraints
from billing.timestamps import UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "account",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("plan", sa.String(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("period_anchor_at", UtcDateTime(), nullable=False),
        sa.Column("period_ends_at", UtcDateTime(), nullable=True),
        sa.Column("closed_at", UtcDateTime(), nullable=True),
        sa.Column("available", sa.Integer(), nullable=False),
        sa.Column("held", sa.Integer(), nullable=False),
        sa.Column("rate_full_at", UtcDateTime(), nullable=True),
        sa.CheckConstraint("plan in ('free', 'standard', 'business')", name="account_plan_known"),
        sa.CheckConstraint("available >= 0", name="account_available_not_negative"),
        sa.CheckConstraint("held >= 0", name="account_held_not_negative"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("email"),
    )
    op.create_table(
        "api_key",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("first_characters", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("last_used_at", UtcDateTime(), nullable=True),
        sa.Column("expires_at", UtcDateTime(), nullable=True),
        sa.Column("revoked_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("sha256"),
    )
    op.create_index("ix_api_key_account_id", "api_key", ["account_id"])
    op.create_table(
        "credit_grant",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("reference", sa.String(), nullable=False),
        sa.Column("amount", sa.Integer(), nullable=False),
        sa.Column("available", sa.Integer(), nullable=False),
        sa.Column("held", sa.Integer(), nullable=False),
        sa.Column("starts_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("amount > 0", name="credit_grant_amount_positive"),
        sa.CheckConstraint("available + held <= amount", name="credit_grant_within_amount"),
        sa.CheckConstraint("available >= 0", name="credit_grant_available_not_negative"),
        sa.CheckConstraint("held >= 0", name="credit_grant_held_not_negative"),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("reference"),
    )
    op.create_index("credit_grant_spendable", "credit_grant", ["account_id", "expires_at"])
    op.create_table(
        "image",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("format", sa.String(), nullable=False),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=True),
        sa.Column("height", sa.Integer(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("size_bytes >= 0", name="image_size_not_negative"),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_image_account_id", "image", ["account_id"])
    op.create_index("ix_image_expires_at", "image", ["expires_at"])
    op.create_table(
        "hold",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("grant_id", sa.String(), nullable=False),
        sa.Column("reference", sa.String(), nullable=False),
        sa.Column("amount", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("lease_owner", sa.String(), nullable=False),
        sa.Column("lease_until", UtcDateTime(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("settled_at", UtcDateTime(), nullable=True),
        sa.CheckConstraint("(status = 'open') = (settled_at is null)", name="hold_settled_has_time"),
        sa.CheckConstraint("status in ('open', 'captured', 'released', 'expired')", name="hold_status_known"),
        sa.CheckConstraint("amount > 0", name="hold_amount_positive"),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.ForeignKeyConstraint(["grant_id"], ["credit_grant.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("reference"),
    )
    op.create_index("hold_lapsed", "hold", ["status", "lease_until"])
    op.create_index("hold_open_by_account", "hold", ["account_id", "status"])
    op.create_table(
        "entry",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("grant_id", sa.String(), nullable=False),
        sa.Column("hold_id", sa.String(), nullable=True),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("amount", sa.Integer(), nullable=False),
        sa.Column("reference", sa.String(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint(
            "(kind in ('capture', 'refund')) = (hold_id is not null)", name="entry_hold_fits_kind"
        ),
        sa.CheckConstraint("(kind in ('grant', 'refund')) = (amount > 0)", name="entry_sign_fits_kind"),
        sa.CheckConstraint(
            "kind in ('grant', 'capture', 'refund', 'expiry', 'revocation')", name="entry_kind_known"
        ),
        sa.CheckConstraint("amount <> 0", name="entry_amount_not_zero"),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.ForeignKeyConstraint(["grant_id"], ["credit_grant.id"]),
        sa.ForeignKeyConstraint(["hold_id"], ["hold.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("hold_id", "kind", name="entry_once_per_hold"),
        sa.UniqueConstraint("reference"),
    )
    op.create_index("entry_by_account", "entry", ["account_id", "id"])
    op.create_index("ix_entry_grant_id", "entry", ["grant_id"])
    op.create_table(
        "replay",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("retry_key", sa.String(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("hold_id", sa.String(), nullable=True),
        sa.Column("status_code", sa.Integer(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("image_id", sa.String(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint(
            "(status = 'done') = (status_code is not null and body is not null)",
            name="replay_done_has_answer",
        ),
        sa.CheckConstraint("status in ('running', 'done')", name="replay_status_known"),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.ForeignKeyConstraint(["hold_id"], ["hold.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("account_id", "retry_key", name="replay_once"),
    )
    op.create_index("replay_expiry", "replay", ["expires_at"])
    for statement in constraints.statements(op.get_bind().dialect.name, has_budgets=False):
        op.execute(statement)


def downgrade() -> None:
    # Triggers go with their tables.
    for table in ("replay", "entry", "hold", "image", "credit_grant", "api_key", "account"):
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("drop function refuse_change()")
