"""Runs durable tasks while there are any.

A task is a row of DBOS in our own database, written by the transaction that accepts the work, so that neither
exists without the other. Any process may run it. The engine of a process starts with the first task and ends
after a minute without one: polling for tasks costs processor time, which an idle server need not pay.

A process may also leave all tasks to others (`EnginePolicy`): it still enqueues them. A process that is there
for tasks only looks for them all the time.

Each process whose engine runs has a lease. When it has lapsed, another process gives the dead one's tasks
back to their queue, so a task may be run again, or twice at once if a process was only slow. It is therefore
the task's own transaction, not the engine, that makes its effects happen once.
"""

import asyncio
import importlib
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from enum import Enum
from types import ModuleType
from typing import TYPE_CHECKING

import sqlalchemy
import structlog
from sqlmodel import Session, col, delete, select

from api.db.database import Database
from api.db.models import EngineProcess
from api.durable.tasks import Task, TaskKind, TaskQueue
from api.errors import ServiceUnavailable

if TYPE_CHECKING:
    from api.durable.workflows import TaskClient

CHECK_EVERY_SECONDS = 10.0
#: With a check every 10 seconds a dead process's tasks are taken over within 60.
LEASE = timedelta(seconds=30)
#: The engine ends after so many checks without a task.
_IDLE_CHECKS = 6
#: Tasks that the engine does not know, for example after the database was copied, are looked for at the start
#: and again after so many checks.
_RECONCILE_EVERY_CHECKS = 30
_BATCH_SIZE = 200
_FINISHED_PER_CHECK = 1_000
_CONNECTIONS = 6

log = structlog.get_logger()


class EnginePolicy(Enum):
    """When a process runs tasks."""

    WHILE_NEEDED = "while there are any"
    ALWAYS = "from its start to its end, so that new ones of other processes begin at once"
    NEVER = "other processes run them"


