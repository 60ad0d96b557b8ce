"""Low and exhausted credits are announced once, exactly, by whichever calls meet the limits."""

import json
from collections import Counter
from collections.abc import Iterator

import pytest
from sqlmodel import Session, select

from api.alerts import credits as credit_alerts
from api.alerts.announcements import Outlet
from api.alerts.models import Alert, AlertKind, MailStatus
from api.calls.admission import Admitted
from api.db.database import Database
from api.webhooks import endpoints
from api.webhooks.models import WebhookEvent, WebhookMessage
from billing.ledger import ledger
from billing.ledger.audit import audit
from billing.ledger.models import Account
from billing.ledger.plans import PlanName
from tests.support.alert_rows import WITH_MAIL, alerts_of, kinds_of
from tests.support.builders import make_grant
from tests.support.load import NOON, Load, account_with, admit, admitted, run, succeed

BOTH = [AlertKind.CREDITS_LOW, AlertKind.CREDITS_EXHAUSTED]


@pytest.fixture
def database(migrated_database_url: str) -> Iterator[Database]:
    opened = Database(migrated_database_url)
    yield opened
    opened.close()


def spend_and_announce(database: Database, load: Load, number: int) -> tuple[str, bytes | None]:
    """One call, as `calls.execution` settles it, that also counts the alerts it decided."""
    account_id = load.account_ids[number % len(load.account_ids)]
    owner = f"process-{number % load.processes}"
    outcome = database.submit(
        lambda session: admit(session, account_id, key=f"key-{number}", owner=owner, now=load.now)
    ).result()
    if not isinstance(outcome, Admitted):
        return "refused", None
    return database.submit(lambda session: settle(session, outcome, owner)).result(), None


def settle(session: Session, call: Admitted, owner: str = "process-1") -> str:
    succeed(session, call, owner=owner)
    account = session.get_one(Account, call.account_id)
    is_alert = credit_alerts.spent(session, account, "req_1", NOON, outlet=Outlet(has_mail=True))
    return "alert" if is_alert else "charged"


def call(database: Database, account_id: str, key: str) -> str:
    with database.transaction() as session:
        return settle(session, admitted(session, account_id, key=key))


@pytest.mark.parametrize("credits_", [50, 12])
def test_fifty_parallel_calls_in_four_processes_announce_each_limit_once(
    database: Database, migrated_database_url: str, credits_: int
) -> None:
    with database.transaction() as session:
        account_id = account_with(session, credits=credits_).id
        endpoints.create(session, account_id, "https://shop.example.com/", WebhookEvent.selectable(), NOON)
    load = Load(migrated_database_url, [account_id], calls=60, processes=4, threads=13)
    report = run(load, spend_and_announce)
    refused = 60 - credits_
    assert report.outcomes == Counter({"charged": credits_ - 2, "alert": 2, "refused": refused})
    with database.transaction() as session:
        assert sorted(kinds_of(session, account_id)) == sorted(BOTH)
        assert {each.mail_status for each in alerts_of(session, account_id)} == {MailStatus.PENDING}
        sent = session.exec(select(WebhookMessage)).all()
        assert sorted(message.event for message in sent) == sorted(BOTH)
        left = {message.event: json.loads(message.body)["data"]["credits"] for message in sent}
        low = left["credits.low"]
        assert low["available"] + low["held"] == credits_ // 5
        assert left["credits.exhausted"]["available"] + left["credits.exhausted"]["held"] == 0
        assert audit(session) == []


def test_a_refund_and_the_next_call_announce_nothing_again(database: Database) -> None:
    with database.transaction() as session:
        account_id = account_with(session, credits=10).id
    for number in range(8):
        call(database, account_id, f"{number}")
    with database.transaction() as session:
        last = admitted(session, account_id, key="last")
        assert settle(session, last) == "charged"
    for number in range(3):
        with database.transaction() as session:
            ledger.refund(session, last.hold_id, now=NOON)
        with database.transaction() as session:
            last = admitted(session, account_id, key=f"again {number}")
            assert settle(session, last) == "charged"
    with database.transaction() as session:
        assert kinds_of(session, account_id) == [AlertKind.CREDITS_LOW]


def test_new_credits_that_run_down_are_announced_again(database: Database) -> None:
    with database.transaction() as session:
        account = account_with(session, credits=2, plan=PlanName.FREE)
        account_id = account.id
    outcomes = [call(database, account_id, f"{number}") for number in range(2)]
    with database.transaction() as session:
        make_grant(session, session.get_one(Account, account_id), 10)
    outcomes += [call(database, account_id, f"more {number}") for number in range(10)]
    assert outcomes == ["alert", "alert"] + ["charged"] * 7 + ["alert", "charged", "alert"]
    with database.transaction() as session:
        assert Counter(kinds_of(session, account_id)) == {each.value: 2 for each in BOTH}


def test_a_call_above_the_limit_or_below_it_runs_no_statement_for_it(database: Database) -> None:
    """What a call costs more is nothing, except for the two that meet a limit."""
    statements = []
    with database.transaction() as session:
        account_id = account_with(session, credits=10).id
    for number in range(10):
        with database.transaction() as session:
            taken = admitted(session, account_id, key=f"{number}")
            succeed(session, taken)
            account = session.get_one(Account, account_id)
            _ = account.available
            executed: list[str] = []
            listener = lambda *arguments, into=executed: into.append(arguments[2])  # noqa: E731
            from sqlalchemy import event

            connection = session.connection()
            event.listen(connection, "before_cursor_execute", listener)
            credit_alerts.spent(session, account, "req_1", NOON, outlet=WITH_MAIL)
            event.remove(connection, "before_cursor_execute", listener)
            statements.append(len(executed))
    assert [count == 0 for count in statements] == [True] * 7 + [False, True, False]


def test_the_mail_is_written_from_the_accounts_state_without_its_address(database: Database) -> None:
    with database.transaction() as session:
        account_id = account_with(session, credits=1).id
    call(database, account_id, "only")
    with database.transaction() as session:
        (alert,) = session.exec(select(Alert)).all()
        facts = json.loads(alert.facts)
        assert facts["credits"] == {**facts["credits"], "available": 0, "held": 0}
        assert "email" not in facts
