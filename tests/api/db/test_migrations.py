"""Migrations up and down, with data, by several processes, and in agreement with the models."""

import concurrent.futures
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, inspect, text
from sqlmodel import SQLModel

from api.auth import api_keys
from api.db import append_only
from api.db.database import Database
from api.db.migrations import upgrade
from api.db.migrations.upgrade import ENGINE_TABLES
from api.db.models import EngineProcess
from billing.ledger import constraints
from billing.ledger.audit import audit
from tests.support.alert_rows import make_alert
from tests.support.auth_rows import sign_up
from tests.support.batch_rows import make_batch, make_image, name_in_steps
from tests.support.editor_rows import edit
from tests.support.job_rows import make_job
from tests.support.load import NOON, PROCESSES, account_with, admitted, succeed
from tests.support.member_rows import take_in
from tests.support.operator_rows import operate
from tests.support.stripe_rows import pay
from tests.support.webhook_rows import make_delivery

REVISIONS = [
    "0001",
    "0002",
    "0003",
    "0004",
    "0005",
    "0006",
    "0007",
    "0008",
    "0009",
    "0010",
    "0011",
    "0012",
    "0013",
    "0014",
    "0015",
    "0016",
    "0017",
    "0018",
    "0019",
    "0020",
    "0021",
]


def fill(url: str) -> None:
    """Every table gets rows."""
    database = Database(url)
    with database.transaction() as session:
        account = account_with(session, credits=4)
        api_keys.create(session, account.id, "n", NOON)
        sign_up(session, account.id, NOON)
        edit(session, account.id, NOON)
        pay(session, account.id, NOON)
        operate(session, account.id, NOON)
        take_in(session, account.id, NOON)
        succeed(session, admitted(session, account.id, key="k"))
        admitted(session, account.id, key="runs")
        make_job(session, account.id, NOON)
        make_delivery(session, account.id, NOON)
        make_alert(session, account.id, NOON)
        batch = make_batch(session, account.id, NOON, ["a.png"])
        name_in_steps(session, batch, make_image(session, account.id, NOON), NOON)
        session.add(EngineProcess(id="process_1", lease_until=NOON))
    database.close()


def triggers(connection: Connection) -> set[tuple[str, str]]:
    """Name and text of every trigger, in the database's own words."""
    query = (
        "select name, sql from sqlite_master where type = 'trigger'"
        if connection.dialect.name == "sqlite"
        else "select tgname, pg_get_triggerdef(t.oid) from pg_trigger t join pg_class c on c.oid = tgrelid"
        " where not tgisinternal and relnamespace = 'public'::regnamespace"
    )
    return {(name, definition) for name, definition in connection.execute(text(query))}


def test_the_migrations_create_the_tables_of_the_models(migrated_database_url: str) -> None:
    database = Database(migrated_database_url)
    with database.engine.connect() as connection:
        options = {
            "compare_server_default": True,
            "include_object": lambda _entry, name, *_: name not in ENGINE_TABLES,
        }
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, SQLModel.metadata) == []
    database.close()


def test_migrating_registers_the_model_of_every_table(tmp_path: Path) -> None:
    """In a process that imports no model itself: a transfer copies the registered tables only."""
    url = f"sqlite:///{tmp_path / 'a.db'}"
    program = (
        "import sys; from api.db.migrations import upgrade; upgrade.migrate(sys.argv[1]);"
        "from sqlmodel import SQLModel; print(*SQLModel.metadata.tables, sep='\\n')"
    )
    run = subprocess.run([sys.executable, "-c", program, url], capture_output=True, text=True, check=True)
    database = Database(url)
    tables = set(inspect(database.engine).get_table_names())
    database.close()
    assert set(run.stdout.split()) == tables - {"alembic_version"} - ENGINE_TABLES


