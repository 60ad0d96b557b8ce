"""Moves everything from one database to another, for an operator who outgrows SQLite."""

from sqlalchemy import Connection, Table, func, select
from sqlmodel import Session, SQLModel

from api.db import connections
from api.db.migrations import upgrade
from api.db.models import PeriodicWork
from billing.ledger.audit import audit
from billing.ledger.models import Account

_BATCH_ROWS = 1_000


class TransferRefused(Exception):
    """The databases are not fit for it; nothing was written."""


def copy_database(source_url: str, target_url: str) -> dict[str, int]:
    """Copies every row of every table; the number of rows by table.

    Both schemas are brought up to date first. The source is locked meanwhile, but a server that still runs
    on it would write there afterwards: stop it first. One transaction on the target:
    it has everything, with every balance as it was and every sum right, or nothing.

    Raises TransferRefused if the target has rows already or the source's books do not balance.
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
    """Every table but the one that says when background work is due, which a server fills by starting."""
    return [table for table in SQLModel.metadata.sorted_tables if table.name != PeriodicWork.__tablename__]


def _copy(source: Connection, target: Connection, table_name: str) -> int:
    table = SQLModel.metadata.tables[table_name]
    rows = source.execution_options(yield_per=_BATCH_ROWS).execute(select(table).order_by(*table.primary_key))
    copied = 0
    for batch in rows.mappings().partitions():
        target.execute(table.insert(), [dict(row) for row in batch])
        copied += len(batch)
    return copied


def _continue_numbering(target: Connection) -> None:
    """PostgreSQL counts apart from the rows, so copied numbers would be given out again."""
    if target.dialect.name != "postgresql":
        return
    for table in SQLModel.metadata.sorted_tables:
        column = table.autoincrement_column
        if column is not None:
            sequence = func.pg_get_serial_sequence(table.name, column.name)
            largest = select(func.max(column)).scalar_subquery()
            # Without rows it stays at its start: setval refuses null by doing nothing.
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
    # Sorted here: the two databases may sort text differently.
    return sorted((row.id, row.available, row.held) for row in connection.execute(query))
