"""Adds the layers of the editor's cut-outs: the kept cut-out, its photo and the look drawn from them."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    for name in ("cutout_id", "photo_id"):
        op.add_column("editor_step", sa.Column(name, sa.String(), nullable=True))
    for name in ("photo_width", "photo_height"):
        op.add_column("editor_step", sa.Column(name, sa.Integer(), nullable=True))
    op.add_column("editor_step", sa.Column("look", sa.Text(), nullable=True))
    op.add_column(
        "editor_step", sa.Column("is_rendered", sa.Boolean(), nullable=False, server_default=sa.true())
    )


def downgrade() -> None:
    for name in ("is_rendered", "look", "photo_height", "photo_width", "photo_id", "cutout_id"):
        op.drop_column("editor_step", name)
