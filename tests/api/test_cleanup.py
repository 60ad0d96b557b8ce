"""Background cleanup, in one process or in several at once."""

import asyncio
import sqlite3
import threading
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlmodel import func, select

from api import cleanup
from api.auth.models import Throttle
from api.calls import admission, idempotency
from api.calls.admission import Admitted
from api.calls.idempotency import JoinedCallLost
from api.calls.models import Replay
from api.db import leader
from api.db.database import Database
from api.images.models import Image
from billing.errors import LeaseLost
from billing.ledger.audit import audit
from billing.ledger.models import Account, Hold, HoldStatus
from billing.ledger.plans import PlanName
from tests.support.apps import local_api
from tests.support.calling import small_picture
from tests.support.job_calls import PREFER, job_of
from tests.support.load import NOON, account_with, admit, admitted, result_image, succeed
from tests.support.waiting import wait_until

SECOND = timedelta(seconds=1)
LAPSED = NOON + 30 * SECOND


def test_credits_held_by_a_dead_process_are_released_within_60_seconds(database: Database) -> None:
    assert admission.LEASE_SECONDS + 2 * cleanup.EVERY_SECONDS <= 60
    with database.transaction() as session:
        account = account_with(session, credits=5)
        calls = [admitted(session, account.id, key=f"{number}") for number in range(3)]
        kept_alive = admitted(session, account.id, key="alive", now=NOON + 15 * SECOND)

    assert asyncio.run(cleanup.release_lapsed_holds(database, LAPSED - SECOND)) == 0
    assert asyncio.run(cleanup.release_lapsed_holds(database, LAPSED)) == 3
    assert asyncio.run(cleanup.release_lapsed_holds(database, LAPSED)) == 0

    with database.transaction() as session:
        after = session.get_one(Account, account.id)
        assert (after.available, after.held) == (4, 1)
        for call in calls:
            assert session.get_one(Hold, call.hold_id).status == HoldStatus.EXPIRED
            with pytest.raises(JoinedCallLost):
                idempotency.joined_state(session, call.replay_id, LAPSED)
        assert session.get_one(Hold, kept_alive.hold_id).status == HoldStatus.OPEN
        assert isinstance(admit(session, account.id, key="0", fingerprint="corrected", now=LAPSED), Admitted)
        assert audit(session) == []


def test_a_process_that_resumes_after_the_sweep_has_lost_the_call_and_charges_nothing(
    database: Database,
) -> None:
    with database.transaction() as session:
        account = account_with(session, credits=5)
        call = admitted(session, account.id, key="k")
    asyncio.run(cleanup.release_lapsed_holds(database, LAPSED))
    with pytest.raises(LeaseLost):
        database.submit(lambda session: succeed(session, call, now=LAPSED)).result()
    database.submit(lambda session: admission.settle_failure(session, call, now=LAPSED)).result()
    with database.transaction() as session:
        assert admission.renew(session, "process-1", [call.hold_id], LAPSED) == set()
        assert session.get_one(Account, account.id).available == 5
        assert session.exec(select(Image)).all() == []


def test_several_sweepers_at_once_release_each_hold_once(migrated_database_url: str) -> None:
    databases = [Database(migrated_database_url) for _ in range(4)]
    with databases[0].transaction() as session:
        account = account_with(session, credits=50)
        for number in range(40):
            admitted(session, account.id, key=f"{number}")

    async def test() -> int:
        released = await asyncio.gather(
            *(cleanup.release_lapsed_holds(database, LAPSED) for database in databases)
        )
        return sum(released)

    assert asyncio.run(test()) == 40
    with databases[0].transaction() as session:
        assert session.get_one(Account, account.id).available == 50
        assert audit(session) == []
    for database in databases:
        database.close()


def test_stored_responses_are_deleted_when_they_expire(database: Database) -> None:
    with database.transaction() as session:
        account = account_with(session, credits=5)
        succeed(session, admitted(session, account.id))
        succeed(session, admitted(session, account.id, key="k"))
    assert asyncio.run(cleanup.delete_expired_rows(database, NOON + timedelta(minutes=10))) == 1
    assert asyncio.run(cleanup.delete_expired_rows(database, NOON + timedelta(hours=24))) == 1
    with database.transaction() as session:
        assert session.exec(select(func.count()).select_from(Replay)).one() == 0


