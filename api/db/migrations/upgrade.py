"""Brings a database's schema to a revision; safe to call in every process at start-up.

One transaction for all of it: a migration that fails leaves the schema as it was.
"""

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

# Any number that no other program takes in the same PostgreSQL database: "bgeraser" in ASCII.
_LOCK_NUMBER = int.from_bytes(b"bgeraser", "big", signed=True)


class NewerSchema(ValueError):
    """The database belongs to a newer version of this program, which alone knows how to read it."""


def migrate(url: str, revision: str = "head") -> None:
    """Upgrades the database at `url`, which it creates if it is an SQLite file; a second caller waits.

    Raises ServiceUnavailable if the database is gone, locked or full, and NewerSchema.
    """
    _alembic(url, lambda config: command.upgrade(config, revision))


def downgrade(url: str, revision: str) -> None:
    """Goes back to `revision`; "base" removes every table with everything in it."""
    _alembic(url, lambda config: command.downgrade(config, revision))


def write_revision(url: str, message: str) -> None:
    """For developers: drafts the migration that turns the database at `url` into what the models say."""
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
        raise ServiceUnavailable("The database cannot be used: it is gone, locked or full.") from error


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
    """A connection in a transaction that no other caller of this function has at the same time."""
    address = connections.parse(url)
    path = connections.sqlite_path(address)
    if path is None:
        with _engine_connection(url) as connection, connection.begin():
            # Both waits may be long: another replica's migration, and a table being rewritten.
            connection.execute(text("set local lock_timeout = 0"))
            connection.execute(text("set local statement_timeout = 0"))
            connection.execute(text("select pg_advisory_xact_lock(:number)"), {"number": _LOCK_NUMBER})
            yield connection
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # The first switch to write-ahead logging does not wait for its turn by itself.
    with FileLock(f"{path}.lock"):
        path.touch(mode=0o600)
        with _engine_connection(url) as connection:
            driver_connection = connection.connection.driver_connection
            assert isinstance(driver_connection, sqlite3.Connection)
            # Copying a table drops the old one, which its references must survive; they are checked below.
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
