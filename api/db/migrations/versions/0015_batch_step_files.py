"""The stored images that steps of batches name, which keep them until the last batch has ended."""

import json

import sqlalchemy as sa
from alembic import op

from billing.timestamps import UtcDateTime

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    files = op.create_table(
        "batch_step_file",
        sa.Column("batch_id", sa.String(), nullable=False),
        sa.Column("image_id", sa.String(), nullable=False),
        sa.Column("image_expires_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["batch_id"], ["batch.id"]),
        sa.PrimaryKeyConstraint("batch_id", "image_id"),
    )
    op.create_index("batch_step_file_by_image", "batch_step_file", ["image_id"])
    batches = sa.table(
        "batch",
        sa.column("id", sa.String()),
        sa.column("steps", sa.LargeBinary()),
        sa.column("created_at", UtcDateTime()),
    )
    for batch_id, steps, created_at in op.get_bind().execute(sa.select(batches)).all():
        named = {image_id for step in json.loads(steps) for image_id in step["storedIds"].values()}
        # When they would have expired without the batch was not recorded. Its end keeps them for a day.
        rows = [
            {"batch_id": batch_id, "image_id": image_id, "image_expires_at": created_at} for image_id in named
        ]
        if rows:
            op.bulk_insert(files, rows)


def downgrade() -> None:
    op.drop_table("batch_step_file")
