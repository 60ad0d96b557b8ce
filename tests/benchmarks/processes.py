"""Memory of a process and all that it started."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

_SAMPLE_SECONDS = 0.2
_MIB = 1024 * 1024


def pss_mib(pid: int) -> float:
    """The proportional set size of a process and its descendants: memory that they share counts once."""
    root = psutil.Process(pid)
    total = 0
    for process in [root, *root.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):  # it ended meanwhile
            total += process.memory_full_info().pss
    return total / _MIB


class Peak:
    """The largest value seen."""

    def __init__(self) -> None:
        self.mib = 0.0

    def note(self, mib: float) -> None:
        self.mib = max(self.mib, mib)


@contextmanager
def watched(pid: int) -> Iterator[Peak]:
    """The peak of `pss_mib` while the block runs. It is sampled, so a peak of some milliseconds is missed."""
    peak, ended = Peak(), threading.Event()

    def watch() -> None:
        while True:
            peak.note(pss_mib(pid))
            if ended.wait(_SAMPLE_SECONDS):
                return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()
