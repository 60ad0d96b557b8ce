"""Opens connections to SQLite and PostgreSQL, and classifies their errors as outages and conflicts."""

import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, InvalidatePoolError, OperationalError
from sqlalchemy.pool import QueuePool

LOCK_WAIT_SECONDS = 10.0
_TRUSTED_SECONDS = 1.0  # so long after its last use a connection is taken to be alive
_POSTGRES_OPTIONS = "-c statement_timeout=30s -c idle_in_transaction_session_timeout=60s"
# Primary result codes: BUSY, LOCKED, NOMEM, IOERR, CORRUPT, FULL, CANTOPEN, PROTOCOL, NOTADB; READONLY.
_SQLITE_OUTAGES = {5, 6, 7, 10, 11, 13, 14, 15, 26}
_SQLITE_READ_ONLY = 8
# Classes: connection, insufficient resources (disk full, too many connections), lock not available,
# operator intervention (shutting down, cannot connect now), system error.
_POSTGRES_OUTAGE_CLASSES = {"08", "53", "57", "58"}
_POSTGRES_LOCKED = "55P03"
_POSTGRES_READ_ONLY = "25006"  # a standby server, say
_POSTGRES_NO_TABLE = "42P01"
_POSTGRES_CONFLICTS = {"40001", "40P01"}  # serialization failure, deadlock: always rolled back


def parse(url: str) -> URL:
    """The address with the driver that this project uses. Raises ValueError for other databases."""
    try:
        address = make_url(url)
    except ArgumentError:
        # The message does not repeat the address, which may contain a password.
        raise ValueError(
            "BGERASER_DATABASE_URL must be sqlite:///path or postgresql://user:password@host/name"
        ) from None
    backend = address.get_backend_name()
    if backend in ("postgresql", "postgres"):  # Some hosting providers use the old name.
        return address.set(drivername="postgresql+psycopg")
    if backend != "sqlite":
        raise ValueError(f"{backend} is not supported: use sqlite:///path or postgresql://…")
    if address.database in (None, "", ":memory:"):
        raise ValueError("SQLite needs a file: every thread and process shares it")
    return address


def sqlite_path(address: URL) -> Path | None:
    return Path(address.database or "") if address.get_backend_name() == "sqlite" else None


def open_engine(
    address: URL, *, connections: int, read_only: bool = False, lock_wait_seconds: float = LOCK_WAIT_SECONDS
) -> Engine:
    """An engine whose write transactions begin with BEGIN IMMEDIATE on SQLite.

    SQLAlchemy's default SQLite transaction begins only at the first write, after the balance was read, so
    concurrent calls oversold credits without an error.
    """
    path = sqlite_path(address)
    if path is not None:
        return _open_sqlite(path, connections, read_only, lock_wait_seconds)
    options = f"{_POSTGRES_OPTIONS} -c lock_timeout={round(lock_wait_seconds * 1000)}ms"
    engine = create_engine(
        address,
        pool_size=connections,
        max_overflow=connections,
        pool_timeout=lock_wait_seconds,
        hide_parameters=True,  # errors and logs name no addresses, hashes or answers
        isolation_level="READ COMMITTED",  # rows are locked explicitly, the account's first
        connect_args={"options": options, "connect_timeout": 5},
    )
    _check_idle_connections(engine)
    return engine.execution_options(postgresql_readonly=True) if read_only else engine


