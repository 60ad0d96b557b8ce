"""Members of accounts, invitations, and who made a key and who a call of the editor."""

import sqlalchemy as sa
from alembic import op

from billing.timestamps import UtcDateTime

revision = "0021"
down_revision = "0020"

#: Null: the account's owner, or nobody else's account.
_COLUMNS = (
    ("browser_session", "acting_account_id"),
    ("api_key", "created_by_id"),
    ("call_record", "person_id"),
    ("job", "person_id"),
    ("batch", "person_id"),
)


def upgrade() -> None:
    op.create_table(
        "membership",
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("person_id", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("role in ('member', 'viewer')", name="membership_role_known"),
        sa.CheckConstraint("account_id <> person_id", name="membership_of_another"),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.ForeignKeyConstraint(["person_id"], ["account.id"]),
        sa.PrimaryKeyConstraint("account_id", "person_id"),
    )
    op.create_index("ix_membership_person_id", "membership", ["person_id"])
    op.create_table(
        "invitation",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("email", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("token_sha256", sa.String(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("role in ('member', 'viewer')", name="invitation_role_known"),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("token_sha256"),
        sa.UniqueConstraint("account_id", "email", name="invitation_once"),
    )
    op.create_index("ix_invitation_expires_at", "invitation", ["expires_at"])
    for table, name in _COLUMNS:
        op.add_column(table, sa.Column(name, sa.String(), nullable=True))


def downgrade() -> None:
    # In the older schema nothing would end the keys of members with their membership.
    op.execute(
        "update api_key set revoked_at = created_at where created_by_id is not null and revoked_at is null"
    )
    for table, name in _COLUMNS:
        op.drop_column(table, name)
    op.drop_table("invitation")
    op.drop_table("membership")