def expired_images(database: Database, count: int) -> list[str]:
    """Pictures that expired at NOON + 24 h, several of them at the same moment."""
    with database.transaction() as session:
        account = account_with(session, credits=0)
        images = [result_image(account.id) for _ in range(count)]
        session.add_all(images)
        return [image.id for image in images]


def stored_images(database: Database) -> set[str]:
    with database.transaction() as session:
        return set(session.exec(select(Image.id)))


ENDED = NOON + timedelta(hours=24)
LATER = ENDED + timedelta(minutes=2)


def test_an_expired_image_is_deleted_bytes_first_after_a_delay(database: Database) -> None:
    ids = expired_images(database, 2)
    with database.transaction() as session:
        kept = result_image(account_with(session, credits=0).id)
        kept.expires_at = NOON + timedelta(days=2)
        session.add(kept)
    deleted: list[str] = []

    def delete_bytes(image_id: str) -> None:
        assert stored_images(database) == {*ids, kept.id}
        deleted.append(image_id)

    asyncio.run(cleanup.delete_expired_images(database, delete_bytes, ENDED))
    assert deleted == []
    asyncio.run(cleanup.delete_expired_images(database, delete_bytes, LATER))
    assert set(deleted) == set(ids)
    assert stored_images(database) == {kept.id}


def test_a_finished_job_leaves_less_than_a_kilobyte_once_it_is_forgotten(tmp_path: Path) -> None:
    """What it cost stays: the ledger's hold and entries, and the call's record. All else goes."""
    with local_api(tmp_path, has_workers=True) as api:
        headers = {"X-Api-Key": api.new_key("jobs@example.com", PlanName.STANDARD)}
        api.start(api.services.engine.run_forever)

        def status_of(path: str) -> str:
            return str(api.request("GET", path, headers=headers).json()["data"]["status"])

        def run_and_forget(count: int) -> int:
            """The bytes of all rows and index entries after so many more jobs."""
            for _ in range(count):
                accepted = api.request(
                    "POST",
                    "/api/tools/crop",
                    files={"image": small_picture()},
                    data={"width": "50%"},
                    headers=headers | PREFER,
                )
                path = f"/api/jobs/{job_of(accepted)}"
                wait_until(lambda path=path: status_of(path) == "succeeded")  # type: ignore[misc]
            api.clock.move(days=2)
            services = api.services
            asyncio.run(cleanup.delete_expired(services.database, services.storage.delete, api.clock))
            wait_until(lambda: (api.call(services.engine.check), rows_of("workflow_status"))[1] == 0)
            assert (rows_of("job"), rows_of("image"), rows_of("replay")) == (0, 0, 0)
            return int(read("SELECT sum(payload) FROM dbstat"))

        def rows_of(table: str) -> int:
            return int(read(f"SELECT count(*) FROM {table}"))

        def read(statement: str) -> int:
            with closing(sqlite3.connect(tmp_path / "bgeraser.db")) as connection:
                (value,) = connection.execute(statement).fetchone()
                return int(value)

        first = run_and_forget(1)
        assert 0 < run_and_forget(5) - first < 5 * 1024
        api.call(api.services.engine.close)


def test_a_backlog_of_several_batches_is_deleted_in_one_run(database: Database) -> None:
    ids = expired_images(database, 2 * cleanup.BATCH_SIZE + 1)
    deleted: list[str] = []
    run = cleanup.delete_expired_images(database, deleted.append, LATER)
    assert asyncio.run(run) == len(ids)
    assert sorted(deleted) == sorted(ids)
    assert stored_images(database) == set()


def test_a_backlog_of_rows_is_deleted_in_one_run(database: Database) -> None:
    count = 2 * cleanup.BATCH_SIZE + 1
    with database.transaction() as session:
        session.add_all(Throttle(bucket=f"{number}", full_at=NOON) for number in range(count))
    assert asyncio.run(cleanup.delete_expired_rows(database, NOON)) == count


