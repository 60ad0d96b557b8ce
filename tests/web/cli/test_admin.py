"""The operator's commands, run as processes on real databases."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from sqlmodel import select

from api.auth.models import ApiKey
from api.db.database import Database
from api.operators.models import AuditEntry
from billing.ledger.models import Account, Entry


def _run(data_dir: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "web.cli", "admin", *arguments],
        env=os.environ | {"BGERASER_DATA_DIR": str(data_dir)},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


def _database(data_dir: Path) -> Database:
    return Database(f"sqlite:///{data_dir / 'bgeraser.db'}")


def test_a_new_account_has_the_credits_of_its_plan_and_its_goodwill(data_dir: Path) -> None:
    done = _run(data_dir, "create-account", "Shop@Example.com", "--plan", "standard", "--credits", "7")
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"bge_live_\w{38}\n", done.stdout)
    database = _database(data_dir)
    with database.transaction() as session:
        account = session.exec(select(Account)).one()
        assert (account.email, account.plan, account.available) == ("shop@example.com", "standard", 507)
    database.close()


def test_zero_credits_add_no_goodwill(data_dir: Path) -> None:
    assert _run(data_dir, "create-account", "a@example.com", "--credits", "0").returncode == 0
    database = _database(data_dir)
    with database.transaction() as session:
        assert [entry.amount for entry in session.exec(select(Entry))] == [15]
    database.close()


@pytest.mark.parametrize("credits_", ["-1", "1000001", "lots"])
def test_an_invalid_grant_is_refused_and_writes_nothing(data_dir: Path, credits_: str) -> None:
    done = _run(data_dir, "create-account", "a@example.com", "--credits", credits_)
    assert done.returncode == 2
    assert "--credits" in done.stderr
    assert not (data_dir / "bgeraser.db").exists()


def test_a_taken_address_is_refused_and_says_how_to_get_a_key(data_dir: Path) -> None:
    _run(data_dir, "create-account", "a@example.com")
    again = _run(data_dir, "create-account", "A@example.com")
    assert again.returncode == 1
    assert "create-key a@example.com" in again.stderr
    assert again.stdout == ""


def test_an_invalid_address_is_refused(data_dir: Path) -> None:
    assert "is not a valid email address" in _run(data_dir, "create-account", "nobody").stderr


def test_a_further_key_for_an_account(data_dir: Path) -> None:
    first = _run(data_dir, "create-account", "a@example.com").stdout
    second = _run(data_dir, "create-key", "a@example.com", "--name", "shop").stdout
    assert first != second
    database = _database(data_dir)
    with database.transaction() as session:
        keys = session.exec(select(ApiKey)).all()
        assert {key.name for key in keys} == {"command line", "shop"}
    database.close()


def test_a_key_for_an_unknown_account_is_refused(data_dir: Path) -> None:
    done = _run(data_dir, "create-key", "a@example.com")
    assert (done.returncode, done.stdout) == (1, "")
    assert "No account has the address a@example.com" in done.stderr


def test_the_audit_passes_on_a_balanced_ledger_and_fails_otherwise(data_dir: Path) -> None:
    _run(data_dir, "create-account", "a@example.com")
    assert _run(data_dir, "audit").returncode == 0
    database = _database(data_dir)
    with database.transaction() as session:
        account = session.exec(select(Account)).one()
        account.available += 1
    database.close()
    failed = _run(data_dir, "audit")
    assert failed.returncode == 1
    assert "available" in failed.stderr


def test_moving_to_another_database_keeps_the_balance(data_dir: Path, tmp_path: Path) -> None:
    _run(data_dir, "create-account", "a@example.com", "--credits", "3")
    source, target = f"sqlite:///{data_dir / 'bgeraser.db'}", f"sqlite:///{tmp_path / 'target.db'}"
    moved = _run(data_dir, "migrate-database", source, target)
    assert moved.returncode == 0, moved.stderr
    database = Database(target)
    with database.transaction() as session:
        assert session.exec(select(Account)).one().available == 18
    database.close()
    again = _run(data_dir, "migrate-database", source, target)
    assert again.returncode == 1
    assert "Nothing was copied" in again.stderr


@pytest.mark.parametrize(
    ("setting", "value", "reason"),
    [
        ("BGERASER_DATABASE_URL", "foo", "DATABASE_URL"),
        ("BGERASER_DATABASE_URL", "postgresql://nobody:secret@127.0.0.1:1/none", "refused"),
        ("BGERASER_DATA_DIR", "/proc/nowhere", "/proc/nowhere"),
    ],
)
def test_invalid_settings_end_a_command_with_one_sentence(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, setting: str, value: str, reason: str
) -> None:
    monkeypatch.setenv(setting, value)
    place = Path(value) if setting == "BGERASER_DATA_DIR" else data_dir
    done = _run(place, "create-account", "ada@example.com")
    assert done.returncode == 1
    assert reason in done.stderr
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr


def test_acts_of_the_command_line_are_in_the_audit_log(data_dir: Path) -> None:
    address = "shop@example.com"
    for arguments in (
        ("create-account", address, "--credits", "7"),
        ("create-key", address),
        ("grant-operator", address, "--reason", "runs the shop"),
        ("login-link", address),
        ("revoke-operator", address),
        ("suspend", address, "--reason", "stolen card"),
        ("restore", address),
    ):
        done = _run(data_dir, *arguments)
        assert done.returncode == 0, done.stderr
    database = _database(data_dir)
    with database.transaction() as session:
        account = session.exec(select(Account)).one()
        log = session.exec(select(AuditEntry).order_by(AuditEntry.id)).all()  # type: ignore[arg-type]
    database.close()
    assert [entry.act for entry in log] == [
        "create-account",
        "create-key",
        "grant-operator",
        "login-link",
        "revoke-operator",
        "suspend",
        "restore",
    ]
    assert {(entry.account_id, entry.operator_id) for entry in log} == {(account.id, None)}
    assert [entry.reason for entry in log][2] == "runs the shop"
    assert (account.operator_since, account.suspended_at) == (None, None)


@pytest.mark.parametrize("command", ["grant-operator", "revoke-operator", "suspend", "restore"])
def test_an_unknown_address_is_refused(data_dir: Path, command: str) -> None:
    done = _run(data_dir, command, "nobody@example.com")
    assert done.returncode == 1
    assert "nobody@example.com" in done.stderr
