"""Adds the background picture that cropping a cut-out makes, which is deleted with its project."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.add_column("editor_step", sa.Column("background_id", sa.String(), nullable=True))


def downgrade() -> None:
    op.drop_column("editor_step", "background_id")
