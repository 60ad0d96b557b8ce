"""Transactions, the write queue, and databases that are locked, full or unavailable."""

import asyncio
import os
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlmodel import Session, col, select, update
from structlog.testing import capture_logs

from api.db.database import Database
from api.errors import ServiceUnavailable
from billing.errors import UnknownAccount
from billing.ledger import accounts
from billing.ledger.models import Account
from tests.support.builders import NOON, make_account
from tests.support.databases import Postgres


@pytest.fixture
def impatient(migrated_database_url: str) -> Iterator[Database]:
    """A database that waits for locks for a fifth of a second only."""
    opened = Database(migrated_database_url, lock_wait_seconds=0.2)
    yield opened
    opened.close()


@pytest.fixture
def sqlite_path(tmp_path: Path, migrated_sqlite_file: Path) -> Path:
    path = tmp_path / "own.db"
    path.write_bytes(migrated_sqlite_file.read_bytes())
    return path


@pytest.fixture
def sqlite(sqlite_path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{sqlite_path}", lock_wait_seconds=0.2)
    yield opened
    opened.close()


def count(database: Database) -> int:
    with database.transaction() as session:
        return len(session.exec(select(Account.id)).all())


def add(session: Session) -> str:
    return make_account(session).id


def end_connections(postgres: Postgres, name: str) -> None:
    """End those to the database `name`, and wait until they have ended."""
    of_database = f"from pg_stat_activity where datname = '{name}'"
    postgres.execute(f"select pg_terminate_backend(pid, 5000) {of_database}")


class Gate:
    """Keeps the writer busy, so that what is submitted meanwhile waits in the queue together."""

    def __init__(self, database: Database) -> None:
        self._begun, self._open = threading.Event(), threading.Event()
        self._works = [database.submit(self._wait) for _ in range(1 if database.is_sqlite else 8)]
        self._begun.wait()

    def _wait(self, session: Session) -> None:
        self._begun.set()
        self._open.wait()

    def open(self) -> None:
        self._open.set()
        for work in self._works:
            work.result()


def test_a_write_is_committed_before_its_caller_resumes(database: Database) -> None:
    async def test() -> None:
        account_id = await database.run(add)
        other = await database.read(lambda session: session.get(Account, account_id))
        assert other is not None

    asyncio.run(test())


def test_a_write_that_raises_is_rolled_back_and_its_error_propagates(database: Database) -> None:
    def work(session: Session) -> None:
        add(session)
        raise UnknownAccount("on purpose")

    with pytest.raises(UnknownAccount, match="on purpose"):
        database.submit(work).result()
    assert count(database) == 0


def test_reads_refuse_to_write(database: Database) -> None:
    async def test() -> None:
        with pytest.raises(DBAPIError):
            await database.read(add)

    asyncio.run(test())
    assert count(database) == 0


def test_writes_of_one_caller_run_in_order(sqlite: Database) -> None:
    gate = Gate(sqlite)
    done: list[int] = []
    works = [sqlite.submit(lambda session, n=n: done.append(n)) for n in range(200)]  # type: ignore[misc]
    gate.open()
    for work in works:
        work.result()
    assert done == list(range(200))


def test_only_the_failed_writes_of_a_group_commit_are_rolled_back(sqlite: Database) -> None:
    def fails(session: Session) -> None:
        add(session)
        raise UnknownAccount("on purpose")

    def breaks_a_constraint(session: Session) -> None:
        account = make_account(session)
        session.execute(update(Account).where(col(Account.id) == account.id).values(available=-1))

    gate = Gate(sqlite)
    works = [sqlite.submit(work) for work in (add, fails, add, breaks_a_constraint, add)]
    gate.open()
    errors = [type(work.exception()) for work in works]
    assert errors == [type(None), UnknownAccount, type(None), IntegrityError, type(None)]
    kept = {work.result() for work in works if work.exception() is None}
    with sqlite.transaction() as session:
        assert set(session.exec(select(Account.id))) == kept
        assert len(kept) == 3


def test_a_failed_flush_is_rolled_back_alone(sqlite: Database) -> None:
    """SQLAlchemy answers a failed flush by rolling the whole transaction back."""

    def takes_a_taken_id(session: Session) -> None:
        add(session)
        account = make_account(session)
        copy = Account(**{**account.model_dump(), "email": "another@example.org"})
        session.expunge(account)
        session.add(copy)

    gate = Gate(sqlite)
    works = [sqlite.submit(work) for work in (add, takes_a_taken_id, add)]
    gate.open()
    errors = [type(work.exception()) for work in works]
    assert errors == [type(None), IntegrityError, type(None)]
    with sqlite.transaction() as session:
        assert set(session.exec(select(Account.id))) == {works[0].result(), works[2].result()}


def test_a_failed_group_commit_fails_every_write_in_it(sqlite: Database) -> None:
    """A deferred reference is checked at COMMIT only: one work spoils it for all."""

    def spoils(session: Session) -> None:
        session.execute(text("PRAGMA defer_foreign_keys=ON"))
        session.execute(
            text(
                "insert into api_key (id, account_id, name, first_characters, sha256, created_at)"
                " values ('key_1', 'acc_nobody', 'n', 'f', 's', '2026-01-15T12:00:00.000000Z')"
            )
        )

    gate = Gate(sqlite)
    works: list[Future[object]] = [sqlite.submit(work) for work in (add, spoils, add)]
    gate.open()
    assert all(isinstance(work.exception(), IntegrityError) for work in works)
    assert count(sqlite) == 0
    sqlite.submit(add).result()
    assert count(sqlite) == 1


def test_a_cancelled_caller_withdraws_its_queued_write(sqlite: Database) -> None:
    gate = Gate(sqlite)

    async def test() -> None:
        task = asyncio.ensure_future(sqlite.run(add))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(test())
    gate.open()
    assert count(sqlite) == 0


def test_closing_finishes_queued_writes_and_refuses_later_ones(migrated_database_url: str) -> None:
    database = Database(migrated_database_url)
    works = [database.submit(add) for _ in range(30)]
    database.close()
    assert len({work.result() for work in works}) == 30
    with pytest.raises(ServiceUnavailable):
        database.submit(add)
    with pytest.raises(ServiceUnavailable):
        asyncio.run(database.read(add))


def test_a_deadlock_is_resolved_by_a_retry(postgres: Postgres) -> None:
    name = postgres.create_database(template=postgres.migrated_template())
    database = Database(postgres.url(name))
    with database.transaction() as session:
        ids = [add(session), add(session)]
    both_hold_one = threading.Barrier(2)
    attempts: list[str] = []

    def work(session: Session, mine: str, other: str) -> None:
        attempts.append(mine)
        accounts.lock(session, mine)
        if len(attempts) <= 2:
            both_hold_one.wait()
        account = accounts.lock(session, other)
        account.available += 1

    works = [
        database.submit(lambda session: work(session, ids[0], ids[1])),
        database.submit(lambda session: work(session, ids[1], ids[0])),
    ]
    for one in works:
        one.result()
    # More often if the retry takes its lock again before the other one gets it.
    assert len(attempts) >= 3
    with database.transaction() as session:
        assert [session.get_one(Account, account_id).available for account_id in ids] == [1, 1]
    database.close()
    postgres.drop_database(name)


def test_a_serialization_failure_is_retried_with_a_new_session(postgres: Postgres) -> None:
    name = postgres.create_database(template=postgres.migrated_template())
    database = Database(postgres.url(name))
    with database.transaction() as session:
        account_id = add(session)
    seen: list[int] = []

    def work(session: Session) -> None:
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        account = session.get_one(Account, account_id)
        seen.append(account.available)
        if len(seen) == 1:
            with database.transaction() as rival:
                rival.get_one(Account, account_id).available = 5
        account.available += 1

    database.submit(work).result()
    assert seen == [0, 5]
    with database.transaction() as session:
        assert session.get_one(Account, account_id).available == 6
    database.close()
    postgres.drop_database(name)


def test_a_locked_database_is_unavailable_until_it_is_unlocked(impatient: Database) -> None:
    with impatient.transaction() as session:
        account_id = add(session)
    works: list[Future[Account]] = []
    with impatient.transaction() as session:
        accounts.lock(session, account_id)
        works = [impatient.submit(lambda session: accounts.lock(session, account_id)) for _ in range(3)]
        for work in works:
            error = work.exception()
            assert isinstance(error, ServiceUnavailable)
            assert error.retry_after_seconds is not None
            assert error.retry_after_seconds >= 1
    assert impatient.submit(lambda session: accounts.lock(session, account_id)).result().id == account_id


def test_reads_do_not_wait_for_a_writer(impatient: Database) -> None:
    async def test() -> None:
        with impatient.transaction() as session:
            add(session)
            found = await impatient.read(lambda reader: reader.exec(select(Account.id)).all())
            assert found == []

    asyncio.run(test())


def test_a_full_disk_is_unavailable_without_charges_until_space_is_freed(
    sqlite: Database,
) -> None:
    def limit_pages(pages: int) -> None:
        with sqlite.engine.connect() as connection:
            connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")

    for _ in range(3):
        sqlite.submit(add).result()
    limit_pages(1)  # SQLite takes the present size instead, so no page can be added.
    gate = Gate(sqlite)
    works = [sqlite.submit(fill) for _ in range(3)]
    small = sqlite.submit(lambda session: session.exec(select(Account.id)).all())
    with capture_logs() as logged:
        gate.open()
        for work in works:
            assert isinstance(work.exception(), ServiceUnavailable)
    assert [line["reason"] for line in logged] == ["database or disk is full"]
    assert len(small.result()) == 3  # One that needs no room is not made to suffer.
    assert count(sqlite) == 3
    limit_pages(1_000_000)
    sqlite.submit(fill).result()
    assert count(sqlite) == 3 + 500


def fill(session: Session) -> None:
    for _ in range(500):
        add(session)


def test_a_deleted_file_is_unavailable_until_it_is_restored(sqlite: Database, sqlite_path: Path) -> None:
    first = sqlite.submit(add).result()
    aside = sqlite_path.with_name("aside")
    with sqlite3.connect(sqlite_path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    sqlite_path.rename(aside)

    async def test() -> None:
        with pytest.raises(ServiceUnavailable):
            await sqlite.run(add)
        with pytest.raises(ServiceUnavailable):
            await sqlite.read(lambda session: session.get(Account, first))

    asyncio.run(test())
    assert not sqlite_path.exists(), "a new, empty database would have lost every balance"
    os.rename(aside, sqlite_path)  # noqa: PTH104 - the same words as above, the other way round
    second = sqlite.submit(add).result()
    with sqlite.transaction() as session:
        assert set(session.exec(select(Account.id))) == {first, second}


def test_a_file_replaced_by_a_backup_is_detected(sqlite: Database, sqlite_path: Path) -> None:
    backup = sqlite_path.with_name("backup")
    first = sqlite.submit(add).result()
    with sqlite3.connect(sqlite_path) as source, sqlite3.connect(backup) as target:
        source.backup(target)
    source.close()
    target.close()
    sqlite.submit(add).result()
    for name in (sqlite_path.name + "-wal", sqlite_path.name + "-shm"):
        sqlite_path.with_name(name).unlink()
    backup.rename(sqlite_path)
    third = sqlite.submit(add).result()
    with sqlite.transaction() as session:
        assert set(session.exec(select(Account.id))) == {first, third}


def test_a_stopped_server_is_unavailable_until_it_is_restarted(postgres: Postgres) -> None:
    name = postgres.create_database(template=postgres.migrated_template())
    database = Database(postgres.url(name))
    database.submit(add).result()

    def kill() -> None:
        postgres.execute(f"alter database {name} allow_connections false")
        end_connections(postgres, name)

    def dies_half_way(session: Session) -> None:
        add(session)
        kill()
        add(session)

    assert isinstance(database.submit(dies_half_way).exception(), ServiceUnavailable)
    assert isinstance(database.submit(add).exception(), ServiceUnavailable)
    postgres.execute(f"alter database {name} allow_connections true")
    database.submit(add).result()
    assert count(database) == 2
    database.close()
    postgres.drop_database(name)


def test_work_whose_connection_is_lost_before_its_commit_is_run_again(postgres: Postgres) -> None:
    name = postgres.create_database(template=postgres.migrated_template())
    database = Database(postgres.url(name))
    runs: list[str] = []

    def work(session: Session) -> str:
        runs.append(add(session))
        if len(runs) == 1:
            end_connections(postgres, name)
        return add(session)

    assert database.submit(work).result()
    assert (len(runs), count(database)) == (2, 2)
    end_connections(postgres, name)  # while idle, but used a moment ago
    assert asyncio.run(database.read(lambda session: len(session.exec(select(Account.id)).all()))) == 2
    database.close()
    postgres.drop_database(name)


def test_work_whose_connection_is_lost_by_its_commit_is_not_run_again(postgres: Postgres) -> None:
    name = postgres.create_database(template=postgres.migrated_template())
    database = Database(postgres.url(name))
    runs: list[str] = []

    def work(session: Session) -> None:
        runs.append(add(session))
        event.listen(session, "before_commit", lambda _: end_connections(postgres, name))

    assert isinstance(database.submit(work).exception(), ServiceUnavailable)
    assert (len(runs), count(database)) == (1, 0)
    database.close()
    postgres.drop_database(name)


def test_a_renamed_database_is_unavailable_and_the_log_names_it(postgres: Postgres) -> None:
    name = postgres.create_database(template=postgres.migrated_template())
    database = Database(postgres.url(name))
    database.submit(add).result()
    end_connections(postgres, name)
    postgres.execute(f"alter database {name} rename to {name}_away")
    with capture_logs() as logged:
        assert isinstance(database.submit(add).exception(), ServiceUnavailable)
    assert f'database "{name}" does not exist' in logged[-1]["reason"]
    database.close()
    postgres.drop_database(f"{name}_away")


def test_a_database_without_our_tables_is_unavailable(postgres: Postgres) -> None:
    name = postgres.create_database()
    database = Database(postgres.url(name))
    with capture_logs() as logged:
        assert isinstance(database.submit(add).exception(), ServiceUnavailable)
    assert 'relation "account" does not exist' in logged[0]["reason"]
    database.close()
    postgres.drop_database(name)


def test_only_supported_databases_are_accepted() -> None:
    for url in ("mysql://localhost/x", "sqlite://", "sqlite:///:memory:"):
        with pytest.raises(ValueError, match=r"SQLite|not supported"):
            Database(url)


def test_the_postgres_url_scheme_is_accepted(postgres: Postgres) -> None:
    name = postgres.create_database(template=postgres.migrated_template())
    database = Database(postgres.url(name).replace("postgresql+psycopg", "postgres"))
    assert count(database) == 0
    database.close()
    postgres.drop_database(name)


def test_database_errors_contain_no_values(database: Database) -> None:
    def work(session: Session) -> None:
        account = make_account(session)
        session.execute(update(Account).where(col(Account.id) == account.id).values(available=-12345))

    error = database.submit(work).exception()
    assert isinstance(error, IntegrityError)
    assert "-12345" not in str(error).replace(str(error.orig), "")


def test_a_stored_time_is_read_back_unchanged(database: Database) -> None:
    now = NOON.replace(microsecond=1)
    with database.transaction() as session:
        account_id = make_account(session, now=now).id
    with database.transaction() as session:
        assert session.get_one(Account, account_id).created_at == now
