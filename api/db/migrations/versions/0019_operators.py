"""Operators, suspended accounts, plans set by operators, the audit log, and comparisons with Stripe."""

import sqlalchemy as sa
from alembic import op

from api.db import append_only
from billing.timestamps import UtcDateTime

revision = "0019"
down_revision = "0018"

#: What the unique constraints of the log refuse.
_SAME_ENTRY = "id = new.id or (operator_id = new.operator_id and form_token = new.form_token)"

_ACCOUNT_COLUMNS = (
    ("operator_plan", sa.String()),
    ("suspended_at", UtcDateTime()),
    ("operator_since", UtcDateTime()),
)
_FAILED = sa.text("status = 'failed'")
_FAILURES = (("job_failed", "job"), ("webhook_delivery_failed", "webhook_delivery"))


def upgrade() -> None:
    for name, column_type in _ACCOUNT_COLUMNS:
        op.add_column("account", sa.Column(name, column_type, nullable=True))
    op.create_index(
        "account_email_prefix", "account", ["email"], postgresql_ops={"email": "varchar_pattern_ops"}
    )
    op.create_table(
        "audit_log",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("operator_id", sa.String(), nullable=True),
        sa.Column("act", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=True),
        sa.Column("before", sa.Text(), nullable=False),
        sa.Column("after", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("request_id", sa.String(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("form_token", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["operator_id"], ["account.id"]),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("operator_id", "form_token", name="audit_log_form_once"),
    )
    for by in ("account", "operator"):
        op.create_index(f"audit_log_by_{by}", "audit_log", [f"{by}_id", "id"])
    op.create_index("audit_log_by_act", "audit_log", ["act", "id"])
    for statement in append_only.statements(op.get_bind().dialect.name, "audit_log", _SAME_ENTRY):
        op.execute(statement)
    op.create_table(
        "reconciliation",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("finished_at", UtcDateTime(), nullable=False),
        sa.Column("customers", sa.Integer(), nullable=False),
        sa.Column("differed", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_reconciliation_finished_at", "reconciliation", ["finished_at"])
    # Calls of the last day are counted by their time, and old ones are found by it too.
    op.drop_index("call_record_age", "call_record")
    op.create_index("call_record_age", "call_record", ["started_at"])
    for name, table in _FAILURES:
        op.create_index(name, table, ["finished_at"], sqlite_where=_FAILED, postgresql_where=_FAILED)


def downgrade() -> None:
    for name, table in _FAILURES:
        op.drop_index(name, table)
    op.drop_index("call_record_age", "call_record")
    op.create_index("call_record_age", "call_record", ["day"])
    op.drop_table("reconciliation")
    for statement in append_only.drop_statements(op.get_bind().dialect.name, "audit_log"):
        op.execute(statement)
    op.drop_table("audit_log")
    op.drop_index("account_email_prefix", "account")
    for name, _ in _ACCOUNT_COLUMNS:
        op.drop_column("account", name)
