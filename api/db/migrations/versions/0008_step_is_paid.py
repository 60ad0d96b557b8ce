"""Drops a column of the editor's steps that was true for every result of a tool."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.drop_column("editor_step", "is_paid")


def downgrade() -> None:
    op.add_column(
        "editor_step", sa.Column("is_paid", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    op.execute("update editor_step set is_paid = (tool is not null)")
