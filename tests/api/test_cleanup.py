"""What time undoes, in one process or in several at once."""

import asyncio
from datetime import timedelta

import pytest
from sqlmodel import func, select

from api import cleanup
from api.calls import admission, idempotency
from api.calls.admission import Admitted
from api.calls.idempotency import JoinedCallLost
from api.db.database import Database
from api.db.models import Image, Replay
from billing.errors import LeaseLost
from billing.ledger.audit import audit
from billing.ledger.models import Account, Hold, HoldStatus
from tests.support.load import NOON, account_with, admit, admitted, result_image, succeed

SECOND = timedelta(seconds=1)
LAPSED = NOON + 30 * SECOND


def test_a_dead_processs_credits_are_back_within_60_seconds(database: Database) -> None:
    assert admission.LEASE_SECONDS + 2 * cleanup.SWEEP_EVERY_SECONDS <= 60
    with database.transaction() as session:
        account = account_with(session, credits=5)
        calls = [admitted(session, account.id, key=f"{number}") for number in range(3)]
        kept_alive = admitted(session, account.id, key="alive", now=NOON + 15 * SECOND)

    assert asyncio.run(cleanup.sweep(database, LAPSED - SECOND)).released_holds == 0
    assert asyncio.run(cleanup.sweep(database, LAPSED)).released_holds == 3
    assert asyncio.run(cleanup.sweep(database, LAPSED)).released_holds == 0

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


def test_who_comes_back_after_the_sweep_has_lost_the_call_and_charges_nothing(database: Database) -> None:
    with database.transaction() as session:
        account = account_with(session, credits=5)
        call = admitted(session, account.id, key="k")
    asyncio.run(cleanup.sweep(database, LAPSED))
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
        swept = await asyncio.gather(*(cleanup.sweep(database, LAPSED) for database in databases))
        return sum(one.released_holds for one in swept)

    assert asyncio.run(test()) == 40
    with databases[0].transaction() as session:
        assert session.get_one(Account, account.id).available == 50
        assert audit(session) == []
    for database in databases:
        database.close()


def test_answers_are_forgotten_when_their_time_is_over(database: Database) -> None:
    with database.transaction() as session:
        account = account_with(session, credits=5)
        succeed(session, admitted(session, account.id))
        succeed(session, admitted(session, account.id, key="k"))
    assert asyncio.run(cleanup.sweep(database, NOON + timedelta(minutes=10))).forgotten_answers == 1
    assert asyncio.run(cleanup.sweep(database, NOON + timedelta(hours=24))).forgotten_answers == 1
    with database.transaction() as session:
        assert session.exec(select(func.count()).select_from(Replay)).one() == 0


def test_an_image_goes_bytes_first_a_little_after_it_expired(database: Database) -> None:
    with database.transaction() as session:
        account = account_with(session, credits=0)
        images = [result_image(account.id) for _ in range(3)]
        ids = {image.id for image in images[:2]}
        images[2].expires_at = NOON + timedelta(days=2)
        session.add_all(images)
    ended = NOON + timedelta(hours=24)
    assert asyncio.run(cleanup.sweep(database, ended)).expired_image_ids == []
    later = ended + timedelta(minutes=2)
    deleted: list[str] = []

    async def delete_bytes(image_ids: list[str]) -> None:
        deleted.extend(image_ids)
        with database.transaction() as session:
            assert session.exec(select(func.count()).select_from(Image)).one() == 3

    async def test() -> None:
        sweeping = asyncio.create_task(
            cleanup.sweep_forever(database, delete_bytes, clock=lambda: later, every_seconds=0.01)
        )
        while len(await database.read(lambda session: session.exec(select(Image.id)).all())) != 1:  # noqa: ASYNC110 - rows send no events
            await asyncio.sleep(0.01)
        sweeping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sweeping

    asyncio.run(test())
    assert set(deleted) == ids


def test_a_sweep_that_fails_is_put_off_and_tried_again(migrated_database_url: str) -> None:
    database = Database(migrated_database_url, lock_wait_seconds=0.1)
    with database.transaction() as session:
        account = account_with(session, credits=5)
        admitted(session, account.id, key="k")
        session.add(result_image(account.id))
    later = NOON + timedelta(days=2)
    attempts = 0

    async def delete_bytes(image_ids: list[str]) -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise OSError("the store is away")

    async def test() -> None:
        sweeping = asyncio.create_task(
            cleanup.sweep_forever(database, delete_bytes, clock=lambda: later, every_seconds=0.01)
        )
        while await database.read(lambda session: session.exec(select(Image.id)).all()):  # noqa: ASYNC110 - rows send no events
            await asyncio.sleep(0.01)
        sweeping.cancel()
        await asyncio.gather(sweeping, return_exceptions=True)

    asyncio.run(test())
    assert attempts == 2
    with database.transaction() as session:
        assert session.get_one(Account, account.id).available == 5
    database.close()
