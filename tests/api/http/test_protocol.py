"""Connections of clients that do not read are closed; tested on the protocol with short windows."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager

import pytest
import uvicorn
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from api.http import protocol
from api.http.connection_limits import ConnectionLimits
from tests.support.waiting import wait_until

SIZE_BYTES = 24 * 1024**2
PATIENCE_SECONDS = 60.0
WINDOW_SECONDS = 1.0
WINDOW_BYTES = int(protocol.OUTPUT_WINDOW_BYTES * WINDOW_SECONDS / protocol.OUTPUT_WINDOW_SECONDS)


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """`/whole` answers in one piece, anything else in many."""
    if scope["path"] == "/whole":
        await Response(bytes(SIZE_BYTES))(scope, receive, send)
        return

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(SIZE_BYTES // 65536):
            yield bytes(65536)

    await StreamingResponse(pieces())(scope, receive, send)


@contextmanager
def serving(limits: ConnectionLimits, loop: str) -> Iterator[tuple[str, int]]:
    """The address of a server in a thread of its own."""
    config = uvicorn.Config(
        application,
        port=0,
        http=protocol.limited(limits),
        ws="none",
        lifespan="off",
        log_config=None,
        loop=loop,
    )
    server = uvicorn.Server(config)

    def run() -> None:
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            runner.run(server.serve())

    thread = threading.Thread(target=run)
    thread.start()
    try:
        wait_until(lambda: server.started)
        yield server.servers[0].sockets[0].getsockname()
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(autouse=True)
def short_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same pace, measured over a shorter time."""
    monkeypatch.setattr(protocol, "OUTPUT_WINDOW_SECONDS", WINDOW_SECONDS)
    monkeypatch.setattr(protocol, "OUTPUT_WINDOW_BYTES", WINDOW_BYTES)


def ask(address: tuple[str, int], path: str, *lines: str, buffer_bytes: int = 4096) -> socket.socket:
    """A client that has asked, and lets the system take in little."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
    client.settimeout(PATIENCE_SECONDS)
    client.connect(address)
    client.sendall("\r\n".join([f"GET {path} HTTP/1.1", "Host: localhost", *lines, "", ""]).encode())
    return client


def await_count(limits: ConnectionLimits, count: int) -> None:
    wait_until(lambda: len(limits) == count)


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.parametrize("path", ["/whole", "/pieces"])
@pytest.mark.parametrize("line", ["Connection: close", "Connection: keep-alive"])
def test_a_response_that_is_not_read_is_aborted(loop: str, path: str, line: str) -> None:
    limits = ConnectionLimits(100, 100, lambda _: False)
    with serving(limits, loop) as address, ExitStack() as clients:
        for _ in range(20):
            client = clients.enter_context(ask(address, path, line))
            assert client.recv(1) == b"H"  # the answer has begun
        await_count(limits, 0)


@pytest.mark.parametrize("path", ["/whole", "/pieces"])
def test_a_slow_but_steady_client_receives_everything(path: str) -> None:
    limits = ConnectionLimits(100, 100, lambda _: False)
    with (
        serving(limits, "uvloop") as address,
        ask(address, path, "Connection: close", buffer_bytes=65536) as client,
    ):
        ends_at = time.monotonic() + 4 * WINDOW_SECONDS
        received = 0
        while piece := client.recv(65536):
            received += len(piece)
            if time.monotonic() < ends_at:
                time.sleep(0.02)  # the slow client under test
    assert received > SIZE_BYTES


@pytest.mark.parametrize(("line", "status"), [("Upgrade: websocket", b"400"), ("Upgrade: h2c", b"200")])
def test_protocol_upgrades_are_ignored(line: str, status: bytes) -> None:
    limits = ConnectionLimits(100, 100, lambda _: False)
    with serving(limits, "uvloop") as address, ask(address, "/pieces", "Connection: upgrade", line) as client:
        assert client.recv(12) == b"HTTP/1.1 " + status
        while client.recv(2**20):
            pass  # to the end of the answer, and of the connection
        await_count(limits, 0)


@pytest.mark.parametrize(
    ("head", "status", "code"),
    [
        (b"BREW /pieces HTTP/1.1\r\nHost: localhost\r\n\r\n", b"405", "METHOD_NOT_ALLOWED"),
        (b"no request at all\r\n\r\n", b"400", "INVALID_REQUEST"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n", b"400", "INVALID_REQUEST"),
    ],
)
def test_requests_that_the_parser_rejects_are_answered_in_the_error_shape(
    head: bytes, status: bytes, code: str
) -> None:
    limits = ConnectionLimits(100, 100, lambda _: False)
    with serving(limits, "uvloop") as address, socket.create_connection(address, PATIENCE_SECONDS) as client:
        client.sendall(head)
        answer = b""
        while piece := client.recv(4096):
            answer += piece
    headers, _, body = answer.partition(b"\r\n\r\n")
    assert headers.startswith(b"HTTP/1.1 " + status)
    error = json.loads(body)
    assert error["error"]["code"] == code
    assert f"x-request-id: {error['requestId']}".encode() in headers
