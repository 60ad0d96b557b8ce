"""Copies all data from one database to another, for moving from SQLite to PostgreSQL."""

from sqlalchemy import Connection, Table, func, select
from sqlmodel import Session, SQLModel

from api.db import connections
from api.db.migrations import upgrade
from api.db.models import EngineProcess, EngineSchema, PeriodicWork
from billing.ledger.audit import audit
from billing.ledger.models import Account

_BATCH_ROWS = 1_000


class TransferRefused(Exception):
    """The transfer was refused and nothing was copied."""


def copy_database(source_url: str, target_url: str) -> dict[str, int]:
    """Copy every row of every table; returns the number of rows by table.

    Both schemas are migrated first. The source is locked meanwhile, but a server that still uses it would
    write to it afterwards: stop the server first. The target is written in one transaction, which is
    committed only if every balance equals the source's and passes the audit.

    Raises TransferRefused if the target has rows already or the source does not pass the audit.
    """
    if source_url == target_url:
        raise TransferRefused("source and target are the same database")
    source_path = connections.sqlite_path(connections.parse(source_url))
    if source_path is not None and not source_path.exists():
        raise TransferRefused(f"there is no database {source_path}")
    upgrade.migrate(source_url)
    upgrade.migrate(target_url)
    with upgrade.locked_connection(source_url) as source, upgrade.locked_connection(target_url) as target:
        _require_balance(source, "source")
        _require_empty(target)
        copied = {table.name: _copy(source, target, table.name) for table in _copied_tables()}
        _continue_numbering(target)
        if _balances(source) != _balances(target):
            raise TransferRefused("the copied balances differ from the source's")
        _require_balance(target, "copy")
    return copied


def _copied_tables() -> list[Table]:
    """All tables except those about the server's processes, which fill them when they start."""
    left_out = {each.__tablename__ for each in (PeriodicWork, EngineProcess, EngineSchema)}
    return [table for table in SQLModel.metadata.sorted_tables if table.name not in left_out]


def _copy(source: Connection, target: Connection, table_name: str) -> int:
    table = SQLModel.metadata.tables[table_name]
    rows = source.execution_options(yield_per=_BATCH_ROWS).execute(select(table).order_by(*table.primary_key))
    copied = 0
    for batch in rows.mappings().partitions():
        target.execute(table.insert(), [dict(row) for row in batch])
        copied += len(batch)
    return copied


def _continue_numbering(target: Connection) -> None:
    """Advance the sequences of PostgreSQL, which would otherwise assign the copied numbers again."""
    if target.dialect.name != "postgresql":
        return
    for table in SQLModel.metadata.sorted_tables:
        column = table.autoincrement_column
        if column is not None:
            sequence = func.pg_get_serial_sequence(table.name, column.name)
            largest = select(func.max(column)).scalar_subquery()
            # For an empty table the maximum is null, and setval does nothing.
            target.execute(select(func.setval(sequence, largest)))


def _require_empty(target: Connection) -> None:
    for table in _copied_tables():
        if target.execute(select(table).limit(1)).first() is not None:
            raise TransferRefused(f"the target's table {table.name} has rows already")


def _require_balance(connection: Connection, name: str) -> None:
    with Session(connection, join_transaction_mode="rollback_only") as session:
        drifts = audit(session)
    if drifts:
        raise TransferRefused(f"the books of the {name} do not balance: {drifts[0]} ({len(drifts)} in all)")


def _balances(connection: Connection) -> list[tuple[str, int, int]]:
    table = SQLModel.metadata.tables[str(Account.__tablename__)]
    query = select(table.c.id, table.c.available, table.c.held)
    # Sorted in Python, because the two databases may sort text differently.
    return sorted((row.id, row.available, row.held) for row in connection.execute(query))
