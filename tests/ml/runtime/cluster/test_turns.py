"""Turns of calls of several servers: their order, and what becomes of those of servers that ended."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from ml.backend import Priority, ToolCall
from ml.params import Params
from ml.runtime.cluster.turns import TurnRequest, Turns
from ml.runtime.messages import StartCall
from tests.support.waiting import run_ready_tasks


def request(
    server: str, number: int, priority: Priority = Priority.FREE, *, is_long: bool = False
) -> TurnRequest:
    return TurnRequest(server, number, priority, 1.0, is_long, is_billed=True)


async def asked(turns: Turns, *requests: TurnRequest) -> list["asyncio.Task[bool]"]:
    tasks = [asyncio.create_task(turns.take("cutout", each)) for each in requests]
    await run_ready_tasks()
    return tasks


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


def test_as_many_calls_have_a_turn_as_replicas_run_and_spare_ones() -> None:
    async def test() -> None:
        turns = Turns()
        await turns.renew("a", {"cutout": (2, 1)})
        tasks = await asked(turns, *(request("a", number) for number in range(5)))
        assert [task.done() for task in tasks] == [True, True, True, False, False]
        assert await turns.counts() == {"cutout": (2, 3)}
        await turns.give_back("cutout", "a", 1)
        assert await tasks[3]
        await turns.give_back("cutout", "a", 4)  # it waits, and is not wanted any more
        assert not await tasks[4]
        await turns.give_back("cutout", "a", 4)
        await turns.give_back("upscale", "a", 4)
        assert await turns.counts() == {"cutout": (0, 3)}

    run(test())


def test_a_paid_call_of_one_server_precedes_free_ones_of_another() -> None:
    async def test() -> None:
        turns = Turns()
        await turns.renew("a", {"cutout": (1, 0)})
        free = await asked(turns, *(request("a", number) for number in range(6)))
        (paid,) = await asked(turns, request("b", 0, Priority.PAID))
        await turns.give_back("cutout", "a", 0)
        assert await paid
        assert [task.done() for task in free] == [True, False, False, False, False, False]
        for task in free:
            task.cancel()

    run(test())


def test_long_calls_leave_a_replica_to_others() -> None:
    async def test() -> None:
        turns = Turns()
        await turns.renew("a", {"cutout": (2, 0)})
        tasks = await asked(
            turns, request("a", 0, is_long=True), request("b", 0, is_long=True), request("b", 1)
        )
        assert [task.done() for task in tasks] == [True, False, True]
        tasks[1].cancel()

    run(test())


def test_the_turns_of_a_server_that_is_silent_are_given_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        turns = Turns()
        for server in ("a", "b"):
            await turns.renew(server, {"cutout": (1, 0)})
        (lost,) = await asked(turns, request("a", 0))
        assert await lost
        (waiting, silent) = await asked(turns, request("b", 0), request("a", 1))
        assert not waiting.done()
        monkeypatch.setattr("ml.runtime.cluster.turns.SILENT_SECONDS", 0.0)
        await turns.renew("b", {"cutout": (1, 0)})
        assert await waiting
        assert not await silent

    run(test())


def test_the_turns_of_a_driver_that_was_replaced_are_given_at_once() -> None:
    async def test() -> None:
        turns = Turns()
        await turns.begin("server", "first")
        await turns.renew("first", {"cutout": (1, 0)})
        await turns.begin("another server", "b")
        await asked(turns, request("first", 0))
        (waiting, orphan) = await asked(turns, request("b", 0), request("first", 1))
        assert not waiting.done()
        await turns.begin("server", "second")
        assert await waiting
        assert not await orphan
        assert await turns.is_gone("first")
        assert not await turns.is_gone("second")
        assert not await turns.is_gone("b")
        assert not await turns.is_gone("of a time before the actor")
        await turns.begin("server", "second")
        assert not await turns.is_gone("second")

    run(test())


def test_a_sender_that_is_silent_is_gone_until_it_is_heard_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        turns = Turns()
        await turns.renew("a", {})
        assert not await turns.is_gone("a")
        monkeypatch.setattr("ml.runtime.cluster.turns.SILENT_SECONDS", 0.0)
        assert await turns.is_gone("a")
        await turns.renew("b", {})
        monkeypatch.setattr("ml.runtime.cluster.turns.SILENT_SECONDS", 60.0)
        assert await turns.is_gone("a")
        await turns.renew("a", {})
        assert not await turns.is_gone("a")

    run(test())


def test_a_request_says_what_the_queue_needs() -> None:
    call = ToolCall("crop", Params(), {}, Priority.PAID, is_billed=False)
    made = TurnRequest.of("a", 7, StartCall(1, call, (), None, 10.0))
    assert made == TurnRequest("a", 7, Priority.PAID, 0.5, is_long=False, is_billed=False)
    assert TurnRequest.of("a", 8, StartCall(1, call, (), None, None)).is_long