def _check_idle_connections(engine: Engine) -> None:
    """Replace connections that died while they were idle, before they are used.

    SQLAlchemy's own `pool_pre_ping` asks the server before every transaction, also between two that follow
    each other at once; a connection that dies within that second fails its transaction, which is run again.
    """

    @event.listens_for(engine, "checkin")
    def note_time(connection: Any, record: Any) -> None:  # noqa: ARG001 - SQLAlchemy's signature
        record.info["idle_since"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def check(connection: Any, record: Any, proxy: Any) -> None:  # noqa: ARG001 - likewise
        idle_since = record.info.get("idle_since")
        if idle_since is None or time.monotonic() - idle_since < _TRUSTED_SECONDS:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            # Those of the pool that are as old are dead too.
            raise InvalidatePoolError from error


def _open_sqlite(path: Path, connections: int, read_only: bool, lock_wait_seconds: float) -> Engine:
    def connect() -> sqlite3.Connection:
        # mode=rw: a missing file is an error instead of a new, empty database. Migrations create it.
        address = f"file:{quote(str(path.absolute()))}?mode=rw"
        return sqlite3.connect(
            address, uri=True, timeout=lock_wait_seconds, isolation_level=None, check_same_thread=False
        )

    engine = create_engine(
        "sqlite://",
        creator=connect,
        poolclass=QueuePool,
        pool_size=connections,
        max_overflow=connections,
        pool_timeout=lock_wait_seconds,
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def configure(connection: Any, record: Any) -> None:  # noqa: ARG001 - SQLAlchemy's signature
        cursor = connection.cursor()
        cursor.execute("PRAGMA foreign_keys=ON")
        # Without this, INSERT OR REPLACE would delete a row without firing its triggers.
        cursor.execute("PRAGMA recursive_triggers=ON")
        if read_only:
            cursor.execute("PRAGMA query_only=ON")
        else:
            cursor.execute("PRAGMA journal_mode=WAL")
            cursor.execute("PRAGMA synchronous=FULL")  # a committed charge survives a power cut
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if read_only:
            connection.exec_driver_sql("BEGIN")
        else:
            _begin_immediate(connection, lock_wait_seconds)

    return engine


def _begin_immediate(connection: Connection, wait_seconds: float) -> None:
    """Take the write lock, retrying at random intervals of about 1.5 ms.

    SQLite's own retries are up to 100 ms apart and nearly always miss the gap between two transactions of a
    busy writer: some processes waited for 8 s.
    """
    driver_connection = _driver_connection(connection)
    give_up_at = time.monotonic() + wait_seconds
    driver_connection.execute("PRAGMA busy_timeout=0")
    try:
        while time.monotonic() < give_up_at:
            try:
                driver_connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                    break
            else:
                return
            time.sleep(random.uniform(0.0005, 0.0025))  # noqa: S311 - jitter, not a secret
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # Raises the error as SQLAlchemy's.
    finally:
        driver_connection.execute(f"PRAGMA busy_timeout={round(wait_seconds * 1000)}")


@contextmanager
def savepoint(connection: Connection) -> Iterator[None]:
    """A savepoint in an SQLite transaction, rolled back if the block raises.

    Uses the driver directly: SQLAlchemy's handling of savepoints took a sixth of the time of an admission.
    """
    driver_connection = _driver_connection(connection)
    driver_connection.execute("SAVEPOINT work")
    try:
        yield
    except Exception:
        if driver_connection.in_transaction:
            driver_connection.execute("ROLLBACK TO work")
            driver_connection.execute("RELEASE work")
        raise
    driver_connection.execute("RELEASE work")


def in_transaction(connection: Connection) -> bool:
    """Whether the SQLite transaction is still open; some errors roll all of it back."""
    return _driver_connection(connection).in_transaction


def _driver_connection(connection: Connection) -> sqlite3.Connection:
    driver_connection = connection.connection.driver_connection
    assert isinstance(driver_connection, sqlite3.Connection)
    return driver_connection


def is_conflict(error: DBAPIError) -> bool:
    """Whether a retry can succeed at once: after a serialization failure or a deadlock."""
    return getattr(error.orig, "sqlstate", None) in _POSTGRES_CONFLICTS


def is_lost(error: BaseException | None) -> bool:
    """Whether the connection was lost, so that another one may work."""
    return isinstance(error, DBAPIError) and error.connection_invalidated


def is_outage(error: DBAPIError, *, writing: bool) -> bool:
    """Whether the database is locked, full, unreachable or replaced, so that the statement is not at fault.

    A refusal to write is an outage for a writer but a defect for a reader. A missing table means that the
    database was replaced by one without our schema.
    """
    if isinstance(error.orig, sqlite3.Error):
        code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
        if code in _SQLITE_OUTAGES or str(error.orig).startswith("no such table"):
            return True
        return writing and code == _SQLITE_READ_ONLY
    sqlstate = getattr(error.orig, "sqlstate", None)
    if error.connection_invalidated:
        return True
    if sqlstate is None:
        return isinstance(error, OperationalError | InterfaceError)
    if sqlstate == _POSTGRES_READ_ONLY:
        return writing
    if sqlstate == _POSTGRES_NO_TABLE:
        return True
    return sqlstate[:2] in _POSTGRES_OUTAGE_CLASSES or sqlstate == _POSTGRES_LOCKED
