"""A submitted call on the server's side: its ticket, and the thread that reports its progress."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from ml.backend import Progress, ToolAnswer, ToolCall
from ml.runtime.queue import QueuedCall

log = logging.getLogger(__name__)


def _unanswered() -> Future[ToolAnswer]:
    future: Future[ToolAnswer] = Future()
    # Only `Ticket.cancel` stops a call. Without this, a cancelled asyncio task that awaits the answer would
    # cancel the future behind the backend's back.
    future.set_running_or_notify_cancel()
    return future


@dataclass(eq=False)
class Submission(QueuedCall):
    """A call on its way: waiting, running or over, as `ml.runtime.dispatcher` has it."""

    call: ToolCall = field(kw_only=True)
    on_progress: Callable[[Progress], None] | None = field(kw_only=True, default=None)
    answer: Future[ToolAnswer] = field(kw_only=True, default_factory=_unanswered)
    cancel_requested: bool = field(kw_only=True, default=False)
    made_way: bool = field(kw_only=True, default=False)  # stopped for a billed call, not by its caller
    was_lost_before: bool = field(kw_only=True, default=False)  # a worker died before it began with it
    work: float | None = field(
        kw_only=True, default=None
    )  # of `ml.runtime.duration_model`; known from the header
    is_trial: bool = field(kw_only=True, default=False)  # goes on though its estimate would refuse it
    told: Progress | None = field(kw_only=True, default=None)  # what the caller heard last


class ProgressThread:
    """Calls `on_progress` on one thread, in order, so that a slow listener never holds up a worker.

    A listener that cannot keep up misses intermediate steps, never the order: only the newest is kept.
    """

    def __init__(self) -> None:
        self._news = threading.Condition()
        self._latest: dict[Submission, Progress] = {}
        self._is_open = True
        self._thread = threading.Thread(target=self._run, name="bgeraser-progress", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def tell(self, submission: Submission, progress: Progress) -> None:
        if submission.on_progress is None or progress == submission.told:
            return
        submission.told = progress
        with self._news:
            self._latest[submission] = progress
            self._news.notify()

    def close(self) -> None:
        with self._news:
            self._is_open = False
            self._news.notify()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout=1.0)

    def _run(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._latest or not self._is_open)
                if not self._latest:
                    return
                latest, self._latest = self._latest, {}
            for submission, progress in latest.items():
                if submission.on_progress is None or submission.answer.done():
                    continue
                try:
                    submission.on_progress(progress)
                except Exception:
                    log.exception("A progress listener failed")
