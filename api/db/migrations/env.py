"""Alembic's environment. Uses the connection of `upgrade.py`, within its transaction and its lock."""

from typing import Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlmodel import SQLModel
from sqlmodel.sql.sqltypes import AutoString

from api.alerts import models as alert_models
from api.auth import models as auth_models
from api.batches import models as batch_models
from api.calls import models as call_models
from api.db import models as db_models
from api.db.migrations.upgrade import ENGINE_TABLES
from api.editor import models as editor_models
from api.images import models as image_models
from api.jobs import models as job_models
from api.memberships import models as membership_models
from api.operators import models as operator_models
from api.payments import models as payment_models
from api.webhooks import models as webhook_models
from billing.ledger import models as ledger_models
from billing.subscriptions import models as subscription_models
from billing.timestamps import UtcDateTime

#: Importing these modules registers their tables.
_MODELS = (
    alert_models,
    auth_models,
    batch_models,
    call_models,
    db_models,
    editor_models,
    image_models,
    job_models,
    membership_models,
    operator_models,
    payment_models,
    ledger_models,
    subscription_models,
    webhook_models,
)


def _is_ours(_entry: object, name: str | None, kind: str, _is_reflected: bool, _other: object) -> bool:
    """Leave out the tables of the task engine's library, which are beside ours on SQLite."""
    return kind != "table" or name not in ENGINE_TABLES


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
    include_object=_is_ours,
)
with context.begin_transaction():
    context.run_migrations()