def test_a_backlog_of_lapsed_holds_is_released_in_one_run(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleanup, "BATCH_SIZE", 2)
    with database.transaction() as session:
        account = account_with(session, credits=10)
        for number in range(5):
            admitted(session, account.id, key=f"{number}")
    assert asyncio.run(cleanup.release_lapsed_holds(database, LAPSED)) == 5


def test_an_image_that_cannot_be_deleted_does_not_block_the_others(database: Database) -> None:
    ids = expired_images(database, cleanup.BATCH_SIZE + 5)
    stuck = set(sorted(ids)[: cleanup.BATCH_SIZE])  # a whole batch of them, first in the order

    def delete_bytes(image_id: str) -> None:
        if image_id in stuck:
            raise PermissionError(image_id)

    assert asyncio.run(cleanup.delete_expired_images(database, delete_bytes, LATER)) == 5
    assert stored_images(database) == stuck
    assert asyncio.run(cleanup.delete_expired_images(database, lambda _: None, LATER)) == len(stuck)


def test_only_one_process_deletes_at_a_time(migrated_database_url: str) -> None:
    databases = [Database(migrated_database_url) for _ in range(2)]
    ids = expired_images(databases[0], 3)
    deleted: list[str] = []
    now = [LATER]

    async def test() -> None:
        begun, release = asyncio.Event(), threading.Event()
        loop = asyncio.get_running_loop()

        def delete_slowly(image_id: str) -> None:
            loop.call_soon_threadsafe(begun.set)
            release.wait()
            deleted.append(image_id)

        first = asyncio.create_task(cleanup.delete_expired(databases[0], delete_slowly, lambda: now[0]))
        await begun.wait()
        await cleanup.delete_expired(databases[1], deleted.append, lambda: now[0])
        assert deleted == []  # the second process leaves it to the first
        release.set()
        await first
        assert sorted(deleted) == sorted(ids)
        more = expired_images(databases[0], 1)
        await cleanup.delete_expired(databases[1], deleted.append, lambda: now[0])
        assert stored_images(databases[0]) == set(more)  # not due yet
        now[0] += timedelta(seconds=cleanup.EVERY_SECONDS)
        await cleanup.delete_expired(databases[1], deleted.append, lambda: now[0])
        assert stored_images(databases[0]) == set()

    asyncio.run(test())
    for database in databases:
        database.close()


def test_another_process_takes_over_from_one_that_died_while_deleting(database: Database) -> None:
    expired_images(database, 1)

    async def test() -> None:
        assert await leader.try_claim(database, "cleanup", timedelta(minutes=1), LATER)  # and dies
        await cleanup.delete_expired(database, lambda _: None, lambda: LATER)
        assert len(stored_images(database)) == 1
        await cleanup.delete_expired(database, lambda _: None, lambda: LATER + timedelta(minutes=1))
        assert stored_images(database) == set()

    asyncio.run(test())


def test_the_loop_continues_after_a_failure(migrated_database_url: str) -> None:
    database = Database(migrated_database_url)
    with database.transaction() as session:
        account = account_with(session, credits=5)
        admitted(session, account.id, key="k")
        session.add(result_image(account.id))
    moment = [NOON + timedelta(days=2)]
    attempts = 0

    def clock() -> datetime:
        moment[0] += timedelta(minutes=1)
        return moment[0]

    def delete_bytes(image_id: str) -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise RuntimeError("unforeseen")

    async def test() -> None:
        cleaning = asyncio.create_task(
            cleanup.run_forever(database, delete_bytes, clock=clock, every_seconds=0.01)
        )
        while await database.read(lambda session: session.exec(select(Image.id)).all()):  # noqa: ASYNC110 - rows send no events
            await asyncio.sleep(0.01)
        cleaning.cancel()
        await asyncio.gather(cleaning, return_exceptions=True)

    asyncio.run(test())
    assert attempts == 2
    with database.transaction() as session:
        assert session.get_one(Account, account.id).available == 5
    database.close()
