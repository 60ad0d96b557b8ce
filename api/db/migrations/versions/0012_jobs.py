"""Jobs, and the leases of the processes whose task engine runs them."""

import sqlalchemy as sa
from alembic import op

from api.db.migrations.upgrade import ENGINE_TABLES
from billing.timestamps import UtcDateTime

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.create_table(
        "engine_process",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("lease_until", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "engine_schema",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "job",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("key_id", sa.String(), nullable=True),
        sa.Column("request_id", sa.String(), nullable=False),
        sa.Column("tool", sa.String(), nullable=False),
        sa.Column("params", sa.LargeBinary(), nullable=True),
        sa.Column("params_bytes", sa.Integer(), nullable=False),
        sa.Column("inputs", sa.Text(), nullable=False),
        sa.Column("base_url", sa.String(), nullable=False),
        sa.Column("hold_id", sa.String(), nullable=False),
        sa.Column("replay_id", sa.String(), nullable=False),
        sa.Column("answer_id", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("runs", sa.Integer(), nullable=False),
        sa.Column("losses", sa.Integer(), nullable=False),
        sa.Column("stage", sa.String(), nullable=True),
        sa.Column("fraction", sa.Float(), nullable=False),
        sa.Column("expected_seconds", sa.Float(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=True),
        sa.Column("finished_at", UtcDateTime(), nullable=True),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint(
            "status in ('queued', 'running', 'succeeded', 'failed', 'cancelled')", name="job_status_known"
        ),
        sa.CheckConstraint(
            "(status in ('queued', 'running')) = (finished_at is null)", name="job_finished_has_time"
        ),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.ForeignKeyConstraint(["hold_id"], ["hold.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("job_by_account", "job", ["account_id", "created_at", "id"])
    op.create_index("job_unfinished", "job", ["status", "id"])
    op.create_index("job_expiry", "job", ["expires_at"])


def downgrade() -> None:
    op.drop_table("job")
    op.drop_table("engine_schema")
    op.drop_table("engine_process")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("drop schema if exists dbos cascade")
        return
    for table in sorted(ENGINE_TABLES):
        op.execute(f"drop table if exists {table}")
