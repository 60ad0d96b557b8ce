"""The database itself refuses invalid states."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

from api.db.database import Database
from billing.ledger import constraints, ledger
from billing.ledger.audit import audit
from billing.ledger.models import Account
from billing.ledger.postings import move
from tests.support.builders import (
    NOON,
    OWNER,
    capture_of,
    make_account,
    make_captured_hold,
    make_grant,
    make_hold,
)

INSERT_ENTRY = (
    "insert into entry (account_id, grant_id, hold_id, kind, amount, reference, created_at)"
    " select account_id, grant_id, {hold}, '{kind}', {amount}, '{reference}', created_at"
    " from hold where id = "
)


def insert_entry(kind: str, amount: int, *, on: str, hold: str = "id", reference: str = "forged") -> str:
    return INSERT_ENTRY.format(kind=kind, amount=amount, hold=hold, reference=reference) + on


# Each forgery names rows of the little ledger below by parameters.
FORGERIES = {
    "a negative balance": "update account set available = -1 where id = :account",
    "one credit too many taken": "update account set available = available - 100 where id = :account",
    "a negative number of holds": "update account set held = -1 where id = :account",
    "an unknown plan": "update account set plan = 'gold' where id = :account",
    "a second account with one address": "update account set email = 'first@example.org' where id = :account",
    "a grant below zero": "update credit_grant set available = -1 where id = :grant",
    "a grant with fewer than no holds": "update credit_grant set held = -1 where id = :grant",
    "more left than was granted": "update credit_grant set available = amount + 1 where id = :grant",
    "a grant's amount changed": "update credit_grant set amount = 1000 where id = :grant",
    "a grant moved to another account": "update credit_grant set account_id = :other where id = :grant",
    "a grant's reference changed": "update credit_grant set reference = 'free' where id = :grant",
    "a grant's kind changed": "update credit_grant set kind = 'plan' where id = :grant",
    "a grant deleted": "delete from credit_grant where id = :unused_grant",
    "a hold below one credit": "update hold set amount = 0 where id = :open",
    "a hold's amount changed": "update hold set amount = 2 where id = :open",
    "a hold moved to another account": "update hold set account_id = :other where id = :open",
    "a hold moved to another grant": "update hold set grant_id = :unused_grant where id = :open",
    "a hold's reference changed": "update hold set reference = 'request:new' where id = :open",
    "a hold deleted": "delete from hold where id = :open",
    "a settled hold deleted": "delete from hold where id = :released",
    "a hold settled at no time": "update hold set status = 'released' where id = :open",
    "an open hold with the time of its end": "update hold set settled_at = created_at where id = :open",
    "an unknown end of a hold": "update hold set status = 'lost', settled_at = created_at where id = :open",
    "a captured hold released": "update hold set status = 'released' where id = :captured",
    "a released hold captured": "update hold set status = 'captured' where id = :released",
    "a captured hold opened again": "update hold set status = 'open', settled_at = null where id = :captured",
    "a settled hold's time changed": "update hold set settled_at = lease_until where id = :captured",
    "a settled hold's lease renewed": "update hold set lease_until = settled_at where id = :released",
    "an entry changed": "update entry set amount = -2 where id = :entry",
    "an entry's kind changed": "update entry set kind = 'expiry', hold_id = null where id = :entry",
    "an entry moved to another account": "update entry set account_id = :other where id = :entry",
    "an entry deleted": "delete from entry where id = :entry",
    "every entry deleted": "delete from entry",
    "an entry of nothing": insert_entry("expiry", 0, hold="null", on=":open"),
    "a capture that gives": insert_entry("capture", 1, on=":open"),
    "a grant that takes": insert_entry("grant", -1, hold="null", on=":open"),
    "an unknown kind of entry": insert_entry("gift", -1, hold="null", on=":open"),
    "a capture without a hold": insert_entry("capture", -1, hold="null", on=":open"),
    "an expiry of a hold": insert_entry("expiry", -1, on=":open"),
    "a second capture of one hold": insert_entry("capture", -1, on=":captured"),
    "a second refund of one hold": insert_entry("refund", 1, on=":refunded"),
    "a second use of a reference": insert_entry(
        "expiry", -1, hold="null", reference="goodwill:1", on=":open"
    ),
    "an entry of no grant": (
        "insert into entry (account_id, grant_id, kind, amount, reference, created_at)"
        " select account_id, 'grant_none', 'grant', 1, 'forged', created_at from hold where id = :open"
    ),
    "a second grant of one reference": (
        "insert into credit_grant select 'grant_new', account_id, kind, reference, amount, available, held,"
        " starts_at, expires_at, created_at from credit_grant where id = :grant"
    ),
    "a second hold of one reference": (
        "insert into hold (id, account_id, grant_id, reference, amount, status, lease_owner, lease_until,"
        " created_at) select 'hold_new', account_id, grant_id, reference, amount, status, lease_owner,"
        " lease_until, created_at from hold where id = :open"
    ),
}


def a_little_ledger(session: Session) -> dict[str, object]:
    first = make_account(session)
    first.email = "first@example.org"
    account = make_account(session)
    granted = make_grant(session, account, 10, reference="goodwill:1")
    held, released, captured, refunded = (make_hold(session, account) for _ in range(4))
    ledger.release(session, released.id, now=NOON)
    ledger.capture(session, captured.id, lease_owner=OWNER, now=NOON)
    ledger.capture(session, refunded.id, lease_owner=OWNER, now=NOON)
    ledger.refund(session, refunded.id, now=NOON)
    return {
        "account": account.id,
        "other": first.id,
        "grant": granted.id,
        "unused_grant": make_grant(session, account, 1).id,
        "open": held.id,
        "released": released.id,
        "captured": captured.id,
        "refunded": refunded.id,
        "entry": capture_of(session, captured).id,
    }


def contents(session: Session) -> list[list[tuple[object, ...]]]:
    tables = ("account", "credit_grant", "hold", "entry")
    return [
        [tuple(row) for row in session.connection().execute(text(f"select * from {table} order by id"))]
        for table in tables
    ]


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES.keys())
def test_the_database_refuses(database: Database, forgery: str) -> None:
    with database.transaction() as session:
        named = a_little_ledger(session)
        before = contents(session)
    statement = text(forgery)
    needed = {name: value for name, value in named.items() if f":{name}" in forgery}
    with pytest.raises(IntegrityError), database.transaction() as session:
        session.connection().execute(statement, needed)
    with database.transaction() as session:
        assert contents(session) == before
        assert audit(session) == []


@pytest.mark.parametrize("table", ["entry", "hold", "credit_grant"])
@pytest.mark.parametrize("migrated_database_url", ["postgresql"], indirect=True)
def test_history_cannot_be_truncated(database: Database, table: str) -> None:
    with database.transaction() as session:
        a_little_ledger(session)
    with pytest.raises(IntegrityError, match="keeps its history"), database.transaction() as session:
        session.connection().execute(text(f"truncate {table} cascade"))


def test_permitted_changes_are_accepted(database: Database) -> None:
    """The guards are about single columns and rows, no more."""
    with database.transaction() as session:
        named = a_little_ledger(session)
    with database.transaction() as session:
        connection = session.connection()
        connection.execute(text("update hold set lease_until = created_at where id = :open"), named)
        connection.execute(
            text("update hold set status = 'released', settled_at = created_at where id = :open"), named
        )
        connection.execute(text("update credit_grant set expires_at = created_at where id = :grant"), named)


def test_the_triggers_can_be_dropped_and_recreated_for_a_migration(database: Database) -> None:
    with database.transaction() as session:
        named = a_little_ledger(session)
    dialect = database.engine.dialect.name
    with database.transaction() as session:
        for statement in constraints.drop_statements(dialect):
            session.connection().exec_driver_sql(statement)
        session.connection().execute(text("update entry set reference = 'renamed' where id = :entry"), named)
        for statement in constraints.statements(dialect):
            session.connection().exec_driver_sql(statement)
    with pytest.raises(IntegrityError, match="never changes"), database.transaction() as session:
        session.connection().execute(text("update entry set reference = 'again' where id = :entry"), named)


def test_the_database_refuses_an_overdraft_by_faulty_code(database: Database) -> None:
    with database.transaction() as session:
        account = make_account(session)
        granted = make_grant(session, account, 2)
        make_captured_hold(session, account)
    with pytest.raises(IntegrityError), database.transaction() as session:
        move(session, account_id=account.id, grant_id=granted.id, available=-2)
    with database.transaction() as session:
        assert session.get_one(Account, account.id).available == 1
