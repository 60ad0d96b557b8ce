"""Logs why a dependency of the server fails, without flooding the log while the failure lasts."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from sqlalchemy.exc import DBAPIError

log = structlog.get_logger()

REPEAT_AFTER_SECONDS = 60.0


@dataclass
class _Reported:
    at: float
    unreported: int = 0


class OutageLog:
    """The failures of one part, such as "database". Safe to use from several threads.

    A failure of the same kind is logged at most once a minute, with the number of those in between. Errors
    of one kind often differ in their text (a file's name, a port), so the kind is the class and the code.
    """

    def __init__(self, part: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._part = part
        self._clock = clock
        self._reported: dict[tuple[str, object], _Reported] = {}
        self._lock = threading.Lock()

    def report(self, error: Exception) -> None:
        """Log the reason of an outage as the driver or the operating system states it."""
        cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
        kind = (type(cause).__name__, _code(cause))
        with self._lock:
            now = self._clock()
            reported = self._reported.get(kind)
            if reported is not None and now < reported.at + REPEAT_AFTER_SECONDS:
                reported.unreported += 1
                return
            self._reported[kind] = _Reported(now)
        log.error(
            f"the {self._part} cannot be used",
            reason=" ".join(str(cause).split()) or type(cause).__name__,
            error=type(cause).__name__,
            repeated=reported.unreported if reported is not None else 0,
        )


def _code(error: BaseException) -> object:
    """The error's code: SQLite's, PostgreSQL's or the operating system's."""
    for name in ("sqlite_errorcode", "sqlstate", "errno"):
        code = getattr(error, name, None)
        if code is not None:
            return code
    return None
