"""Running calls and their waiting callers: stopping, leaving and sharing a call."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from api.calls import service as calls
from api.calls.in_flight import CallWaiter, InFlightCall, RunningWork
from api.calls.tool_runner import OnProgress
from api.calls.types import CallFailed, CallRequest, CallResult
from api.errors import status_and_code
from billing.identifiers import new_id
from billing.ledger import accounts
from billing.ledger.models import Account
from ml.backend import Priority, Progress
from ml.catalogue import TOOLS
from ml.errors import Cancelled
from ml.runtime.local import LocalBackend
from tests.support.apps import LocalApi, local_api
from tests.support.calling import small_picture
from tests.support.ml.backends import children_pids
from tests.support.ml.photos import jpeg_bytes, photo
from tests.support.waiting import PATIENCE_SECONDS, run_ready_tasks

#: Encoding this takes a worker seconds.
SLOW = {"width": "100%", "height": "100%", "format": "avif", "quality": "100"}
SLOW_IMAGE = jpeg_bytes(np.tile(photo("motorcycle_left"), (5, 5, 1)))


def request_of(
    account_id: str, params: Mapping[str, str] = {"width": "9"}, image: bytes | None = None
) -> CallRequest:
    tool = TOOLS["crop"]
    return CallRequest(
        request_id=new_id("req"),
        account_id=account_id,
        priority=Priority.FREE,
        tool=tool,
        params=tool.params.model_validate(params),
        files={"image": image or small_picture()},
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


Waiters = tuple[ObservedWaiter, ObservedWaiter]


async def shared_call(
    api: LocalApi, request: CallRequest, on_progress: OnProgress | None = None
) -> tuple[Waiters, tuple["asyncio.Task[CallResult]", "asyncio.Task[CallResult]"]]:
    """Two identical requests, both of which wait for one queued call when this returns."""
    first, second = ObservedWaiter(), ObservedWaiter()
    executing = asyncio.create_task(calls.run(api.services, request, on_progress, first))
    await queued(api)
    joined = asyncio.create_task(calls.run(api.services, request, waiter=second))
    for waiter in (first, second):
        await waiter.waits.wait()
    return (first, second), (executing, joined)


@contextmanager
def workers_started(api: LocalApi) -> Iterator[None]:
    backend = api.services.backend
    assert isinstance(backend, LocalBackend)
    backend.start()
    try:
        yield
    finally:
        backend.close()


@pytest.mark.parametrize("is_early", [True, False], ids=["before admission", "in the queue"])
def test_a_queued_call_is_stopped_without_a_charge(tmp_path: Path, is_early: bool) -> None:
    with local_api(tmp_path) as api:  # without workers it would wait for ever
        account_id = account_of(api)

        async def scenario() -> None:
            waiter = CallWaiter()
            if is_early:
                assert not waiter.stop()
            call = calls.run(api.services, request_of(account_id), waiter=waiter)
            task = asyncio.create_task(call)
            if not is_early:
                await queued(api)
                assert waiter.stop()
            with pytest.raises(CallFailed) as failed:
                await task
            assert isinstance(failed.value.error, Cancelled)

        api.call(scenario)
        assert balance(api, account_id) == (15, 0)


def test_stopping_a_shared_call_only_leaves_it(tmp_path: Path) -> None:
    with local_api(tmp_path) as api:
        account_id = account_of(api)

        async def scenario() -> None:
            (first, second), tasks = await shared_call(api, request_of(account_id))
            assert not first.stop()
            assert not first.stop()  # twice counts once
            await run_ready_tasks()
            assert api.services.backend.state().queued == 1
            assert second.stop()
            for task in tasks:
                with pytest.raises(CallFailed) as failed:
                    await task
                assert isinstance(failed.value.error, Cancelled)

        api.call(scenario)
        assert balance(api, account_id) == (15, 0)


def test_a_queued_call_continues_for_a_joined_caller_when_the_first_one_leaves(tmp_path: Path) -> None:
    with local_api(tmp_path) as api:
        account_id = account_of(api)

        async def scenario() -> None:
            _, (executing, joined) = await shared_call(api, request_of(account_id))
            executing.cancel()  # as the routes do when the client disconnects
            with pytest.raises(asyncio.CancelledError):
                await executing
            with workers_started(api):
                result = await joined
            assert (result.status, result.is_replay, result.account_status.credits_charged) == (200, True, 0)

        api.call(scenario)
        assert balance(api, account_id) == (14, 0)


def test_callers_that_joined_a_failing_call_get_its_failure_without_a_charge(tmp_path: Path) -> None:
    with local_api(tmp_path) as api:
        account_id = account_of(api)

        async def scenario() -> None:
            started = threading.Event()

            def on_progress(progress: Progress) -> None:
                if progress.fraction > 0:  # A call whose worker dies earlier is run again.
                    started.set()

            _, tasks = await shared_call(api, request_of(account_id, SLOW, SLOW_IMAGE), on_progress)
            before = children_pids()
            with workers_started(api):
                assert await asyncio.to_thread(started.wait, PATIENCE_SECONDS)
                for pid in children_pids() - before:
                    os.kill(pid, signal.SIGKILL)
                for task in tasks:
                    with pytest.raises(CallFailed) as failed:
                        await task
                    assert status_and_code(failed.value.error) == (500, "PROCESSING_FAILED")

        api.call(scenario)
        assert balance(api, account_id) == (15, 0)


def _slow(gate: asyncio.Event, ends: list[str]) -> Callable[[], Coroutine[Any, Any, bytes]]:
    async def work() -> bytes:
        try:
            await gate.wait()
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise
        ends.append("done")
        return b"made"

    return work


def test_shared_work_goes_on_until_the_last_who_waits_has_left() -> None:
    async def main() -> None:
        running, gate = RunningWork(), asyncio.Event()
        ends: list[str] = []
        first, second = (asyncio.create_task(running.share("a", _slow(gate, ends))) for _ in range(2))
        await run_ready_tasks()
        first.cancel()
        await run_ready_tasks()
        assert ends == []
        second.cancel()
        await run_ready_tasks()
        assert ends == ["cancelled"]
        again = asyncio.create_task(running.share("a", _slow(gate, ends)))
        gate.set()
        assert await again == b"made"
        assert ends == ["cancelled", "done"]
        assert (running._tasks, running._shared) == (set(), {})

    asyncio.run(main())


def test_shared_work_that_begins_while_its_forerunner_is_cancelled_is_its_own() -> None:
    async def main() -> None:
        running, gate = RunningWork(), asyncio.Event()
        ends: list[str] = []
        first = asyncio.create_task(running.share("a", _slow(gate, ends)))
        await run_ready_tasks()
        first.cancel()
        second = asyncio.create_task(running.share("a", _slow(gate, ends)))
        await run_ready_tasks()
        gate.set()
        assert await second == b"made"

    asyncio.run(main())


def test_a_shutdown_waits_for_shared_work() -> None:
    async def main() -> None:
        running, gate = RunningWork(), asyncio.Event()
        ends: list[str] = []
        done = asyncio.create_task(running.share("a", _slow(gate, ends)))
        await run_ready_tasks()
        shutdown = asyncio.create_task(running.settle_all(grace_seconds=60))
        await run_ready_tasks()
        assert not shutdown.done()
        gate.set()
        await shutdown
        assert (await done, ends) == (b"made", ["done"])

    asyncio.run(main())
