"""Operators find accounts by the beginning of an address, by id, or by a request's id."""

import pytest
from sqlalchemy import text
from sqlmodel import Session

from api.auth import api_keys, sessions
from api.calls import call_log
from api.calls.models import CallRecord
from api.db.database import Database
from api.errors import NotFound
from api.operators import account_search
from billing.errors import UnknownAccount
from billing.ledger import accounts, ledger
from tests.support.builders import DAY, NOON, make_captured_hold, make_grant, make_hold
from tests.support.load import account_with


def create(session: Session, *addresses: str) -> dict[str, str]:
    return {each: accounts.create(session, email=each, now=NOON).id for each in addresses}


def found(session: Session, wanted: str, limit: int = 10, after: str | None = None) -> list[str]:
    return [each.email for each in account_search.search(session, wanted, limit, after).accounts]


def test_addresses_are_found_by_their_beginning(database: Database) -> None:
    with database.transaction() as session:
        create(session, "anna@a.example", "ann_b@a.example", "annxb@a.example", "bob@a.example")
        assert found(session, " ANNA@") == ["anna@a.example"]
        assert sorted(found(session, "ann")) == ["ann_b@a.example", "anna@a.example", "annxb@a.example"]
        assert found(session, "ann_") == ["ann_b@a.example"]
        assert found(session, "%") == []
        assert found(session, "nna") == []
        assert len(found(session, "")) == 4


def test_every_account_is_on_one_page(database: Database) -> None:
    with database.transaction() as session:
        addresses = [f"user{number:02}@a.example" for number in range(25)]
        create(session, *addresses, "z@a.example")
        seen, after, pages = [], None, 0
        while True:
            part = account_search.search(session, "user", 10, after)
            seen += [each.email for each in part.accounts]
            pages, after = pages + 1, part.next_after
            if after is None:
                break
        assert seen == addresses
        assert pages == 3
        with pytest.raises(NotFound):
            account_search.search(session, "", 10, "acc_unknown")


def test_accounts_are_found_by_their_id_and_by_a_request(database: Database) -> None:
    with database.transaction() as session:
        account_id = create(session, "anna@a.example")["anna@a.example"]
        call_log.add(session, a_call("req_1", account_id))
        assert found(session, account_id) == ["anna@a.example"]
        assert found(session, "req_1") == ["anna@a.example"]
        assert found(session, "req_2") == []
        assert found(session, account_id[:-1]) == []


def test_a_search_reads_an_index_and_not_every_account(database: Database) -> None:
    """PostgreSQL would scan a table as small as this one, so it is told not to."""
    statement = "select email from account where email like 'ann%'"
    if database.is_sqlite:
        statement = "select email from account where email >= 'ann' and email < 'ano' order by email"
    with database.transaction() as session:
        if not database.is_sqlite:
            session.execute(text("set local enable_seqscan = off"))
        explain = "explain query plan " if database.is_sqlite else "explain "
        plan = " ".join(str(row) for row in session.execute(text(explain + statement)))
    assert "SEARCH account USING" in plan if database.is_sqlite else "account_email_prefix" in plan


def a_call(request_id: str, account_id: str, credits: int = 0) -> CallRecord:
    return CallRecord(
        request_id=request_id,
        account_id=account_id,
        tool="crop",
        day="2026-01-15",
        started_at=NOON,
        duration_ms=7,
        status_code=200,
        credits=credits,
    )


def test_the_details_of_an_account_are_its_own(database: Database) -> None:
    with database.transaction() as session:
        account, other = account_with(session, 4), account_with(session, 9)
        make_grant(session, account, 2, expires_at=NOON + DAY)
        for each in (account, other):
            api_keys.create(session, each.id, "n", NOON)
            sessions.create(session, each.id, now=NOON)
        charged, refunded = make_captured_hold(session, account), make_captured_hold(session, account)
        ledger.refund(session, refunded.id, now=NOON)
        make_hold(session, account)
        for hold in (charged, refunded):
            call_log.add(session, a_call(hold.reference.removeprefix("request:"), account.id, 1))
        call_log.add(session, a_call("req_free", account.id))
        call_log.add(session, a_call("req_other", other.id, 1))
    with database.transaction() as session:
        details = account_search.details(session, account.id, NOON)
    assert (details.account.available, details.account.held) == (4, 1)
    assert [(grant.amount, grant.available, grant.held) for grant in details.grants] in (
        [(2, 0, 1), (4, 4, 0)],
        [(4, 4, 0), (2, 0, 1)],
    )
    assert sorted((line.is_charged, line.is_refunded) for line in details.calls) == [
        (False, False),
        (True, False),
        (True, True),
    ]
    assert len(details.keys) == len(details.sessions) == 1


def test_the_details_show_the_credits_of_a_period_that_is_due(database: Database) -> None:
    with database.transaction() as session:
        account_id = create(session, "anna@a.example")["anna@a.example"]
    with database.transaction() as session:
        assert account_search.details(session, account_id, NOON).account.available == 15
        with pytest.raises(UnknownAccount):
            account_search.details(session, "acc_unknown", NOON)
