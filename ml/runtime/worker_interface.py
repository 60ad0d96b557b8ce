"""A worker as its slot uses it: a process on this machine, or a replica in a cluster."""

from typing import Any, Protocol

from ml.runtime.messages import StartCall


class Worker(Protocol):
    """Used by one thread. Methods that speak with the worker raise `ml.runtime.wire.WireBroken`."""

    is_up: bool  # until an error shows otherwise

    @property
    def name(self) -> str:
        """For the log."""

    def fileno(self) -> int:
        """Readable when a message has arrived or the worker has ended."""

    def send_work(self, work: StartCall, payloads: list[bytes]) -> None: ...

    def send_cancel(self, number: int) -> None: ...

    def receive(self) -> dict[str, Any]:
        """The next message, see `ml.runtime.messages`."""

    def withdraw(self) -> bool:
        """Take back the call that was sent, if it still waits for a worker elsewhere. True if taken back."""

    def rss_bytes(self) -> int:
        """Resident memory; 0 after the worker has ended."""

    def set_paused(self, is_paused: bool) -> bool:
        """Suspend or continue the worker, if it can be, and return whether it is suspended now."""

    def kill(self) -> str:
        """End it if it still runs, and return how it ended."""
