"""Limits for open connections: of this process, and from one address.

Each connection uses a file descriptor, and one more while a file is sent, so there must never be more than
the process may open. At the limit the connection that has been idle longest is closed for the new one, so
that idle connections cannot lock anyone out. The new one is refused only if all others are busy.
"""

import resource
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from api.networks import network_of

#: Reserved for the database, the workers' pipes, logs and briefly opened files.
_OTHER_DESCRIPTORS = 128
#: One for itself, one for a file it sends, and one for a connection waiting to be accepted: the server
#: accepts all waiting connections at once, before it can close any of them.
_DESCRIPTORS_PER_CONNECTION = 3
_LEAST_CONNECTIONS = 16
_BACKLOG_MAX = 512


def raise_descriptor_limit() -> int:
    """Raise the soft limit of open files to the hard one; returns the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Some systems report a hard limit that they do not grant.
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**20 if soft == resource.RLIM_INFINITY else soft


def affordable(descriptors: int) -> int:
    """The number of connections for a process that may open `descriptors` files."""
    return max(_LEAST_CONNECTIONS, (descriptors - _OTHER_DESCRIPTORS) // _DESCRIPTORS_PER_CONNECTION)


def backlog(connections: int) -> int:
    """The listen backlog for a process with at most `connections` connections."""
    return max(_LEAST_CONNECTIONS, min(_BACKLOG_MAX, connections))


class Connection(Protocol):
    def evict(self) -> None:
        """Close at once, to make room for another connection."""


@dataclass
class _Group:
    """The connections from one address. Idle ones are in the order in which they became idle."""

    open: int = 0
    idle: dict[Connection, None] = field(default_factory=dict)


class ConnectionLimits:
    """One process's open connections. `is_proxy(address)`: whether the address serves many callers."""

    def __init__(self, total: int, per_address: int, is_proxy: Callable[[str], bool]) -> None:
        self._total = total
        self._per_address = per_address
        self._is_proxy = is_proxy
        self._groups: dict[Connection, str] = {}
        self._by_address: dict[str, _Group] = {}
        self._idle: dict[Connection, None] = {}

    def __len__(self) -> int:
        return len(self._groups)

    def has_room(self, address: str) -> bool:
        """Whether one more from `address` fits, after closing an idle one if necessary."""
        if not self._is_proxy(address):
            group = self._by_address.get(network_of(address), _Group())
            if group.open >= self._per_address and not self._evict(group.idle):
                return False
        return len(self._groups) < self._total or self._evict(self._idle)

    def add(self, connection: Connection, address: str) -> None:
        """Register a connection that waits for its first request."""
        name = network_of(address)
        self._groups[connection] = name
        self._by_address.setdefault(name, _Group()).open += 1
        self.idle(connection)

    def idle(self, connection: Connection) -> None:
        """Mark the connection as waiting for a request."""
        name = self._groups.get(connection)
        if name is not None:
            self._idle[connection] = self._by_address[name].idle[connection] = None

    def busy(self, connection: Connection) -> None:
        """Mark the connection as having an unanswered request."""
        self._idle.pop(connection, None)
        name = self._groups.get(connection)
        if name is not None:
            self._by_address[name].idle.pop(connection, None)

    def remove(self, connection: Connection) -> None:
        """Unregister a closed connection. Does nothing if it is not registered."""
        self.busy(connection)
        name = self._groups.pop(connection, None)
        if name is None:
            return
        group = self._by_address[name]
        group.open -= 1
        if group.open == 0:
            del self._by_address[name]

    def _evict(self, idle: dict[Connection, None]) -> bool:
        """Close the first of `idle`; False if there is none."""
        oldest = next(iter(idle), None)
        if oldest is None:
            return False
        self.remove(oldest)
        oldest.evict()
        return True
