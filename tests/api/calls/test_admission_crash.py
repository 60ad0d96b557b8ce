"""Processes killed at any point of a call charge each key at most once and leave a balanced ledger."""

import os
import random
import signal
import time
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest
from sqlalchemy import text
from sqlmodel import Session

from api.calls import admission
from api.calls.admission import Admitted, Replayed
from api.db.database import Database
from billing.ledger import budgets
from billing.ledger.audit import audit
from billing.ledger.models import Account
from tests.api.calls.test_admission_load import captures
from tests.support.load import NOON, PROCESSES, account_with, admit, succeed

#: Where a process kills itself; the rest are moments the parent chooses, in the middle of anything.
POINTS = ("before the hold", "in admission", "after the hold", "in settlement", "before the answer")


@dataclass(frozen=True)
class Shift:
    """The work of one process before it dies."""

    url: str
    account_id: str
    keys: list[str]
    now: datetime
    point: str | None  # None: the parent kills
    at_call: int
    answers_path: str


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def work(shift: Shift) -> None:
    """Serves the keys one after the other; an answer is handed out by writing it to the file."""
    database = Database(shift.url)
    owner = f"process-{os.getpid()}"
    with open(shift.answers_path, "ab", buffering=0) as answers:  # noqa: PTH123 - unbuffered, as a socket
        for number, key in enumerate(shift.keys):
            point = shift.point if number == shift.at_call else None

            def enter(
                session: Session, key: str = key, point: str | None = point
            ) -> admission.AdmissionOutcome:
                outcome = admit(
                    session,
                    shift.account_id,
                    key=key,
                    owner=owner,
                    now=shift.now,
                    rate_taken=True,
                    budget_id=shift.account_id,
                )
                if point == "in admission":
                    die()
                return outcome

            if point == "before the hold":
                die()
            outcome = database.submit(enter).result()
            if point == "after the hold":
                die()
            if isinstance(outcome, Replayed):
                answers.write(f"{key} {outcome.answer.body.decode()}\n".encode())
                continue
            assert isinstance(outcome, Admitted), outcome

            def leave(session: Session, call: Admitted = outcome, point: str | None = point) -> bytes:
                body = succeed(session, call, owner=owner, now=shift.now)
                if point == "in settlement":
                    die()
                return body

            body = database.submit(leave).result()
            if point == "before the answer":
                die()
            answers.write(f"{key} {body.decode()}\n".encode())
    database.close()


def kill_again_and_again(url: str, answers_path: str, kills: int, keys_each: int) -> None:
    chance = random.Random(kills)
    database = Database(url)
    with database.transaction() as session:
        account_id = account_with(session, credits=10_000).id
        budgets.create(session, account_id, account_id, None)
    now, deaths = NOON, 0
    all_keys: list[str] = []
    while deaths < kills:
        keys = [f"key-{len(all_keys) + number}" for number in range(keys_each)]
        all_keys += keys
        # The client sends the same keys again until all have an answer, at last from a process that lives.
        for attempt in range(4):
            point = chance.choice([*POINTS, None]) if attempt < 3 else "nowhere"
            shift = Shift(url, account_id, keys, now, point, chance.randrange(keys_each), answers_path)
            process = PROCESSES.Process(target=work, args=(shift,))
            process.start()
            if point is None:
                time.sleep(chance.uniform(0, 0.15))
                process.kill()
            process.join()
            if attempt < 3:
                deaths += process.exitcode == -signal.SIGKILL
            else:
                assert process.exitcode == 0
            now += timedelta(seconds=31)  # By then the leases of the dead have lapsed.

    heard: dict[str, set[str]] = {}
    with open(answers_path) as answers:  # noqa: PTH123
        for line in answers:
            key, body = line.split(" ", 1)
            heard.setdefault(key, set()).add(body)
    assert set(heard) == set(all_keys), "every key got its answer in the end"
    assert all(len(bodies) == 1 for bodies in heard.values()), "and always the same one"
    with database.transaction() as session:
        assert captures(session, account_id) == len(all_keys)
        assert session.get_one(Account, account_id).available == 10_000 - len(all_keys)
        assert audit(session) == []
        if database.is_sqlite:
            assert session.connection().execute(text("PRAGMA integrity_check")).scalar() == "ok"
    database.close()


def test_every_key_is_charged_once_when_processes_are_killed_20_times(
    migrated_database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    answers_path = tmp_path_factory.mktemp("answers") / "answers"
    kill_again_and_again(migrated_database_url, str(answers_path), kills=20, keys_each=4)


@pytest.mark.long
@pytest.mark.timeout(3_600)
def test_every_key_is_charged_once_when_processes_are_killed_200_times(
    migrated_database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    answers_path = tmp_path_factory.mktemp("answers") / "answers"
    kill_again_and_again(migrated_database_url, str(answers_path), kills=200, keys_each=8)
