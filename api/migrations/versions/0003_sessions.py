"""People: passwords, sessions, one-time tokens, linked identities."""

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
