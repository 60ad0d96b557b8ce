"""Idle and slow clients: their connections are closed and other clients are served."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import httpx
import numpy as np
import psutil
import pytest

from tests.support.calling import crop
from tests.support.ml.photos import png_bytes
from tests.support.raw_client import HEAD_OF_PART, RawClient
from tests.support.server import RunningServer, ServerFactory, StartServer
from tests.support.waiting import wait_until

READERS = 300
#: Longer than two windows; nothing depends on how much of it is needed.
PATIENCE_SECONDS = 90.0


def connect(
    server: RunningServer, source: str = "127.0.0.1", window_bytes: int | None = None
) -> socket.socket:
    """A connection from `source`; with `window_bytes` the system takes in little that is not read."""
    parts = urlsplit(server.address)
    opened = socket.socket()
    if window_bytes is not None:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window_bytes)
    opened.bind((source, 0))
    opened.settimeout(60)
    opened.connect((parts.hostname, parts.port))
    return opened


def ask(connection: socket.socket, path: str) -> None:
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())


def descriptors(server: RunningServer) -> int:
    return int(psutil.Process(server.process.pid).num_fds())


def connections(server: RunningServer) -> int:
    """Those of the server's process that are open at its end."""
    return sum(
        found.status in ("ESTABLISHED", "CLOSE_WAIT")
        for found in psutil.Process(server.process.pid).net_connections("tcp")
    )


def large_picture(server: RunningServer) -> tuple[str, bytes]:
    """The signed path of a stored picture of some megabytes, and its bytes."""
    noise = np.random.default_rng(1).integers(0, 256, (1600, 1600, 3), np.uint8)
    with server.client(server.customer) as client:
        stored = client.post("/api/images", files={"image": png_bytes(noise)}).json()["data"]
        content = client.get(stored["imageUrl"]).content
    parts = urlsplit(stored["imageUrl"])
    return f"{parts.path}?{parts.query}", content


@pytest.fixture
def sockets() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


@pytest.fixture(scope="module")
def quiet_server(
    tmp_path_factory: pytest.TempPathFactory, server_factory: ServerFactory
) -> Iterator[RunningServer]:
    """A server that no other module uses, so that its connections can be counted."""
    with server_factory(tmp_path_factory.mktemp("quiet"), {"BGERASER_WORKERS": "1"}) as running:
        yield running


@pytest.mark.long
def test_downloads_that_are_not_read_are_closed(quiet_server: RunningServer, sockets: ExitStack) -> None:
    server = quiet_server
    path, content = large_picture(server)
    before = descriptors(server)
    steady = sockets.enter_context(connect(server, window_bytes=65536))
    slow = sockets.enter_context(connect(server))  # its system takes in megabytes before it does
    idle = [sockets.enter_context(connect(server, window_bytes=4096)) for _ in range(READERS)]
    for each in (steady, slow, *idle):
        ask(each, path)
    wait_until(lambda: connections(server) > READERS)  # all are accepted
    deadline = time.monotonic() + PATIENCE_SECONDS
    received = {steady: b"", slow: b""}
    # Those that read steadily, if slowly, get everything; it takes longer than the others are waited for.
    while connections(server) > 3 and time.monotonic() < deadline:
        for each, size in ((steady, 65536), (slow, 20_000)):
            if len(received[each]) < len(content) - 1024**2:
                received[each] += each.recv(size)
        time.sleep(0.2)  # the pace of the slow readers under test
    assert connections(server) <= 3
    for each in received:
        while piece := each.recv(1024**2) if len(received[each]) < len(content) else b"":
            received[each] += piece
        assert received[each].endswith(content[-1000:])
        each.close()
    wait_until(lambda: descriptors(server) <= before + 5)
    assert "Traceback" not in server.log_text()


@pytest.mark.long
def test_a_response_left_in_the_buffers_of_a_closed_connection_is_dropped(
    quiet_server: RunningServer, sockets: ExitStack
) -> None:
    """`Connection: close`: the answer is complete for the application, and waits for its client in vain."""
    server = quiet_server
    path, _ = large_picture(server)
    reader = sockets.enter_context(connect(server, window_bytes=4096))
    reader.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    reader.recv(100)
    before = connections(server)
    wait_until(lambda: connections(server) < before)


def test_half_open_connections_do_not_block_other_clients(
    start_server: StartServer, sockets: ExitStack
) -> None:
    server = start_server(descriptors=(200, 256), BGERASER_WORKERS="1")
    assert "limit of 256 open files" in server.log_text()
    for number in range(400):
        half_open = sockets.enter_context(connect(server))
        half_open.sendall(b"GET / HTTP/1.1\r\nHost: loc" if number % 2 else b"")
    for _ in range(10):
        assert httpx.get(f"{server.address}/healthz", timeout=60).status_code == 200
    assert crop(server, server.new_customer()).status_code == 200
    assert descriptors(server) < 256
    assert "Traceback" not in server.log_text()


def test_connections_are_limited_per_address(start_server: StartServer, sockets: ExitStack) -> None:
    server = start_server(
        BGERASER_WORKERS="1", BGERASER_CONNECTIONS_PER_ADDRESS="4", BGERASER_TRUSTED_PROXIES="192.0.2.1"
    )
    customer = server.new_customer()
    for _ in range(4):
        busy = RawClient(server)
        sockets.callback(busy.close)
        busy.head(customer, "Content-Length: 1000000")
        busy.write(HEAD_OF_PART)
        busy.write(b"x" * 400_000)
    deadline = time.monotonic() + PATIENCE_SECONDS
    status = 200
    while status == 200 and time.monotonic() < deadline:  # until all four heads were read
        try:
            answer = httpx.get(f"{server.address}/healthz", timeout=60)
        except httpx.TransportError:
            continue  # closed before the request was sent
        status = answer.status_code
    assert status == 429
    assert answer.json()["error"]["code"] == "RATE_LIMITED"
    assert int(answer.headers["retry-after"]) > 0
    other = sockets.enter_context(connect(server, "127.0.0.2"))
    ask(other, "/healthz")
    assert other.recv(100).startswith(b"HTTP/1.1 200")
