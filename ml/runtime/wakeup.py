"""Wakes a thread that sleeps on a socket."""

import contextlib
import socket


class Wakeup:
    """Rung by any thread, heard by one that polls it. Holds nothing until it is hung up."""

    def __init__(self) -> None:
        self._ends: tuple[socket.socket, socket.socket] | None = None

    def open(self) -> None:
        self._ends = socket.socketpair()
        for end in self._ends:
            end.setblocking(False)

    def fileno(self) -> int:
        """Readable once it has been rung."""
        return -1 if self._ends is None else self._ends[0].fileno()

    def wake(self) -> None:
        """Never waits; nobody hears it before it hangs or after it was taken down."""
        if self._ends is not None:
            with contextlib.suppress(OSError):  # rung often enough already, or taken down at this moment
                self._ends[1].send(b"\0")

    def clear(self) -> None:
        if self._ends is not None:
            with contextlib.suppress(BlockingIOError):
                self._ends[0].recv(4096)

    def close(self) -> None:
        if self._ends is not None:
            for end in self._ends:
                end.close()
