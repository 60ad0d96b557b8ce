"""Migrates a database to a revision; safe to call in every process at start-up.

All migrations run in one transaction, so a failed one leaves the schema unchanged.
"""

import importlib.metadata
import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from filelock import FileLock
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from api.db import connections
from api.errors import ServiceUnavailable

_ENGINE = "dbos"
#: The tables of the task engine's library on SQLite. On PostgreSQL they have a schema of their own.
ENGINE_TABLES = frozenset(
    {
        "application_versions",
        "dbos_migrations",
        "notifications",
        "operation_outputs",
        "queues",
        "streams",
        "workflow_events",
        "workflow_events_history",
        "workflow_input",
        "workflow_output",
        "workflow_schedules",
        "workflow_status",
    }
)
# The key of the advisory lock, unlikely to be used by other programs: "bgeraser" in ASCII.
_LOCK_NUMBER = int.from_bytes(b"bgeraser", "big", signed=True)


class NewerSchema(ValueError):
    """The database was migrated by a newer version, whose schema this version does not know."""


def migrate(url: str, revision: str = "head") -> None:
    """Upgrade the database at `url`; creates a missing SQLite file. A second caller waits.

    Raises NewerSchema, and ServiceUnavailable if the database is unreachable, locked or full.
    """
    _alembic(url, lambda config: command.upgrade(config, revision))
    if revision == "head":
        _migrate_engine(url)


def downgrade(url: str, revision: str) -> None:
    """Downgrade to `revision`; "base" drops every table with its data."""
    _alembic(url, lambda config: command.downgrade(config, revision))


def write_revision(url: str, message: str) -> None:
    """For developers: draft the migration from the database at `url` to the current models."""
    _alembic(url, lambda config: command.revision(config, message, autogenerate=True))


def _alembic(url: str, run: Callable[[Config], object]) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    try:
        with locked_connection(url) as connection:
            _refuse_newer(config, connection)
            config.attributes["connection"] = connection
            run(config)
    except DBAPIError as error:
        if not connections.is_outage(error, writing=True):
            raise
        reason = str(error.orig).strip().partition("\n")[0]
        raise ServiceUnavailable(f"The database cannot be used: {reason}") from error


def _migrate_engine(url: str) -> None:
    """Let the task engine's library migrate its tables, once for each of its versions.

    It is imported only then, because that takes as long as half of a start.
    """
    version = importlib.metadata.version(_ENGINE)
    with locked_connection(url) as connection:
        found = connection.execute(text("select version from engine_schema where id = :id"), {"id": _ENGINE})
        migrated = found.scalar_one_or_none()
    if migrated == version:
        return
    from dbos import DBOS

    logging.getLogger(_ENGINE).setLevel(logging.WARNING)
    # Outside of our own transaction, which its indexes would wait for. It has a lock of its own.
    DBOS.migrate(connections.parse(url).render_as_string(hide_password=False))
    with locked_connection(url) as connection:
        connection.execute(text("delete from engine_schema where id = :id"), {"id": _ENGINE})
        connection.execute(
            text("insert into engine_schema (id, version) values (:id, :version)"),
            {"id": _ENGINE, "version": version},
        )


def _refuse_newer(config: Config, connection: Connection) -> None:
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    unknown = set(MigrationContext.configure(connection).get_current_heads()) - known
    if unknown:
        raise NewerSchema(
            "The database was made by a newer version of bgeraser (its schema is"
            f" {', '.join(sorted(unknown))}): install that version, or restore a backup from before it."
        )


@contextmanager
def locked_connection(url: str) -> Iterator[Connection]:
    """A connection in a transaction, exclusive among all callers of this function."""
    address = connections.parse(url)
    path = connections.sqlite_path(address)
    if path is None:
        with _engine_connection(url) as connection, connection.begin():
            # Both can take long: waiting for another replica's migration, and rewriting a table.
            connection.execute(text("set local lock_timeout = 0"))
            connection.execute(text("set local statement_timeout = 0"))
            connection.execute(text("select pg_advisory_xact_lock(:number)"), {"number": _LOCK_NUMBER})
            yield connection
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # SQLite does not wait for other processes when it first switches to write-ahead logging.
    with FileLock(f"{path}.lock"):
        path.touch(mode=0o600)
        with _engine_connection(url) as connection:
            driver_connection = connection.connection.driver_connection
            assert isinstance(driver_connection, sqlite3.Connection)
            # Altering a table drops and copies it, which would violate references; they are checked below.
            driver_connection.execute("PRAGMA foreign_keys=OFF")
            with connection.begin():
                yield connection
                broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
                if broken:
                    raise RuntimeError(f"the migration broke {len(broken)} references, e.g. {broken[0]}")


@contextmanager
def _engine_connection(url: str) -> Iterator[Connection]:
    engine = connections.open_engine(connections.parse(url), connections=1)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()