class Engine:
    """The engine of one process. All methods but `enqueue` are for the event loop."""

    def __init__(
        self,
        database: Database,
        process_id: str,
        clock: Callable[[], datetime],
        policy: EnginePolicy = EnginePolicy.WHILE_NEEDED,
    ) -> None:
        self._policy = policy
        self._database = database
        self._process_id = process_id
        self._clock = clock
        self._kinds: dict[str, TaskKind] = {}
        self._queues: dict[str, TaskQueue] = {}
        self._workflows: ModuleType | None = None
        self._client: TaskClient | None = None
        self._connections: sqlalchemy.Engine | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_launched = False
        self._is_stopping = False
        self._preparing = asyncio.Lock()
        self._has_news = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()
        self._idle_checks = 0
        self._checks = 0

    @property
    def is_running(self) -> bool:
        return self._is_launched

    @property
    def is_prepared(self) -> bool:
        """Whether `enqueue` may be called."""
        return self._client is not None

    @property
    def is_stopping(self) -> bool:
        """Whether the process ends; tasks should then be left to other processes."""
        return self._is_stopping

    def register(self, kind: TaskKind, *queues: TaskQueue) -> None:
        """Declare a kind of task and the queues that it uses, before `run_forever`."""
        self._kinds[kind.name] = kind
        self._queues |= {queue.name: queue for queue in queues}

    async def prepare(self) -> None:
        """Load what `enqueue` needs. Call it before the transaction."""
        async with self._preparing:
            if self._client is None:
                self._client = await asyncio.to_thread(self._open_client)

    def enqueue(self, session: Session, kind: str, task: Task, *, delay: timedelta | None = None) -> None:
        """Enqueue the task in the caller's transaction, after `prepare`. Call `wake` after the commit."""
        assert self._client is not None
        assert kind in self._kinds
        assert task.queue in self._queues
        self._client.enqueue(session, kind, task, delay)

    def wake(self) -> None:
        """There is a new task."""
        if not self._is_launched:
            self._has_news.set()

    async def run_forever(self) -> None:
        """Start and end the engine as needed, and take over the tasks of dead processes, until `close`."""
        while not self._is_stopping:
            try:
                await self.check()
            except ServiceUnavailable:
                log.warning("tasks wait for the database")
            except Exception:
                # Without this the loop would end silently, and tasks would wait until a restart.
                log.exception("tasks could not be checked; it is tried again")
            try:
                async with asyncio.timeout(CHECK_EVERY_SECONDS):
                    await self._has_news.wait()
            except TimeoutError:
                pass
            self._has_news.clear()

    async def check(self) -> None:
        """One round of `run_forever`."""
        if self._is_stopping or self._policy is EnginePolicy.NEVER:
            return
        has_tasks = await self._database.read(self._has_tasks)
        is_wanted = has_tasks or self._policy is EnginePolicy.ALWAYS
        if is_wanted and not self._is_launched:
            await self._launch()
        if not self._is_launched:
            return
        await self._database.run(self._renew_lease)
        await self._take_over()
        if self._checks % _RECONCILE_EVERY_CHECKS == 0:
            await self._enqueue_unknown()
        self._checks += 1
        assert self._client is not None
        await asyncio.to_thread(self._client.delete_finished, _FINISHED_PER_CHECK)
        self._idle_checks = 0 if is_wanted or self._running else self._idle_checks + 1
        if self._idle_checks >= _IDLE_CHECKS:
            await self._end()
            # A task may have been enqueued meanwhile.
            self._has_news.set()

    def begin_stop(self) -> None:
        """The process ends: start no more tasks. Those that run go on until `close`."""
        self._is_stopping = True

    async def close(self) -> None:
        """Leave the unfinished tasks to other processes. Cancels those that still run."""
        self._is_stopping = True
        self._has_news.set()
        await self._end()
        async with self._preparing:
            client, self._client = self._client, None
            if client is not None:
                await asyncio.to_thread(client.close)
            if self._connections is not None:
                await asyncio.to_thread(self._connections.dispose)

    def _open_client(self) -> "TaskClient":
        from api.durable.workflows import TaskClient

        self._connections = self._database.open_engine(_CONNECTIONS)
        return TaskClient(self._connections)

    async def _launch(self) -> None:
        await self.prepare()
        self._loop = asyncio.get_running_loop()
        # Before the first task is taken, so that it is never without a lease.
        await self._database.run(self._renew_lease)
        self._workflows = await asyncio.to_thread(importlib.import_module, "api.durable.workflows")
        await asyncio.to_thread(
            self._workflows.launch,
            self._connections,
            self._process_id,
            list(self._queues.values()),
            self._run_in_thread,
        )
        self._is_launched = True
        self._idle_checks = self._checks = 0
        log.info("the task engine runs")

    async def _end(self) -> None:
        if not self._is_launched:
            return
        assert self._workflows is not None
        assert self._client is not None
        ending = asyncio.create_task(asyncio.to_thread(self._workflows.end))
        # Tasks may be claimed until DBOS has stopped looking for them.
        while not ending.done() or self._running:
            for task in list(self._running):
                task.cancel()
            await asyncio.wait({ending, *self._running}, timeout=0.05)
        ending.result()
        self._is_launched = False
        try:
            await asyncio.to_thread(self._client.requeue_tasks_of, self._process_id)
            await self._database.run(lambda session: _forget(session, self._process_id))
        except Exception:
            log.warning("this process's tasks are taken over when its lease has lapsed", exc_info=True)
        log.info("the task engine has ended")

    def _run_in_thread(self, kind_name: str, task_id: str) -> None:
        """Run a task on the event loop, and wait for it in a thread of DBOS."""
        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(self._run(kind_name, task_id), self._loop).result()

    async def _run(self, kind_name: str, task_id: str) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        try:
            if self._is_stopping:
                # Until `close` cancels this. Returning would end the task, and make room to claim the next.
                await asyncio.Event().wait()
            await self._kinds[kind_name].run(task_id)
        finally:
            self._running.discard(task)

    def _has_tasks(self, session: Session) -> bool:
        return any(kind.unfinished(session, "", 1) for kind in self._kinds.values())

    def _renew_lease(self, session: Session) -> None:
        session.merge(EngineProcess(id=self._process_id, lease_until=self._clock() + LEASE))

    async def _take_over(self) -> None:
        """Give the tasks of dead processes back to their queues."""
        assert self._client is not None
        dead = await self._database.read(lambda session: _lapsed(session, self._clock()))
        for process_id in dead:
            count = await asyncio.to_thread(self._client.requeue_tasks_of, process_id)
            # Last, so that another process repeats this if it was interrupted.
            await self._database.run(lambda session, one=process_id: _forget(session, one))  # type: ignore[misc]
            if count:
                log.warning("took over the tasks of a process that died", process=process_id, tasks=count)

    async def _enqueue_unknown(self) -> None:
        """Enqueue unfinished tasks that the engine does not know."""
        for kind in self._kinds.values():
            after = ""
            while True:
                tasks = await self._database.read(
                    lambda session, k=kind, a=after: k.unfinished(session, a, _BATCH_SIZE)  # type: ignore[misc]
                )
                await self._enqueue_missing(kind, tasks)
                if len(tasks) < _BATCH_SIZE:
                    break
                after = tasks[-1].id

    async def _enqueue_missing(self, kind: TaskKind, tasks: Sequence[Task]) -> None:
        client = self._client
        assert client is not None
        if not tasks:
            return
        ids = [task.id for task in tasks]
        # One that ends meanwhile is enqueued again, which has no effect.
        known = await asyncio.to_thread(client.known, ids)
        missing = [task for task in tasks if task.id not in known]
        if not missing:
            return
        log.warning("tasks that the engine did not know are enqueued", tasks=len(missing))
        # A workflow that ended, but not its task, would keep its id from being enqueued again.
        await asyncio.to_thread(client.delete, [task.id for task in missing])

        def enqueue(session: Session) -> None:
            for task in missing:
                client.enqueue(session, kind.name, task, None)

        await self._database.run(enqueue)


def _lapsed(session: Session, now: datetime) -> list[str]:
    return list(session.exec(select(EngineProcess.id).where(col(EngineProcess.lease_until) <= now)))


def _forget(session: Session, process_id: str) -> None:
    session.execute(delete(EngineProcess).where(col(EngineProcess.id) == process_id))
