"""The calls of DBOS. `engine` imports this module when the first task is enqueued, because it takes a while.

DBOS is configured once a process and finds workflows by the names under which they were decorated, so both
are module globals here.
"""

import concurrent.futures
import logging
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import sqlalchemy
from dbos import DBOS, DBOSClient, DBOSConfig, DBOSPortableJSONSerializer, EnqueueOptions
from sqlmodel import Session

from api.durable.tasks import Task, TaskQueue

_APPLICATION = "bgeraser"
#: Workflows of another version would wait for a process of that version. All of ours are one step that reads
#: what to do from its own tables, so every version of this program can run them.
_VERSION = "1"
_WORKFLOW = "task"
#: Nothing here uses notifications. DBOS waits for this thread when it ends.
_NOTIFICATIONS_POLL_SECONDS = 0.5
_SCHEDULES_POLL_SECONDS = 3600.0
_SPARE_THREADS = 8
_UNFINISHED = ["ENQUEUED", "DELAYED", "PENDING"]
_FINISHED = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]

#: DBOS takes the time of SQLite in whole seconds there, so tasks of one second would run in any order.
_HAS_SECONDS_ONLY = sys.version_info < (3, 12)
_SET_MILLISECONDS = sqlalchemy.text(
    "UPDATE workflow_status SET created_at = CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"
    " WHERE workflow_uuid = :task_id"
)

#: Runs a task of a kind, in a thread of DBOS. None while no engine runs in this process.
_run_task: Callable[[str, str], None] | None = None


class EngineStopped(BaseException):
    """This process ends, and another one runs the task. Not an `Exception`, which would end the workflow."""


@DBOS.step(name="run")
def _run(kind: str, task_id: str) -> None:
    if _run_task is None:
        raise EngineStopped
    try:
        _run_task(kind, task_id)
    except concurrent.futures.CancelledError:
        raise EngineStopped from None


@DBOS.workflow(name=_WORKFLOW, max_recovery_attempts=None)
def _task(kind: str, task_id: str) -> None:
    _run(kind, task_id)


def launch(
    engine: sqlalchemy.Engine,
    executor_id: str,
    queues: Sequence[TaskQueue],
    run_task: Callable[[str, str], None],
) -> None:
    """Start running tasks in this process: `run_task(kind, task_id)`, which blocks, is called by threads."""
    global _run_task
    if _run_task is not None:
        raise RuntimeError("another engine runs in this process")
    _run_task = run_task
    _log_like_us()
    config: DBOSConfig = {
        "name": _APPLICATION,
        "application_version": _VERSION,
        "executor_id": executor_id,
        "system_database_engine": engine,
        "serializer": DBOSPortableJSONSerializer(),
        "run_migrations": False,
        "enable_otlp": False,
        "log_level": "WARNING",
        "max_executor_threads": sum(queue.concurrency for queue in queues) + _SPARE_THREADS,
        "notification_listener_polling_interval_sec": _NOTIFICATIONS_POLL_SECONDS,
        "scheduler_polling_interval_sec": _SCHEDULES_POLL_SECONDS,
    }
    DBOS(config=config)
    DBOS.launch()
    for queue in queues:
        DBOS.register_queue(
            queue.name,
            worker_concurrency=queue.concurrency,
            partition_worker_concurrency=queue.partition_concurrency,
            polling_interval_sec=queue.poll_seconds,
            on_conflict="always_update",
        )


def end() -> None:
    """Stop looking for tasks. Those that still run end once their `run_task` is cancelled."""
    global _run_task
    DBOS.destroy()
    _run_task = None


class TaskClient:
    """What needs only the database: also for processes whose engine does not run."""

    def __init__(self, engine: sqlalchemy.Engine) -> None:
        _log_like_us()
        self._client = DBOSClient(
            system_database_engine=engine,
            serializer=DBOSPortableJSONSerializer(),
            application_name=_APPLICATION,
            lazy=True,
            # An outage is reported; the engine's next check tries again.
            retry_connection_errors=False,
        )

    def enqueue(self, session: Session, kind: str, task: Task, delay: timedelta | None) -> None:
        """Enqueue the task in the session's transaction."""
        options: EnqueueOptions = {
            "workflow_name": _WORKFLOW,
            "workflow_id": task.id,
            "queue_name": task.queue,
            "queue_partition_key": task.partition,
            "app_version": _VERSION,
        }
        if delay is not None:
            options["delay_seconds"] = delay.total_seconds()
        self._client.enqueue_in_transaction(session, options, kind, task.id)
        if _HAS_SECONDS_ONLY and session.get_bind().dialect.name == "sqlite":
            session.execute(_SET_MILLISECONDS, {"task_id": task.id})

    def known(self, task_ids: Sequence[str]) -> set[str]:
        """Those of these tasks that wait or run."""
        return {found.workflow_id for found in self._list(workflow_ids=list(task_ids), status=_UNFINISHED)}

    def requeue_tasks_of(self, executor_id: str) -> int:
        """Let other processes run the tasks of a process that ended; returns their number."""
        taken_over = self._list(status="PENDING", executor_id=executor_id)
        for queue_name in {each.queue_name for each in taken_over}:
            ids = [each.workflow_id for each in taken_over if each.queue_name == queue_name]
            self._client.resume_workflows(ids, queue_name=queue_name)
        return len(taken_over)

    def delete(self, task_ids: Sequence[str]) -> None:
        """Delete what is left of these tasks."""
        self._client.delete_workflows(list(task_ids))

    def delete_finished(self, limit: int) -> int:
        """Delete the rows of up to `limit` tasks that are done; returns their number."""
        done = self._list(status=_FINISHED, limit=limit)
        if done:
            self._client.delete_workflows([each.workflow_id for each in done])
        return len(done)

    def close(self) -> None:
        self._client.destroy()

    def _list(self, **which: Any) -> list[Any]:
        return list(self._client.list_workflows(**which, load_input=False, load_output=False))


def _log_like_us() -> None:
    """Without a handler DBOS adds its own, which writes to the console."""
    logger = logging.getLogger("dbos")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    logger.propagate = True
    logger.setLevel(logging.WARNING)
