"""Limits on open connections per process and address, and which idle one is closed first."""

import resource
import subprocess
import sys

import pytest

from api.http import connection_limits
from api.http.connection_limits import ConnectionLimits

PROXY = "10.0.0.1"


class Client:
    """One connection."""

    def __init__(self) -> None:
        self.is_evicted = False

    def evict(self) -> None:
        self.is_evicted = True


def limits(total: int = 3, per_address: int = 2) -> ConnectionLimits:
    return ConnectionLimits(total, per_address, lambda address: address == PROXY)


def connect(limited: ConnectionLimits, address: str, *, busy: bool = False) -> Client | None:
    """The connection; None if it was refused."""
    if not limited.has_room(address):
        return None
    client = Client()
    limited.add(client, address)
    if busy:
        limited.busy(client)
    return client


def test_the_longest_idle_connection_is_closed_first() -> None:
    limited = limits()
    clients = [connect(limited, f"192.0.2.{number}") for number in range(3)]
    assert all(clients)
    limited.busy(clients[0])  # type: ignore[arg-type]
    assert connect(limited, "192.0.2.9") is not None
    assert [client.is_evicted for client in clients if client] == [False, True, False]
    assert len(limited) == 3


def test_busy_connections_are_never_closed_to_make_room() -> None:
    limited = limits()
    clients = [connect(limited, f"192.0.2.{number}", busy=True) for number in range(3)]
    assert connect(limited, "192.0.2.9") is None
    assert not any(client.is_evicted for client in clients if client)
    limited.remove(clients[0])  # type: ignore[arg-type]
    assert connect(limited, "192.0.2.9") is not None


def test_an_address_at_its_limit_closes_its_own_connections_only() -> None:
    limited = limits(total=100)
    other = connect(limited, "192.0.2.2")
    own = [connect(limited, "192.0.2.1") for _ in range(3)]
    assert [client.is_evicted for client in own if client] == [True, False, False]
    for client in own[1:]:
        limited.busy(client)  # type: ignore[arg-type]
    assert connect(limited, "192.0.2.1") is None
    assert other is not None
    assert not other.is_evicted


@pytest.mark.parametrize(
    ("first", "second", "are_one"),
    [
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
    ],
)
def test_addresses_are_grouped_by_network(first: str, second: str, are_one: bool) -> None:
    limited = limits(total=100, per_address=1)
    assert connect(limited, first, busy=True)
    assert (connect(limited, second, busy=True) is None) is are_one


def test_connections_of_a_trusted_proxy_are_not_limited_per_address() -> None:
    limited = limits(total=100, per_address=1)
    assert all(connect(limited, PROXY, busy=True) for _ in range(50))


def test_closed_connections_leave_no_state() -> None:
    limited = limits(total=100, per_address=100)
    clients = [connect(limited, f"192.0.2.{number % 5}", busy=number % 2 == 0) for number in range(50)]
    for client in clients:
        assert client is not None
        limited.idle(client)
        limited.remove(client)
        limited.remove(client)
        limited.idle(client)
    assert len(limited) == 0
    assert not limited._by_address
    assert not limited._idle


def test_connections_are_limited_by_the_open_file_limit() -> None:
    for descriptors in (256, 1024, 4096, 2**20):
        connections = connection_limits.affordable(descriptors)
        needed = 2 * connections + connection_limits.backlog(connections)
        assert needed < descriptors - 64


def test_the_soft_open_file_limit_is_raised_to_the_hard_limit() -> None:
    program = "from api.http import connection_limits as c; print(c.raise_descriptor_limit())"
    done = subprocess.run(
        [sys.executable, "-c", program],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (200, 300)),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "300\n"
