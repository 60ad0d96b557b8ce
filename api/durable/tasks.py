"""Tasks and their kinds, without DBOS."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sqlmodel import Session


@dataclass(frozen=True)
class TaskQueue:
    """Where tasks wait. Each process runs up to `concurrency` of them, and `partition_concurrency` of one
    partition, so that a partition with many tasks leaves room to others, which are served in random order.
    A task waits up to `poll_seconds` before it is noticed; each look takes milliseconds of a processor.
    """

    name: str
    concurrency: int
    partition_concurrency: int
    poll_seconds: float


@dataclass(frozen=True)
class Task:
    """One piece of durable work. Its id is unique over all kinds and is never used again."""

    id: str
    queue: str
    partition: str  # whose turn it takes: the account's id


@dataclass(frozen=True)
class TaskKind:
    """What tasks of one kind do.

    `run` receives a task's id. It returns when nothing is left to do, and may be called again for a task that
    it has done, or while another process runs it: it decides from its own tables, in a transaction. Its own
    errors are its business; an error that it raises ends the task.

    `unfinished` reads up to `limit` tasks that are not done, with ids greater than `after`, in order of ids.
    The engine runs while there are any, and looks for those that it does not know. Tasks that are not due
    within a minute are left out.
    """

    name: str
    run: Callable[[str], Awaitable[None]]
    unfinished: Callable[[Session, str, int], list[Task]]
