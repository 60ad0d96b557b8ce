"""Batches, their items, and the jobs that run an item's step."""

import sqlalchemy as sa
from alembic import op

from billing.timestamps import UtcDateTime

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.create_table(
        "batch",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("key_id", sa.String(), nullable=True),
        sa.Column("request_id", sa.String(), nullable=False),
        sa.Column("base_url", sa.String(), nullable=False),
        sa.Column("callback_url", sa.Text(), nullable=True),
        sa.Column("steps", sa.LargeBinary(), nullable=False),
        sa.Column("step_count", sa.Integer(), nullable=False),
        sa.Column("item_count", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("activation", sa.Integer(), nullable=False),
        sa.Column("retention_seconds", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=True),
        sa.Column("finished_at", UtcDateTime(), nullable=True),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint(
            "status in ('queued', 'running', 'paused', 'blocked', 'completed', 'cancelled')",
            name="batch_status_known",
        ),
        sa.CheckConstraint(
            "(status in ('completed', 'cancelled')) = (finished_at is not null)",
            name="batch_finished_has_time",
        ),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("batch_by_account", "batch", ["account_id", "created_at", "id"])
    op.create_index("batch_by_status", "batch", ["status", "id"])
    op.create_index("batch_expiry", "batch", ["expires_at"])
    op.create_table(
        "batch_item",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("batch_id", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column("source_id", sa.String(), nullable=True),
        sa.Column("is_source_own", sa.Boolean(), nullable=False),
        sa.Column("source_expires_at", UtcDateTime(), nullable=True),
        sa.Column("image_id", sa.String(), nullable=True),
        sa.Column("steps_done", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=True),
        sa.Column("credits", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("finished_at", UtcDateTime(), nullable=True),
        sa.CheckConstraint(
            "status in ('queued', 'running', 'succeeded', 'failed', 'cancelled')",
            name="batch_item_status_known",
        ),
        sa.CheckConstraint("(status = 'running') = (job_id is not null)", name="batch_item_running_has_job"),
        sa.ForeignKeyConstraint(["batch_id"], ["batch.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("batch_id", "position", name="batch_item_once"),
    )
    op.create_index("batch_item_by_status", "batch_item", ["batch_id", "status", "position"])
    op.create_index("batch_item_by_source", "batch_item", ["source_id"])
    for column in (
        sa.Column("batch_id", sa.String(), nullable=True),
        sa.Column("batch_item_id", sa.String(), nullable=True),
        sa.Column("result_id", sa.String(), nullable=True),
        sa.Column("result_kept_until", UtcDateTime(), nullable=True),
    ):
        op.add_column("job", column)
    op.create_index("job_by_batch", "job", ["batch_id", "finished_at"])


def downgrade() -> None:
    op.drop_index("job_by_batch", "job")
    for name in ("result_kept_until", "result_id", "batch_item_id", "batch_id"):
        op.drop_column("job", name)
    op.drop_table("batch_item")
    op.drop_table("batch")
