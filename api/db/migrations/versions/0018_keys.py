"""Limits of API keys, test keys, and the holds of calls that cost nothing."""

import sqlalchemy as sa
from alembic import op

from billing.ledger import constraints
from billing.timestamps import UtcDateTime

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    op.create_table(
        "budget",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("monthly_limit", sa.Integer(), nullable=True),
        sa.CheckConstraint("monthly_limit >= 1", name="budget_limit_positive"),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_budget_account_id", "budget", ["account_id"])
    op.create_table(
        "budget_month",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("budget_id", sa.String(), nullable=False),
        sa.Column("month", sa.String(), nullable=False),
        sa.Column("used", sa.Integer(), nullable=False),
        sa.CheckConstraint("used >= 0", name="budget_month_used_not_negative"),
        sa.ForeignKeyConstraint(["budget_id"], ["budget.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_budget_month_budget_id", "budget_month", ["budget_id"])
    op.add_column("account", sa.Column("test_rate_full_at", UtcDateTime(), nullable=True))
    for table in ("job", "batch"):
        op.add_column(table, sa.Column("is_test", sa.Boolean(), nullable=False, server_default=sa.false()))
    # Keys that replaced each other share a family; so far nothing says which did.
    op.execute("insert into budget (id, account_id) select id, account_id from api_key")
    with op.batch_alter_table("api_key") as key:
        key.add_column(sa.Column("family_id", sa.String(), nullable=False, server_default=""))
        key.add_column(sa.Column("is_test", sa.Boolean(), nullable=False, server_default=sa.false()))
        key.add_column(sa.Column("allowed_tools", sa.String(), nullable=True))
        key.add_column(sa.Column("chosen_expires_at", UtcDateTime(), nullable=True))
        key.add_column(sa.Column("replaced_at", UtcDateTime(), nullable=True))
        key.add_column(sa.Column("last_used_address", sa.String(), nullable=True))
    op.execute("update api_key set family_id = id")
    # So far a key expired only because it was replaced.
    op.execute("update api_key set replaced_at = created_at where expires_at is not null")
    _change_holds(upgrading=True)


def downgrade() -> None:
    # What cost nothing has neither credits nor entries, and no place in the older schema.
    op.execute("delete from job where is_test = true")
    op.execute("delete from replay where hold_id in (select id from hold where amount = 0)")
    _change_holds(upgrading=False)
    with op.batch_alter_table("api_key") as key:
        for column in (
            "family_id",
            "is_test",
            "allowed_tools",
            "chosen_expires_at",
            "replaced_at",
            "last_used_address",
        ):
            key.drop_column(column)
    for table in ("job", "batch"):
        op.drop_column(table, "is_test")
    op.drop_column("account", "test_rate_full_at")
    op.drop_table("budget_month")
    op.drop_table("budget")


def _change_holds(*, upgrading: bool) -> None:
    dialect_name = op.get_bind().dialect.name
    for statement in constraints.drop_statements(dialect_name, has_budgets=not upgrading):
        op.execute(statement)
    if not upgrading:
        op.execute("delete from hold where amount = 0")
    with op.batch_alter_table("hold") as hold:
        if upgrading:
            hold.alter_column("grant_id", existing_type=sa.String(), nullable=True)
            hold.add_column(sa.Column("budget_month_id", sa.String(), nullable=True))
            hold.create_foreign_key("hold_budget_month_id_fkey", "budget_month", ["budget_month_id"], ["id"])
            hold.drop_constraint("hold_amount_positive", type_="check")
            hold.create_check_constraint("hold_amount_not_negative", "amount >= 0")
            hold.create_check_constraint("hold_of_credits_has_grant", "(amount = 0) = (grant_id is null)")
            hold.create_check_constraint(
                "hold_of_nothing_has_no_budget", "amount > 0 or budget_month_id is null"
            )
        else:
            for name in (
                "hold_of_nothing_has_no_budget",
                "hold_of_credits_has_grant",
                "hold_amount_not_negative",
            ):
                hold.drop_constraint(name, type_="check")
            hold.create_check_constraint("hold_amount_positive", "amount > 0")
            hold.drop_constraint("hold_budget_month_id_fkey", type_="foreignkey")
            hold.drop_column("budget_month_id")
            hold.alter_column("grant_id", existing_type=sa.String(), nullable=False)
    for statement in constraints.statements(dialect_name, has_budgets=upgrading):
        op.execute(statement)
