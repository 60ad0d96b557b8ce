"""The audit detects each kind of damage. The triggers that prevent it are dropped first."""

import pytest
from sqlalchemy import text
from sqlmodel import Session

from api.db.database import Database
from billing.ledger import budgets, constraints, ledger
from billing.ledger.audit import Drift, audit
from tests.support.builders import (
    DAY,
    NOON,
    OWNER,
    capture_of,
    make_account,
    make_captured_hold,
    make_grant,
    make_hold,
)

Rows = dict[str, str | int]


def books(session: Session) -> Rows:
    """Two accounts with every kind of entry and hold."""
    other = make_account(session, credits=4)
    account = make_account(session)
    ended = make_grant(session, account, 3, expires_at=NOON + DAY)
    ledger.expire_due(session, account, NOON + DAY)
    granted = make_grant(session, account, 10)
    running, released, captured, refunded = (make_hold(session, account) for _ in range(4))
    ledger.release(session, released.id, now=NOON)
    ledger.capture(session, captured.id, lease_owner=OWNER, now=NOON)
    ledger.capture(session, refunded.id, lease_owner=OWNER, now=NOON)
    refund = ledger.refund(session, refunded.id, now=NOON)
    capture = capture_of(session, captured)
    assert capture.id is not None
    assert refund.id is not None
    return {
        "account": account.id,
        "other": other.id,
        "ended": ended.id,
        "grant": granted.id,
        "running": running.id,
        "released": released.id,
        "captured": captured.id,
        "refunded": refunded.id,
        "capture": capture.id,
        "refund": refund.id,
    }


# The damage, and what the audit says of it. Several checks may see one damage; the first is spelt out.
DAMAGES = {
    "a balance set by hand": (
        "update account set available = 1000 where id = :account",
        Drift("account.available", "account", 1000, 8),
    ),
    "holds forgotten": (
        "update account set held = 0 where id = :account",
        Drift("account.held", "account", 0, 1),
    ),
    "a grant's balance set by hand": (
        "update credit_grant set available = 7 where id = :grant",
        Drift("credit_grant.available", "grant", 7, 8),
    ),
    "a grant's holds forgotten": (
        "update credit_grant set held = 0 where id = :grant",
        Drift("credit_grant.held", "grant", 0, 1),
    ),
    "an entry lost": (
        "delete from entry where id = :refund",
        Drift("account.available", "account", 8, 7),
    ),
    "a capture without its entry": (
        "delete from entry where id = :capture",
        Drift("the capture entry", "captured", 0, -1),
    ),
    "a grant without its entry": (
        "delete from entry where grant_id = :grant and kind = 'grant'",
        Drift("the grant entry", "grant", 0, 10),
    ),
    "a grant's amount raised afterwards": (
        "update credit_grant set amount = 11 where id = :grant",
        Drift("the grant entry", "grant", 10, 11),
    ),
    "a charge of a hold that was released": (
        "update hold set status = 'released' where id = :captured",
        Drift("the capture entry", "captured", -1, 0),
    ),
    "a hold captured without a charge": (
        "update hold set status = 'captured' where id = :released",
        Drift("the capture entry", "released", 0, -1),
    ),
    "a refund of more than was charged": (
        "update entry set amount = 2 where id = :refund",
        Drift("the refund entry", "refunded", 2, 1),
    ),
    "a refund of what was never charged": (
        "update entry set hold_id = :released where id = :refund",
        Drift("the refund entry", "released", 1, 0),
    ),
    "an entry booked to another account": (
        "update entry set account_id = :other where id = :capture",
        Drift("entry.account_id", "capture", "other", "account"),
    ),
    "an entry booked to another grant": (
        "update entry set grant_id = :ended where id = :capture",
        Drift("entry.grant_id", "capture", "ended", "grant"),
    ),
    "a hold booked to another account": (
        "update hold set account_id = :other where id = :running",
        Drift("hold.account_id", "running", "other", "account"),
    ),
    "a hold settled behind the books": (
        "update hold set status = 'released', settled_at = created_at where id = :running",
        Drift("account.held", "account", 1, 0),
    ),
}


@pytest.mark.parametrize(("damage", "said"), DAMAGES.values(), ids=DAMAGES.keys())
def test_the_audit_detects(database: Database, damage: str, said: Drift) -> None:
    with database.transaction() as session:
        rows = books(session)
        assert audit(session) == []
        for statement in constraints.drop_statements(database.engine.dialect.name):
            session.connection().exec_driver_sql(statement)
        session.connection().execute(text(damage), rows)
    expected = Drift(
        said.what,
        str(rows[said.row_id]),
        rows[said.stored] if isinstance(said.stored, str) else said.stored,
        rows[said.expected] if isinstance(said.expected, str) else said.expected,
    )
    with database.transaction() as session:
        assert expected in audit(session)


def test_credits_spent_before_they_were_granted_are_detected_although_all_sums_match(
    database: Database,
) -> None:
    with database.transaction() as session:
        account = make_account(session, credits=5)
        held = make_captured_hold(session, account)
        for statement in constraints.drop_statements(database.engine.dialect.name):
            session.connection().exec_driver_sql(statement)
        session.connection().execute(text("update entry set id = id + 100 where kind = 'grant'"))
    assert held.grant_id is not None
    with database.transaction() as session:
        assert audit(session) == [Drift("the lowest balance", held.grant_id, -1, "0 or more")]


def test_a_budget_that_counts_another_number_of_holds_is_detected(database: Database) -> None:
    with database.transaction() as session:
        account = make_account(session, credits=5)
        budgets.create(session, "key_audited", account.id, 3)
        ledger.hold(
            session,
            account,
            reference="audited",
            lease_owner="process-1",
            lease_seconds=30,
            now=NOON,
            budget_id="key_audited",
        )
        assert audit(session) == []
        session.connection().execute(text("update budget_month set used = 2"))
        assert audit(session) == [Drift("budget_month.used", "key_audited:2026-01", 2, 1)]


def test_a_discrepancy_is_described_in_a_sentence() -> None:
    drift = Drift("account.available", "acc_1", 1000, 8)
    assert str(drift) == "acc_1: account.available is 1000, should be 8"


def test_an_empty_database_passes(session: Session) -> None:
    assert audit(session) == []
