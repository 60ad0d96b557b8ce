"""Concurrent settlements of one hold on two connections: exactly one succeeds."""

import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlmodel import Session, col, select, update

from api.db.database import Database
from billing.ledger import accounts, ledger
from billing.ledger.audit import audit
from billing.ledger.models import Account, Entry, Hold, HoldStatus
from tests.support.builders import NOON, OWNER, SECOND, make_account, make_hold

Settle = Callable[[Session, str], object]

# The sweeper's clock runs a little ahead: it takes a lease for lapsed that its owner takes for alive.
SETTLEMENTS: dict[str, Settle] = {
    "capture": lambda session, hold_id: ledger.capture(session, hold_id, lease_owner=OWNER, now=NOON),
    "release": lambda session, hold_id: ledger.release(session, hold_id, now=NOON),
    "expire": lambda session, hold_id: ledger.release(
        session, hold_id, now=NOON + 31 * SECOND, status=HoldStatus.EXPIRED
    ),
}


def outcome_of(database: Database, settle: Settle, hold_id: str) -> str:
    """ "done" or the name of the error, so that no failure of a thread is lost."""
    try:
        with database.transaction() as session:
            settle(session, hold_id)
    except Exception as error:
        return type(error).__name__
    return "done"


@pytest.mark.notices(fault="read, then write")
@pytest.mark.parametrize("second", SETTLEMENTS)
@pytest.mark.parametrize("first", SETTLEMENTS)
def test_the_second_settlement_waits_for_the_first_and_finds_the_hold_settled(
    database: Database, first: str, second: str
) -> None:
    with database.transaction() as session:
        account = make_account(session, credits=2)
        held = make_hold(session, account)
    outcomes: list[str] = []
    thread = threading.Thread(
        target=lambda: outcomes.append(outcome_of(database, SETTLEMENTS[second], held.id))
    )
    with database.transaction() as session:
        SETTLEMENTS[first](session, held.id)
        thread.start()
        thread.join(timeout=0.1)
        assert outcomes == []  # Nothing can be known before the first transaction ends.
    thread.join()
    assert outcomes == ["LeaseLost" if (first, second) == ("expire", "capture") else "HoldSettled"]
    with database.transaction() as session:
        after = session.get_one(Account, account.id)
        assert (after.available, after.held) == (1 if first == "capture" else 2, 0)
        assert audit(session) == []


def test_if_the_first_transaction_fails_the_second_settles(database: Database) -> None:
    with database.transaction() as session:
        held = make_hold(session, make_account(session, credits=2))
    outcomes: list[str] = []
    thread = threading.Thread(
        target=lambda: outcomes.append(outcome_of(database, SETTLEMENTS["release"], held.id))
    )
    with Session(database.engine) as session:
        SETTLEMENTS["capture"](session, held.id)
        thread.start()
        thread.join(timeout=0.1)
        session.rollback()
    thread.join()
    assert outcomes == ["done"]
    with database.transaction() as session:
        assert session.get_one(Hold, held.id).status == HoldStatus.RELEASED
        assert audit(session) == []


@pytest.mark.parametrize("second", SETTLEMENTS)
def test_settling_without_locking_the_account_is_still_detected(database: Database, second: str) -> None:
    """The row of the hold decides. The settlement is simulated, so the ledger is left unbalanced."""
    with database.transaction() as session:
        held = make_hold(session, make_account(session, credits=2))
    outcomes: list[str] = []
    thread = threading.Thread(
        target=lambda: outcomes.append(outcome_of(database, SETTLEMENTS[second], held.id))
    )
    with database.transaction() as session:
        session.execute(
            update(Hold).where(col(Hold.id) == held.id).values(status=HoldStatus.RELEASED, settled_at=NOON)
        )
        thread.start()
        thread.join(timeout=0.1)
        assert outcomes == []
    thread.join()
    assert outcomes == ["HoldSettled"]


@pytest.mark.parametrize("rounds", [15, pytest.param(1_000, marks=pytest.mark.long)])
def test_one_of_four_concurrent_settlements_succeeds_and_the_ledger_balances(
    database: Database, rounds: int
) -> None:
    with database.transaction() as session:
        account = make_account(session, credits=rounds)
        holds = [make_hold(session, account).id for _ in range(rounds)]
    contenders = [SETTLEMENTS[name] for name in ("capture", "release", "expire", "capture")]
    start = threading.Barrier(len(contenders))
    outcomes: list[list[str]] = [[] for _ in contenders]

    def contend(number: int) -> None:
        for hold_id in holds:
            start.wait()
            outcomes[number].append(outcome_of(database, contenders[number], hold_id))

    threads = [threading.Thread(target=contend, args=(number,)) for number in range(len(contenders))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for of_one_hold in zip(*outcomes, strict=True):
        assert Counter(of_one_hold)["done"] == 1, of_one_hold
        assert set(of_one_hold) <= {"done", "HoldSettled", "LeaseLost"}
    with database.transaction() as session:
        captures = len(session.exec(select(Entry).where(Entry.kind == "capture")).all())
        after = session.get_one(Account, account.id)
        assert (after.available, after.held) == (rounds - captures, 0)
        assert captures == outcomes[0].count("done") + outcomes[3].count("done")
        assert audit(session) == []


def test_two_concurrent_refunds_return_the_credit_once(database: Database) -> None:
    with database.transaction() as session:
        account = make_account(session, credits=1)
        held = make_hold(session, account)
        ledger.capture(session, held.id, lease_owner=OWNER, now=NOON)
    outcomes: list[str] = []

    def refund() -> None:
        outcomes.append(
            outcome_of(database, lambda session, hold_id: ledger.refund(session, hold_id, now=NOON), held.id)
        )

    threads = [threading.Thread(target=refund) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["DuplicateReference", "DuplicateReference", "done"]


def test_a_period_requested_concurrently_is_granted_once(database: Database) -> None:
    with database.transaction() as session:
        account = make_account(session)

    def refresh() -> None:
        with database.transaction() as session:
            ledger.refresh(session, accounts.lock(session, account.id), NOON + timedelta(days=45))

    threads = [threading.Thread(target=refresh) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.transaction() as session:
        assert session.get_one(Account, account.id).available == 15
        assert audit(session) == []


def test_locking_an_account_waits_for_the_previous_lock(database: Database) -> None:
    with database.transaction() as session:
        account_id = make_account(session, credits=1).id
    seen: list[int] = []

    def look() -> None:
        with database.transaction() as session:
            seen.append(accounts.lock(session, account_id).available)

    thread = threading.Thread(target=look)
    with database.transaction() as session:
        account = accounts.lock(session, account_id)
        thread.start()
        thread.join(timeout=0.2)
        assert seen == []
        make_hold(session, account)
    thread.join()
    assert seen == [0]


def test_concurrent_holds_take_each_of_the_last_credits_once(database: Database) -> None:
    with database.transaction() as session:
        account_id = make_account(session, credits=5).id
    outcomes: list[str] = []

    def hold() -> None:
        for _ in range(3):
            outcomes.append(
                outcome_of(
                    database,
                    lambda session, account_id: make_hold(session, accounts.lock(session, account_id)),
                    account_id,
                )
            )

    threads = [threading.Thread(target=hold) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(outcomes) == {"done": 5, "InsufficientCredits": 13}
    with database.transaction() as session:
        after = session.get_one(Account, account_id)
        assert (after.available, after.held) == (0, 5)
        assert audit(session) == []
