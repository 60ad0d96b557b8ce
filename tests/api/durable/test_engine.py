"""The engine runs what was committed, also after a stop, and only while there is something to run."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from sqlmodel import Session, select

from api.db.database import Database
from api.db.models import EngineProcess
from api.durable import engine as engines
from api.durable.engine import Engine
from api.durable.tasks import Task, TaskKind, TaskQueue
from tests.support.apps import Clock

QUEUE = TaskQueue("tests", concurrency=4, partition_concurrency=2, poll_seconds=0.1)
ONE_BY_ONE = TaskQueue("one by one", concurrency=1, partition_concurrency=1, poll_seconds=0.1)
#: Enough turns of the event loop's timers for any test here; each ends as soon as it can.
LIMIT_SECONDS = 120.0


class Work:
    """Tasks that are done once their run has ended without an error."""

    def __init__(self, database: Database, process: str = "process_test") -> None:
        self.database = database
        self.clock = Clock()
        self.engine = Engine(database, process, self.clock)
        self.engine.register(TaskKind("work", self._run, self._unfinished), QUEUE, ONE_BY_ONE)
        self.unfinished: list[Task] = []
        self.runs: list[str] = []
        self.begun = asyncio.Event()
        self.may_end = asyncio.Event()
        self.may_end.set()

    def enqueue(
        self, session: Session, task_id: str, delay: timedelta | None = None, queue: TaskQueue = QUEUE
    ) -> None:
        task = Task(task_id, queue.name, "account")
        self.engine.enqueue(session, "work", task, delay=delay)
        self.unfinished.append(task)

    async def add(self, *task_ids: str) -> None:
        await self.engine.prepare()

        def enqueue(session: Session) -> None:
            self.unfinished = [task for task in self.unfinished if task.id not in task_ids]
            for task_id in task_ids:
                self.enqueue(session, task_id)

        await self.database.run(enqueue)

    async def until(self, is_met: Callable[[], bool]) -> None:
        async with asyncio.timeout(LIMIT_SECONDS):
            while not is_met():  # noqa: ASYNC110 - runs are counted in plain lists
                await asyncio.sleep(0.02)

    async def _run(self, task_id: str) -> None:
        self.runs.append(task_id)
        self.begun.set()
        await self.may_end.wait()
        self.unfinished = [task for task in self.unfinished if task.id != task_id]

    def _unfinished(self, session: Session, after: str, limit: int) -> list[Task]:
        return sorted((task for task in self.unfinished if task.id > after), key=lambda task: task.id)[:limit]


def run(database: Database, story: Callable[[Work], Awaitable[None]], process: str = "process_test") -> Work:
    async def tell() -> Work:
        work = Work(database, process)
        try:
            await story(work)
        finally:
            work.may_end.set()
            await work.engine.close()
        return work

    return asyncio.run(tell())


def leases(database: Database) -> list[str]:
    with database.transaction() as session:
        return list(session.exec(select(EngineProcess.id)))


def test_committed_tasks_run_once_and_those_of_a_failed_transaction_never(database: Database) -> None:
    async def story(work: Work) -> None:
        await work.engine.prepare()

        def enqueue_and_fail(session: Session) -> None:
            work.engine.enqueue(session, "work", Task("lost", QUEUE.name, "account"))
            raise ValueError("rolled back")

        with pytest.raises(ValueError, match="rolled back"):
            await database.run(enqueue_and_fail)
        await work.add("a", "b", "c")
        await work.engine.check()
        assert work.engine.is_running
        await work.until(lambda: not work.unfinished)
        assert sorted(work.runs) == ["a", "b", "c"]

    run(database, story)


def test_a_partition_s_tasks_run_in_the_order_in_which_they_came(database: Database) -> None:
    async def story(work: Work) -> None:
        await work.engine.prepare()
        for task_id in "edcba":
            await database.run(lambda session, one=task_id: work.enqueue(session, one, queue=ONE_BY_ONE))  # type: ignore[misc]
            await asyncio.sleep(0.002)  # so that their times, in milliseconds, differ
        await work.engine.check()
        await work.until(lambda: not work.unfinished)
        assert work.runs == list("edcba")

    run(database, story)


def test_the_engine_runs_only_while_there_are_tasks_and_leaves_no_rows(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "_IDLE_CHECKS", 2)

    async def story(work: Work) -> None:
        await work.engine.check()
        assert not work.engine.is_running
        for task_id in ("first", "second"):  # It starts again after it has ended.
            await work.add(task_id)
            await work.engine.check()
            await work.until(lambda: not work.unfinished)
            assert leases(database) == ["process_test"]
            while work.engine.is_running:
                await work.engine.check()
            assert leases(database) == []
        assert work.runs == ["first", "second"]

    run(database, story)
    with database.transaction() as session:
        schema = "" if database.is_sqlite else "dbos."
        for table in ("workflow_status", "workflow_input", "workflow_output", "operation_outputs"):
            count = session.connection().exec_driver_sql(f"select count(*) from {schema}{table}").scalar()
            assert count == 0, table


def test_a_task_that_runs_when_the_process_stops_is_left_to_the_next_one(database: Database) -> None:
    async def stop_while_it_runs(work: Work) -> None:
        work.may_end.clear()
        await work.add("a")
        await work.engine.check()
        await work.begun.wait()
        work.engine.begin_stop()
        await work.engine.close()
        assert leases(database) == []

    assert run(database, stop_while_it_runs).unfinished  # It was cancelled.

    async def go_on(work: Work) -> None:
        work.unfinished = [Task("a", QUEUE.name, "account")]
        await work.engine.check()
        await work.until(lambda: not work.unfinished)

    assert run(database, go_on, "process_next").runs == ["a"]


def test_tasks_that_the_engine_does_not_know_are_found(database: Database) -> None:
    """After a transfer to another database, for example, which copies our tables only."""

    async def story(work: Work) -> None:
        work.unfinished = [Task(task_id, QUEUE.name, "account") for task_id in ("a", "b")]
        await work.engine.check()
        await work.until(lambda: not work.unfinished)
        assert sorted(work.runs) == ["a", "b"]

    run(database, story)


def test_two_engines_in_one_process_are_refused(database: Database) -> None:
    async def story(work: Work) -> None:
        await work.add("a")
        await work.engine.check()
        other = Work(database, "process_other")
        other.unfinished = [Task("b", QUEUE.name, "account")]
        with pytest.raises(RuntimeError, match="another engine"):
            await other.engine.check()

    run(database, story)
