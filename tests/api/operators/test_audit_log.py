"""The audit log: written with the act, never changed, listed in pages and as CSV."""

import csv
import io
import sqlite3
from contextlib import closing

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session, select

from api.auth import account_deletion
from api.db.database import Database
from api.operators import acts, audit_log
from api.operators.acts import ActRequest
from api.operators.audit_log import COMMAND_LINE, Actor, LogFilter
from api.operators.models import Act, AuditEntry
from billing.ledger.models import Account
from tests.support.auth_rows import FORMER
from tests.support.builders import NOON
from tests.support.load import account_with
from tests.support.operator_rows import make_operator


def write(
    session: Session, account_id: str | None, operator_id: str | None = None, reason: str = "r"
) -> None:
    audit_log.append(session, Actor(operator_id), Act.SUSPEND, account_id=account_id, reason=reason, now=NOON)


@pytest.mark.parametrize(
    "statement",
    ["update audit_log set reason = 'other'", "delete from audit_log", "truncate audit_log"],
)
def test_the_database_refuses_to_change_the_log(database: Database, statement: str) -> None:
    if database.is_sqlite and statement.startswith("truncate"):
        pytest.skip("SQLite has no TRUNCATE")
    with database.transaction() as session:
        write(session, account_with(session, 0).id)
    with pytest.raises(DBAPIError, match="rows of audit_log never change"), database.transaction() as session:
        session.execute(text(statement))
    with database.transaction() as session:
        assert session.exec(select(AuditEntry)).one().reason == "r"


def test_an_entry_is_not_replaced_by_a_client_of_the_file(database: Database) -> None:
    if not database.is_sqlite:
        pytest.skip("INSERT OR REPLACE is SQLite's")
    with database.transaction() as session:
        write(session, account_with(session, 0).id)
        (number,) = session.exec(select(AuditEntry.id)).all()
        (file,) = session.execute(text("select file from pragma_database_list where name = 'main'")).one()
    with (
        closing(sqlite3.connect(file)) as client,
        pytest.raises(sqlite3.IntegrityError, match="never change"),
    ):
        client.execute(
            "insert or replace into audit_log"
            " (id, created_at, act, before, after, reason, request_id, address)"
            " values (?, '2026', 'x', '', '', 'other', '', '')",
            (number,),
        )
    with database.transaction() as session:
        assert session.exec(select(AuditEntry)).one().reason == "r"


def test_the_log_keeps_the_id_of_a_deleted_account(database: Database) -> None:
    with database.transaction() as session:
        operator = make_operator(session, account_with(session, 0), NOON)
        account = account_with(session, 3)
        request = ActRequest(Actor(operator.id, "req_1", "192.0.2.1"), account.id, "for a test", NOON)
        acts.take_back_credits(session, request, amount=1)
        address = account.email
    for account_id in (account.id, operator.id):
        with database.transaction() as session:
            account_deletion.delete_account(session, FORMER, account_id, now=NOON)
    with database.transaction() as session:
        (line,) = audit_log.page(session, LogFilter(account_id=account.id), 10)
        assert (line.entry.account_id, line.entry.operator_id) == (account.id, operator.id)
        assert address not in str(line.entry.model_dump())
        assert not acts.is_operator(session.get_one(Account, operator.id))


def test_filters_and_pages(database: Database) -> None:
    with database.transaction() as session:
        first, second, operator = (account_with(session, 0).id for _ in range(3))
        for number in range(5):
            write(session, first, operator, reason=f"first {number}")
        write(session, second, None, reason="second")
        write(session, None, None, reason="all")

    def reasons(wanted: LogFilter, limit: int = 100, before: int | None = None) -> list[str]:
        with database.transaction() as session:
            return [line.entry.reason for line in audit_log.page(session, wanted, limit, before)]

    everything = ["all", "second", *(f"first {number}" for number in (4, 3, 2, 1, 0))]
    assert reasons(LogFilter()) == everything
    assert reasons(LogFilter(account_id=second)) == ["second"]
    assert reasons(LogFilter(operator_id=operator, account_id=first)) == everything[2:]
    assert reasons(LogFilter(operator_id=COMMAND_LINE)) == ["all", "second"]
    assert reasons(LogFilter(act=Act.RESTORE)) == []
    pages, before = [], None
    while True:
        with database.transaction() as session:
            lines = audit_log.page(session, LogFilter(), 3, before)
        pages.append([line.entry.reason for line in lines])
        if len(lines) < 3:
            break
        before = lines[-1].entry.id
    assert [len(page) for page in pages] == [3, 3, 1]
    assert [reason for page in pages for reason in page] == everything


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_no_cell_of_the_csv_is_a_formula(database: Database, start: str) -> None:
    reason = f'{start}cmd|"/c calc"!A1'
    with database.transaction() as session:
        write(session, account_with(session, 0).id, reason=reason)
        (row,) = csv.reader(
            io.StringIO(audit_log.csv_rows(audit_log.page(session, LogFilter(), 9)), newline="")
        )
    named = dict(zip(audit_log.COLUMNS, row, strict=True))
    assert named["reason"] == f"'{reason}"
    assert named["operator"] == COMMAND_LINE
    assert named["time"] == "2026-01-15T12:00:00Z"