def test_the_migrations_create_the_checks_and_triggers_of_the_models(database_url: str) -> None:
    """Alembic compares neither, so the same is made from the models directly and compared."""
    upgrade.migrate(database_url)
    migrated = schema_of(database_url)
    upgrade.downgrade(database_url, "base")
    with upgrade.locked_connection(database_url) as connection:
        SQLModel.metadata.create_all(connection)
        dialect = connection.dialect.name
        same_entry = "id = new.id or (operator_id = new.operator_id and form_token = new.form_token)"
        for statement in (
            *constraints.statements(dialect),
            *append_only.statements(dialect, "audit_log", same_entry),
        ):
            connection.execute(text(statement))
    described = schema_of(database_url)
    assert described["triggers"]
    assert migrated == described


def schema_of(url: str) -> dict[str, Any]:
    database = Database(url)
    with database.engine.connect() as connection:
        inspector = inspect(connection)
        names = set(inspector.get_table_names()) - {"alembic_version"} - ENGINE_TABLES
        found = {
            "triggers": triggers(connection),
            "checks": {
                (name, check["name"], check["sqltext"])
                for name in names
                for check in inspector.get_check_constraints(name)
            },
            "references": {
                (name, *key["constrained_columns"], key["referred_table"])
                for name in names
                for key in inspector.get_foreign_keys(name)
            },
            "nullable": {
                (name, column["name"], column["nullable"], str(column["type"]))
                for name in names
                for column in inspector.get_columns(name)
            },
        }
    database.close()
    return found


def test_every_migration_downgrades_and_upgrades_with_data_in_the_tables(database_url: str) -> None:
    upgrade.migrate(database_url)
    fill(database_url)
    for revision in [*reversed(REVISIONS[:-1]), "base"]:
        upgrade.downgrade(database_url, revision)
    database = Database(database_url)
    with database.engine.connect() as connection:
        assert inspect(connection).get_table_names() == ["alembic_version"]
        assert triggers(connection) == set()
    database.close()
    for revision in REVISIONS:
        upgrade.migrate(database_url, revision)
    fill(database_url)
    database = Database(database_url)
    with database.transaction() as session:
        assert audit(session) == []
    database.close()


def test_the_files_that_steps_of_older_batches_name_are_found(database_url: str) -> None:
    upgrade.migrate(database_url)
    fill(database_url)
    database = Database(database_url)

    def found() -> list[tuple[str, str]]:
        with database.transaction() as session:
            rows = session.connection().execute(text("select batch_id, image_id from batch_step_file"))
            return [(batch_id, image_id) for batch_id, image_id in rows]

    before = found()
    upgrade.downgrade(database_url, "0014")
    upgrade.migrate(database_url)
    assert len(before) == 1
    assert found() == before
    database.close()


def test_migrating_an_up_to_date_database_changes_nothing(database_url: str) -> None:
    upgrade.migrate(database_url)
    fill(database_url)
    before = schema_of(database_url)
    upgrade.migrate(database_url)
    assert schema_of(database_url) == before
    database = Database(database_url)
    with database.transaction() as session:
        assert audit(session) == []
        assert session.connection().execute(text("select count(*) from entry")).scalar() == 2
    database.close()


def test_four_processes_may_migrate_at_once(database_url: str) -> None:
    with concurrent.futures.ProcessPoolExecutor(4, mp_context=PROCESSES) as pool:
        for each in [pool.submit(upgrade.migrate, database_url) for _ in range(8)]:
            each.result()
    fill(database_url)


def test_a_failed_migration_leaves_the_schema_unchanged(database_url: str) -> None:
    """A table that is in the way makes the last of the statements fail."""
    with upgrade.locked_connection(database_url) as connection:
        connection.execute(text("create table replay (id integer)"))
    with pytest.raises(Exception, match="replay"):
        upgrade.migrate(database_url)
    database = Database(database_url)
    with database.engine.connect() as connection:
        assert inspect(connection).get_table_names() == ["replay"]
    database.close()


def test_an_unknown_database_is_refused() -> None:
    with pytest.raises(ValueError, match="not supported"):
        upgrade.migrate("mysql://localhost/x")
