"""Copying to another database preserves every balance or changes nothing."""

import random
import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlmodel import SQLModel

from api.auth import api_keys
from api.calls import admission, call_log
from api.calls.admission import Replayed
from api.calls.models import CallRecord
from api.db.database import Database
from api.db.migrations import upgrade
from api.db.models import EngineProcess, EngineSchema, PeriodicWork
from api.db.transfer import TransferRefused, copy_database
from api.editor.models import BrandColors, SharedRun
from billing.ledger import ledger
from billing.ledger.audit import audit
from tests.support.alert_rows import make_alert
from tests.support.auth_rows import sign_up
from tests.support.batch_rows import make_batch, make_image, name_in_steps
from tests.support.databases import Postgres
from tests.support.editor_rows import edit
from tests.support.job_rows import make_job
from tests.support.load import NOON, account_with, admit, admitted, succeed
from tests.support.member_rows import take_in
from tests.support.operator_rows import operate
from tests.support.stripe_rows import pay
from tests.support.webhook_rows import make_delivery


@pytest.fixture
def source_url(tmp_path: Path, migrated_sqlite_file: Path) -> str:
    path = tmp_path / "source.db"
    path.write_bytes(migrated_sqlite_file.read_bytes())
    return f"sqlite:///{path}"


@pytest.fixture
def target_url(postgres: Postgres) -> Iterator[str]:
    name = postgres.create_database()
    yield postgres.url(name)
    postgres.drop_database(name)


def live_a_little(url: str, accounts: int = 12) -> str:
    """Accounts with a past: successes, failures, refunds, expiries, calls that run. The last one's id."""
    chance = random.Random(7)
    database = Database(url)
    with database.transaction() as session:
        for number in range(accounts):
            account = account_with(session, credits=50)
            key, _ = api_keys.create(session, account.id, "n", NOON)
            sign_up(session, account.id, NOON)
            edit(session, account.id, NOON)
            session.add(BrandColors(account_id=account.id, colors="#1f3a5f"))
            session.add(
                SharedRun(
                    id=f"run_{number}",
                    project_id="prj_1",
                    key="a",
                    owner=account.id,
                    tool="crop",
                    status="queued",
                    state="{}",
                    written_at=NOON,
                )
            )
            pay(session, account.id, NOON)
            operate(session, account.id, NOON)
            take_in(session, account.id, NOON)
            make_job(session, account.id, NOON)
            make_delivery(session, account.id, NOON)
            make_alert(session, account.id, NOON)
            batch = make_batch(session, account.id, NOON, ["a.png"])
            name_in_steps(session, batch, make_image(session, account.id, NOON), NOON)
            call_log.add(session, CallRecord(**logged(f"req_{number}", account.id)))
            for call_number in range(chance.randrange(20)):
                call = admitted(session, account.id, key=f"{call_number}", budget_id=key.id)
                match chance.randrange(4):
                    case 0:
                        admission.settle_failure(session, call, now=NOON, stored_answer=(422, b"\0\xff"))
                    case 1:
                        succeed(session, call)
                        ledger.refund(session, call.hold_id, now=NOON)
                    case 2:
                        succeed(session, call)
            if number % 3 == 0:
                ledger.refresh(session, account, NOON + timedelta(days=40))
        account = account_with(session, credits=2)
        succeed(session, admitted(session, account.id, key="last"), body=bytes(range(256)))
    database.close()
    return account.id


def logged(request_id: str, account_id: str) -> dict[str, Any]:
    when = {"day": "2026-11-22", "started_at": NOON, "duration_ms": 7}
    return {"request_id": request_id, "account_id": account_id, "tool": "crop", "status_code": 200, **when}


#: Tables that a transfer leaves to the server.
ABOUT_PROCESSES = {each.__tablename__ for each in (PeriodicWork, EngineProcess, EngineSchema)}


def contents(url: str) -> dict[str, list[tuple[Any, ...]]]:
    database = Database(url)
    with database.transaction() as session:
        found = {
            table.name: sorted(tuple(row) for row in session.execute(select(table)))
            for table in SQLModel.metadata.sorted_tables
            if table.name not in ABOUT_PROCESSES
        }
    database.close()
    return found


def test_every_row_is_copied_and_the_service_continues_on_the_target(
    source_url: str, target_url: str
) -> None:
    account_id = live_a_little(source_url)
    before = contents(source_url)
    copied = copy_database(source_url, target_url)
    assert contents(target_url) == before == contents(source_url)
    assert copied == {name: len(rows) for name, rows in before.items()}
    assert all(copied.values()), "a table without rows would prove nothing"

    database = Database(target_url)
    with database.transaction() as session:
        replay = admit(session, account_id, key="last")
        assert isinstance(replay, Replayed)
        assert replay.answer.body == bytes(range(256))
        succeed(session, admitted(session, account_id, key="new"))  # Its entry gets a number of its own.
        assert audit(session) == []
    database.close()


def test_more_rows_than_one_batch_are_copied(source_url: str, target_url: str) -> None:
    database = Database(source_url)
    with database.transaction() as session:
        for _ in range(2_500):
            account_with(session, credits=0)
    database.close()
    assert copy_database(source_url, target_url)["account"] == 2_500


def test_an_empty_database_can_be_copied_and_used(source_url: str, target_url: str) -> None:
    assert set(copy_database(source_url, target_url).values()) == {0}
    live_a_little(target_url, accounts=1)


def test_a_target_with_rows_is_refused_and_unchanged(source_url: str, target_url: str) -> None:
    live_a_little(source_url)
    copy_database(source_url, target_url)
    before = contents(target_url)
    with pytest.raises(TransferRefused, match="has rows already"):
        copy_database(source_url, target_url)
    assert contents(target_url) == before


def test_a_source_that_fails_the_audit_is_refused(source_url: str, target_url: str) -> None:
    account_id = live_a_little(source_url)
    with sqlite3.connect(source_url.removeprefix("sqlite:///")) as connection:
        connection.execute("update account set available = available + 1 where id = ?", (account_id,))
    connection.close()
    with pytest.raises(TransferRefused, match=account_id):
        copy_database(source_url, target_url)
    assert not any(contents(target_url).values())


def test_a_copy_that_fails_half_way_leaves_the_target_empty(source_url: str, target_url: str) -> None:
    """The answers are copied last; a check that only the target has refuses them."""
    live_a_little(source_url)
    upgrade.migrate(target_url)
    database = Database(target_url)
    with database.engine.begin() as connection:
        connection.execute(text("alter table replay add constraint refuse_all check (false)"))
    database.close()
    with pytest.raises(Exception, match="refuse_all"):
        copy_database(source_url, target_url)
    assert not any(contents(target_url).values())


def test_a_misspelt_source_is_refused_instead_of_created(tmp_path: Path, target_url: str) -> None:
    with pytest.raises(TransferRefused, match="no database"):
        copy_database(f"sqlite:///{tmp_path / 'misspelt.db'}", target_url)
    assert not (tmp_path / "misspelt.db").exists()


def test_copying_a_database_onto_itself_is_refused(source_url: str) -> None:
    with pytest.raises(TransferRefused, match="same"):
        copy_database(source_url, source_url)
