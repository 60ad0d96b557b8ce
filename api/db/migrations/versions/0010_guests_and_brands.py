"""Adds an account's brand colours, and marks the editor's steps that are guests' previews."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.create_table(
        "brand_colors",
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("colors", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.PrimaryKeyConstraint("account_id"),
    )
    op.add_column(
        "editor_step", sa.Column("is_preview", sa.Boolean(), nullable=False, server_default=sa.false())
    )


def downgrade() -> None:
    op.drop_column("editor_step", "is_preview")
    op.drop_table("brand_colors")
