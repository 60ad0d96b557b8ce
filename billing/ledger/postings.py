"""Writes to the ledger: rows inserted once, balances changed by sums, an entry for every change.

No other module of the package changes a balance or inserts an entry.
"""

from datetime import datetime
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import Table, bindparam
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import make_transient_to_detached
from sqlalchemy.orm.attributes import set_committed_value
from sqlalchemy.orm.util import identity_key
from sqlmodel import Session, SQLModel, col, func, insert, select, update

from billing.errors import DuplicateReference
from billing.ledger.models import Account, Entry, EntryKind, Grant, Hold
from billing.ledger.pipeline import pipelined

Row = TypeVar("Row", bound=SQLModel)


def insert_unless_taken(session: Session, row: Row, *, unique_column: str = "reference") -> Row | None:
    """Insert `row`; None if another row has the same value in `unique_column`.

    One statement, decided by the unique constraint: it waits for a transaction that is inserting the same
    value, and a conflict leaves the transaction usable, unlike a caught IntegrityError.
    """
    statement = _insert(session.get_bind().dialect.name, type(row), unique_column)
    stored_id = session.execute(statement, row.model_dump(exclude_none=True)).scalar_one_or_none()
    if stored_id is None:
        return None
    set_committed_value(row, "id", stored_id)
    make_transient_to_detached(row)
    session.add(row)
    return row


@cache
def _insert(dialect_name: str, model: type[SQLModel], unique_column: str) -> Any:
    insert_into: Any = postgresql.insert if dialect_name == "postgresql" else sqlite.insert
    table = _table(model)
    return insert_into(table).on_conflict_do_nothing(index_elements=[unique_column]).returning(table.c.id)


def _table(model: type[SQLModel]) -> Table:
    table: Table = model.__table__  # type: ignore[attr-defined]
    return table


_ADD_ENTRY = insert(_table(Entry)).inline()  # without asking for the number of the entry


def write_entry(
    session: Session,
    *,
    account_id: str,
    grant_id: str,
    kind: EntryKind,
    amount: int,
    reference: str,
    now: datetime,
    hold_id: str | None = None,
) -> Entry:
    """Insert one signed, permanent entry. The caller changes the balances. Raises DuplicateReference."""
    entry = insert_unless_taken(
        session,
        Entry(
            account_id=account_id,
            grant_id=grant_id,
            hold_id=hold_id,
            kind=kind.value,
            amount=amount,
            reference=reference,
            created_at=now,
        ),
    )
    if entry is None:
        raise DuplicateReference(f"there is an entry {reference}")
    return entry


def move(session: Session, *, account_id: str, grant_id: str, available: int = 0, held: int = 0) -> None:
    """Add to `available` and `held` of the account and of the grant.

    The database computes the sums, so that no stale value is written back; its constraints refuse negative
    counts. Rows that the session has loaded are updated with the new values.
    """
    for model, row_id in ((Account, account_id), (Grant, grant_id)):
        changes = {"row_id": row_id, "more_available": available, "more_held": held}
        counts = session.execute(_add_statement(model), changes).one()
        loaded = session.identity_map.get(identity_key(model, row_id))
        if loaded is not None:
            set_committed_value(loaded, "available", counts.available)
            set_committed_value(loaded, "held", counts.held)


def spend_held(session: Session, hold: Hold, now: datetime) -> None:
    """Write the entry of a hold that this transaction has just captured, and end its share of `held`.

    In one round trip: that the hold was open before rules out another entry.
    """
    assert hold.grant_id is not None
    entry = {
        "account_id": hold.account_id,
        "grant_id": hold.grant_id,
        "hold_id": hold.id,
        "kind": EntryKind.CAPTURE.value,
        "amount": -hold.amount,
        "reference": f"capture:{hold.id}",
        "created_at": now,
    }
    with pipelined(session):
        session.execute(_ADD_ENTRY, entry)
        for model, row_id in ((Account, hold.account_id), (Grant, hold.grant_id)):
            session.execute(_spend_statement(model), {"row_id": row_id, "spent": hold.amount})
    for model, row_id in ((Account, hold.account_id), (Grant, hold.grant_id)):
        loaded = session.identity_map.get(identity_key(model, row_id))
        if loaded is not None:
            session.expire(loaded, ["held"])


@cache
def _spend_statement(model: type[SQLModel]) -> Any:
    table = _table(model)
    spent = table.c.held - bindparam("spent")
    return update(table).where(table.c.id == bindparam("row_id")).values(held=spent)


@cache
def _add_statement(model: type[SQLModel]) -> Any:
    table = _table(model)
    return (
        update(table)
        .where(table.c.id == bindparam("row_id"))
        .values(
            available=table.c.available + bindparam("more_available"),
            held=table.c.held + bindparam("more_held"),
        )
        .returning(table.c.available, table.c.held)
    )


def expire_if_ended(session: Session, grant: Grant, now: datetime) -> None:
    """Expire the unspent credits of an ended grant; credits in open holds stay until they settle."""
    unspent = grant.available
    if grant.expires_at is None or grant.expires_at > now or unspent == 0:
        return
    # A grant expires again when a credit returns after its end, by a released hold or a refund.
    earlier = session.exec(
        select(func.count()).where(col(Entry.grant_id) == grant.id, col(Entry.kind) == EntryKind.EXPIRY)
    ).one()
    write_entry(
        session,
        account_id=grant.account_id,
        grant_id=grant.id,
        kind=EntryKind.EXPIRY,
        amount=-unspent,
        reference=f"expiry:{grant.id}:{earlier + 1}",
        now=now,
    )
    move(session, account_id=grant.account_id, grant_id=grant.id, available=-unspent)
