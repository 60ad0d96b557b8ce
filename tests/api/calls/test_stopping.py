"""Calls that are stopped by the one who asked: nothing is charged, whenever it comes."""

import asyncio
from pathlib import Path

import pytest

from api.calls import service as calls
from api.calls.in_flight import CallWaiter, InFlightCall
from api.calls.types import CallFailed, CallRequest
from billing.identifiers import new_id
from billing.ledger import accounts
from billing.ledger.models import Account
from ml.backend import Priority
from ml.catalogue import TOOLS
from ml.errors import Cancelled
from tests.support.apps import LocalApi, local_api
from tests.support.calling import small_picture
from tests.support.waiting import run_ready_tasks


def request_of(account_id: str) -> CallRequest:
    tool = TOOLS["crop"]
    return CallRequest(
        request_id=new_id("req"),
        account_id=account_id,
        priority=Priority.FREE,
        tool=tool,
        params=tool.params.model_validate({"width": "9"}),
        files={"image": small_picture()},
        base_url="http://test",
    )


def account_of(api: LocalApi) -> str:
    api.new_key("a@example.com")
    with api.services.database.transaction() as session:
        return accounts.find_by_email(session, "a@example.com").id


def balance(api: LocalApi, account_id: str) -> tuple[int, int]:
    with api.services.database.transaction() as session:
        account = session.get_one(Account, account_id)
        return account.available, account.held


class ObservedWaiter(CallWaiter):
    """Reports when it waits for a call."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = asyncio.Event()

    def wait_for(self, call: InFlightCall) -> None:
        super().wait_for(call)
        self.waits.set()


async def queued(api: LocalApi) -> None:
    while api.services.backend.state().queued == 0:  # noqa: ASYNC110 - the queue has no event to wait for
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("is_early", [True, False], ids=["before admission", "in the queue"])
def test_a_queued_call_is_stopped_without_a_charge(tmp_path: Path, is_early: bool) -> None:
    with local_api(tmp_path) as api:  # without workers it would wait for ever
        account_id = account_of(api)

        async def story() -> None:
            waiter = CallWaiter()
            if is_early:
                waiter.stop()
            call = calls.run(api.services, request_of(account_id), waiter=waiter)
            task = asyncio.create_task(call)
            if not is_early:
                await queued(api)
                waiter.stop()
            with pytest.raises(CallFailed) as failed:
                await task
            assert isinstance(failed.value.error, Cancelled)

        api.call(story)
        assert balance(api, account_id) == (15, 0)


def test_stopping_a_shared_call_only_leaves_it(tmp_path: Path) -> None:
    with local_api(tmp_path) as api:
        account_id = account_of(api)

        async def story() -> None:
            request = request_of(account_id)
            first, second = ObservedWaiter(), ObservedWaiter()
            tasks = [
                asyncio.create_task(calls.run(api.services, request, waiter=waiter))
                for waiter in (first, second)
            ]
            await queued(api)
            for waiter in (first, second):
                await waiter.waits.wait()
            first.stop()
            first.stop()  # twice counts once
            await run_ready_tasks()
            assert api.services.backend.state().queued == 1
            second.stop()
            for task in tasks:
                with pytest.raises(CallFailed) as failed:
                    await task
                assert isinstance(failed.value.error, Cancelled)

        api.call(story)
        assert balance(api, account_id) == (15, 0)
