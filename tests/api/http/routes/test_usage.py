"""The call log and `/api/usage`."""

import secrets
from datetime import UTC, date, datetime

import httpx
import pytest
from sqlmodel import Session

from api.calls import call_log
from api.calls.models import CallRecord
from api.db.database import Database
from api.errors import InvalidParameter
from billing.ledger import accounts
from tests.support.calling import code_of, crop, param_of, small_picture
from tests.support.server import RunningServer


def usage_of(server: RunningServer, customer_headers: dict[str, str], query: str = "") -> httpx.Response:
    return httpx.get(f"{server.address}/api/usage{query}", headers=customer_headers)


def until_logged(server: RunningServer, account_id: str, count: int) -> list[CallRecord]:
    """The account's records, newest first, once `count` of them are written."""
    found: list[CallRecord] = []
    for _ in range(200):
        with server.database.transaction() as session:
            found = call_log.latest(session, account_id, 100)
            session.expunge_all()
        if len(found) >= count:
            return found
        httpx.get(f"{server.address}/healthz")
    raise AssertionError(f"{len(found)} of {count} records came")


def test_answered_calls_are_counted_by_tool_and_key_and_refused_ones_only_logged(
    server: RunningServer,
) -> None:
    customer = server.new_customer()
    picture = small_picture()
    assert crop(server, customer, picture).status_code == 200
    assert crop(server, customer, picture).headers["idempotent-replayed"] == "true"
    assert crop(server, customer, width="banana").status_code == 422
    records = until_logged(server, customer.account_id, 3)
    answered = [record for record in records if record.code is None]
    assert sorted((record.status_code, record.credits) for record in answered) == [(200, 0), (200, 1)]
    assert [record.code for record in records if record.code] == ["INVALID_PARAMETER"]
    (entry,) = usage_of(server, customer.headers).json()["data"]
    assert entry["tool"] == "crop"
    assert entry["keyId"].startswith("key_")
    assert (entry["calls"], entry["credits"]) == (2, 1)
    assert entry["day"] == datetime.now(UTC).date().isoformat()


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("?from=yesterday", "from"),
        ("?to=2026-13-01", "to"),
        ("?from=2026-11-22&to=2026-11-21", "from"),
        ("?from=2020-01-01&to=2026-11-21", "from"),
        ("?from=2026-11-21&from=2026-11-22", "from"),
        ("?since=2026-11-21", "since"),
        ("?to=20261122", "to"),
    ],
)
def test_invalid_days_are_refused(server: RunningServer, query: str, param: str) -> None:
    answer = usage_of(server, server.customer.headers, query)
    assert (answer.status_code, code_of(answer), param_of(answer)) == (422, "INVALID_PARAMETER", param)


def test_the_earliest_representable_day_is_accepted(server: RunningServer) -> None:
    assert usage_of(server, server.customer.headers, "?to=0001-01-02").json()["data"] == []


def make_account(session: Session) -> str:
    now = datetime(2026, 11, 1, tzinfo=UTC)
    return accounts.create(session, email=f"{secrets.token_hex(6)}@example.com", now=now).id


def record(account_id: str, request_id: str, started_at: datetime, **changes: object) -> CallRecord:
    made = call_log.refused(
        InvalidParameter("width", "no"),
        request_id=request_id,
        account_id=account_id,
        key_id=None,
        tool="crop",
        started_at=started_at,
        now=started_at,
    )
    return made.model_copy(update=changes)


def test_usage_counts_full_days_of_one_account(database: Database) -> None:
    noon = datetime(2026, 11, 22, 12, tzinfo=UTC)
    with database.transaction() as session:
        mine, other = make_account(session), make_account(session)
        calls = [(mine, 20), (mine, 21), (mine, 21), (mine, 22), (other, 21)]
        for number, (account_id, day) in enumerate(calls):
            started_at = noon.replace(day=day)
            call_log.add(session, record(account_id, f"req_{number}", started_at, status_code=200, credits=1))
    with database.transaction() as session:
        found = call_log.usage(session, mine, date(2026, 11, 21), date(2026, 11, 22))
    assert [(each.day.day, each.calls, each.credits) for each in found] == [(21, 2, 2), (22, 1, 1)]


def test_a_call_has_one_row_and_the_charged_one_wins(database: Database) -> None:
    now = datetime(2026, 11, 22, 12, tzinfo=UTC)
    with database.transaction() as session:
        account_id = make_account(session)
        call_log.add(session, record(account_id, "req_1", now, status_code=200, credits=1))
        call_log.add(session, record(account_id, "req_1", now))
    with database.transaction() as session:
        assert [row.credits for row in call_log.latest(session, account_id, 10)] == [1]


def test_expired_rows_are_deleted(database: Database) -> None:
    now = datetime(2026, 11, 22, 12, tzinfo=UTC)
    with database.transaction() as session:
        account_id = make_account(session)
        for number, age_days in enumerate([0, 399, 402]):
            started_at = now.fromordinal(now.toordinal() - age_days).replace(tzinfo=UTC)
            call_log.add(session, record(account_id, f"req_{number}", started_at))
    with database.transaction() as session:
        assert call_log.forget_old(session, now, limit=10) == 1
        assert len(call_log.latest(session, account_id, 10)) == 2
