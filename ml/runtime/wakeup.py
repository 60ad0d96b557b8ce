"""Wakes a thread that polls sockets."""

import contextlib
import socket


class Wakeup:
    """Triggered by any thread, polled by one. Has no sockets until `open`."""

    def __init__(self) -> None:
        self._ends: tuple[socket.socket, socket.socket] | None = None

    def open(self) -> None:
        self._ends = socket.socketpair()
        for end in self._ends:
            end.setblocking(False)

    def fileno(self) -> int:
        """Readable after `wake`."""
        return -1 if self._ends is None else self._ends[0].fileno()

    def wake(self) -> None:
        """Does not block. Has no effect before `open` or after `close`."""
        if self._ends is not None:
            with contextlib.suppress(OSError):  # already pending, or being closed
                self._ends[1].send(b"\0")

    def clear(self) -> None:
        if self._ends is not None:
            with contextlib.suppress(BlockingIOError):
                self._ends[0].recv(4096)

    def close(self) -> None:
        if self._ends is not None:
            for end in self._ends:
                end.close()
