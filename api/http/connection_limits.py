"""How many connections are open at the same time: in this process, and from one address.

Each takes a descriptor, and an answer from a file another one, so there must never be more than the process
may open. When there is no room, the connection that has waited longest for a request is closed for the new
one: connections that were opened and left cannot keep anybody out. Only if all are busy is the new one
refused.
"""

import resource
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address
from typing import Protocol

#: For the database, the workers' pipes, logs, and files that are open for a moment.
_OTHER_DESCRIPTORS = 128
#: Its own, that of a file it is answered from, and that of one more which waits to be accepted: a server
#: accepts all that wait at once, before it can close any of them.
_DESCRIPTORS_A_CONNECTION = 3
_LEAST_CONNECTIONS = 16
_BACKLOG_MAX = 512
_IPV6_NETWORK_BITS = 64  # what one customer of a provider has at the least


def raise_descriptor_limit() -> int:
    """Let this process open as many files as it is allowed to; how many that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Some systems report a hard limit that they do not grant.
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**20 if soft == resource.RLIM_INFINITY else soft


def affordable(descriptors: int) -> int:
    """How many connections a process may have that can open so many files."""
    return max(_LEAST_CONNECTIONS, (descriptors - _OTHER_DESCRIPTORS) // _DESCRIPTORS_A_CONNECTION)


def backlog(connections: int) -> int:
    """How many connections may wait to be accepted, of a process that has `connections` at most."""
    return max(_LEAST_CONNECTIONS, min(_BACKLOG_MAX, connections))


class Connection(Protocol):
    def evict(self) -> None:
        """Close at once: somebody else needs the place."""


@dataclass
class _Group:
    """The connections from one address. Idle ones are in the order in which they became so."""

    open: int = 0
    idle: dict[Connection, None] = field(default_factory=dict)


class ConnectionLimits:
    """One process's open connections. `is_proxy(address)`: its connections are those of many callers."""

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
        """Whether one more from `address` fits, after closing an idle one if need be."""
        if not self._is_proxy(address):
            group = self._by_address.get(_network(address), _Group())
            if group.open >= self._per_address and not self._evict(group.idle):
                return False
        return len(self._groups) < self._total or self._evict(self._idle)

    def add(self, connection: Connection, address: str) -> None:
        """It is open, and waits for its first request."""
        name = _network(address)
        self._groups[connection] = name
        self._by_address.setdefault(name, _Group()).open += 1
        self.idle(connection)

    def idle(self, connection: Connection) -> None:
        """It waits for a request from now on."""
        name = self._groups.get(connection)
        if name is not None:
            self._idle[connection] = self._by_address[name].idle[connection] = None

    def busy(self, connection: Connection) -> None:
        """It has a request that is not yet answered."""
        self._idle.pop(connection, None)
        name = self._groups.get(connection)
        if name is not None:
            self._by_address[name].idle.pop(connection, None)

    def remove(self, connection: Connection) -> None:
        """It is closed. Nothing happens if it was removed before, or never added."""
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


def _network(address: str) -> str:
    """What counts as one address: an IPv4 address, or an IPv6 network of one customer."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if not isinstance(found, IPv6Address):
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return f"{int(found) >> (128 - _IPV6_NETWORK_BITS):x}::/{_IPV6_NETWORK_BITS}"
