"""Alembic's environment. Uses the connection of `upgrade.py`, within its transaction and its lock."""

from typing import Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlmodel import SQLModel
from sqlmodel.sql.sqltypes import AutoString

from api.auth import models as people_models
from api.db import models as api_models
from api.editor import models as editor_models
from billing.ledger import models as billing_models
from billing.subscriptions import models
from billing.timestamps import UtcDateTime

# Importing the modules registers their tables.
assert {
    api_models.Replay.__tablename__,
    billing_models.Entry.__tablename__,
    editor_models.Step.__tablename__,
    people_models.BrowserSession.__tablename__,
    models.Subscription.__tablename__,
} <= SQLModel.metadata.tables.keys()


def _spell(kind: str, column_type: object, autogenerate: AutogenContext) -> str | Literal[False]:
    """Render our own column types in drafted migrations."""
    if kind == "type" and isinstance(column_type, AutoString):
        return "sa.String()"
    if kind == "type" and isinstance(column_type, UtcDateTime):
        autogenerate.imports.add("from billing.timestamps import UtcDateTime")
        return "UtcDateTime()"
    return False


connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=SQLModel.metadata,
    # SQLite can alter most of a table only by copying it.
    render_as_batch=connection.dialect.name == "sqlite",
    render_item=_spell,
)
with context.begin_transaction():
    context.run_migrations()
