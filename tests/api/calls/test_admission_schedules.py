"""Random schedules of the events of a call charge it at most once."""

import asyncio
import random
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from sqlmodel import Session, col, func, select

from api import cleanup
from api.calls import admission
from api.calls.admission import Admitted, Replayed
from api.db.database import Database
from billing.errors import HoldSettled, LeaseLost
from billing.ledger.audit import audit
from billing.ledger.models import Account, Hold, HoldStatus
from tests.api.calls.test_admission_load import captures
from tests.support.load import NOON, account_with, admit, succeed

CREDITS = 3
OWNERS = ("process-1", "process-2")
Step = Callable[[], Future[Any]]


@dataclass
class Story:
    """One account, one key, two processes, a clock."""

    database: Database
    account_id: str
    chance: random.Random
    now: datetime = NOON
    calls: list[tuple[str, Admitted]] = field(default_factory=list)  # with their owners
    charged: list[bytes] = field(default_factory=list)
    replayed: set[bytes] = field(default_factory=set)

    def play(self) -> None:
        for _ in range(self.chance.randrange(3, 9)):
            if self.chance.random() < 0.3:
                self.now += timedelta(seconds=self.chance.choice([1, 10, 29, 30, 31]))
            steps = [self.any_step() for _ in range(self.chance.choice([1, 1, 2, 3, 4]))]
            # All at the same moment: on PostgreSQL in as many transactions, on SQLite in this order.
            works = [step() for step in steps]
            for work in works:
                self.hear(work)

    def any_step(self) -> Step:
        steps: list[Step] = [self.start]
        if self.calls:
            owner, call = self.chance.choice(self.calls)
            steps += [
                partial(self.submit, succeed, call, owner=owner, now=self.now),
                partial(self.submit, admission.settle_failure, call, now=self.now),
                partial(self.submit, admission.renew, owner, [call.hold_id], self.now),
                partial(self.submit, cleanup.expire_hold, call.hold_id, self.now),
            ]
        return self.chance.choice(steps)

    def start(self) -> Future[Any]:
        owner = self.chance.choice(OWNERS)

        def work(session: Session) -> tuple[str, object]:
            return owner, admit(session, self.account_id, key="k", owner=owner, now=self.now)

        return self.database.submit(work)

    def submit(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Future[Any]:
        return self.database.submit(lambda session: function(session, *arguments, **options))

    def hear(self, work: Future[Any]) -> None:
        try:
            heard = work.result()
        except (LeaseLost, HoldSettled):
            return
        match heard:
            case (str() as owner, Admitted() as call):
                self.calls.append((owner, call))
            case (_, Replayed() as replayed):
                self.replayed.add(replayed.answer.body)
            case bytes():
                self.charged.append(heard)

    def end(self) -> None:
        """All processes die, the sweeper runs, and the ledger is audited."""
        assert self.replayed <= set(self.charged)
        self.now += timedelta(seconds=31)
        asyncio.run(cleanup.release_lapsed_holds(self.database, self.now))
        asyncio.run(cleanup.delete_expired_rows(self.database, self.now))
        with self.database.transaction() as session:
            open_holds = select(func.count()).where(
                Hold.account_id == self.account_id, col(Hold.status) == HoldStatus.OPEN
            )
            assert session.exec(open_holds).one() == 0
            assert captures(session, self.account_id) == len(self.charged) <= 1
            account = session.get_one(Account, self.account_id)
            assert (account.available, account.held) == (CREDITS - len(self.charged), 0)


def play(database: Database, seeds: range) -> int:
    charged = 0
    for seed in seeds:
        with database.transaction() as session:
            account_id = account_with(session, CREDITS).id
        story = Story(database, account_id, random.Random(seed))
        story.play()
        story.end()
        charged += len(story.charged)
    with database.transaction() as session:
        assert audit(session) == []
    return charged


def test_40_random_schedules_charge_a_call_at_most_once(database: Database) -> None:
    assert 10 < play(database, range(40)) < 40, "both kinds of end must be among them"


@pytest.mark.long
@pytest.mark.timeout(3_600)
def test_1000_random_schedules_charge_a_call_at_most_once(database: Database) -> None:
    assert 300 < play(database, range(100, 1_100)) < 1_000


@dataclass
class Client:
    """Sends one request until it has an answer, through connections that break and servers that fail."""

    database: Database
    account_id: str
    key: str
    chance: random.Random
    executions: int = 0

    def send(self, now: datetime) -> bytes | None:
        """The answer in the end, or None if every attempt failed."""
        retries = self.chance.randrange(1, 6)
        for _ in range(1 + retries):
            answer = self._attempt(now)
            if answer is not None:
                return answer
            now += timedelta(seconds=self.chance.choice([1, 5, 31]))
        return None

    def _attempt(self, now: datetime) -> bytes | None:
        outcome = self._do(admit, self.account_id, key=self.key, now=now, rate_taken=True)
        if isinstance(outcome, Replayed):
            return outcome.answer.body if self.chance.random() < 0.7 else None
        if not isinstance(outcome, Admitted):
            return None  # The first attempt still runs as far as the server knows.
        self.executions += 1
        match self.chance.choice(["good", "cut", "500", "lost worker", "late"]):
            case "good":
                body: bytes = self._do(succeed, outcome, now=now)
                return body
            case "cut":  # Charged and stored, but the answer never arrives.
                self._do(succeed, outcome, now=now)
            case "500":
                self._do(admission.settle_failure, outcome, now=now)
            case "late":  # Done after its lease lapsed.
                with pytest.raises(LeaseLost):
                    self._do(succeed, outcome, now=now + timedelta(seconds=30))
                self._do(admission.settle_failure, outcome, now=now + timedelta(seconds=30))
        return None

    def _do(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        return self.database.submit(lambda session: function(session, *arguments, **options)).result()


def retry_everything(database: Database, requests: int) -> None:
    chance = random.Random(requests)
    now, successes, executions = NOON, 0, 0
    with database.transaction() as session:
        account_ids = [account_with(session, 500).id for _ in range(2)]
    for number in range(requests):
        account_id = account_ids[number % 2]
        client = Client(database, account_id, f"key-{number}", chance)
        with database.transaction() as session:
            before = captures(session, account_id)
        answer = client.send(now)
        asyncio.run(cleanup.release_lapsed_holds(database, now + timedelta(hours=1)))
        asyncio.run(cleanup.delete_expired_rows(database, now + timedelta(hours=1)))
        with database.transaction() as session:
            charged = captures(session, account_id) - before
        # An answer that arrived cost one credit; without one it is none, or one whose answer is kept.
        assert charged <= 1
        if answer is not None:
            assert charged == 1
        with database.transaction() as session:
            kept = admit(session, account_id, key=client.key, now=now, rate_taken=True)
            assert isinstance(kept, Replayed) == (charged == 1)
            session.rollback()
        successes += charged
        executions += client.executions
    assert executions > successes > requests / 2, "some must have been executed more than once"
    with database.transaction() as session:
        assert audit(session) == []
        left = [session.get_one(Account, account_id).available for account_id in account_ids]
        assert sum(left) == 1_000 - successes


def test_40_requests_through_broken_connections_are_charged_once_each(database: Database) -> None:
    retry_everything(database, 40)


@pytest.mark.long
@pytest.mark.timeout(3_600)
def test_1000_requests_through_broken_connections_are_charged_once_each(database: Database) -> None:
    retry_everything(database, 1_000)
