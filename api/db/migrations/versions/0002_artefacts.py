"""The artefacts stored with an image count towards its account's storage."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("image", sa.Column("artefact_bytes", sa.Integer(), server_default="0", nullable=False))


def downgrade() -> None:
    op.drop_column("image", "artefact_bytes")
