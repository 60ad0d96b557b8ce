"""An HTTP client on a bare socket, for requests that no library sends and for readers that stop reading."""

import socket
from urllib.parse import urlsplit

import httpx

from tests.support.server import Customer, RunningServer

BOUNDARY = "part-boundary"
HEAD_OF_PART = b'--part-boundary\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'


class RawClient:
    """Writes any bytes and reads only when asked to."""

    def __init__(self, server: RunningServer) -> None:
        parts = urlsplit(server.address)
        self._socket = socket.create_connection((parts.hostname, parts.port), timeout=60)

    def head(self, customer: Customer | None, *lines: str, path: str = "/api/tools/crop") -> None:
        key = [] if customer is None else [f"X-Api-Key: {customer.key}"]
        form = f"Content-Type: multipart/form-data; boundary={BOUNDARY}"
        head = [f"POST {path} HTTP/1.1", "Host: localhost", form, *key, *lines]
        self.write("\r\n".join([*head, "", ""]).encode())

    def write(self, content: bytes) -> bool:
        """False when the server has closed the connection."""
        try:
            self._socket.sendall(content)
        except OSError:
            return False
        return True

    def answer(self) -> tuple[int, bytes]:
        """Status and body of the answer, read to the connection's end or the body's."""
        received = b""
        while b"\r\n\r\n" not in received:
            piece = self._socket.recv(65536)
            assert piece, "the connection was closed without an answer"
            received += piece
        head, _, body = received.partition(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1])
            for line in head.lower().split(b"\r\n")
            if line.startswith(b"content-length")
        )
        while len(body) < length:
            body += self._socket.recv(65536)
        return int(head.split()[1]), body

    def status_at_once(self) -> int | None:
        """The status of an answer that has come already; None without one."""
        self._socket.settimeout(1)
        try:
            received = self._socket.recv(65536)
        except (TimeoutError, OSError):
            return None
        return int(received.split()[1]) if received else None

    def wait_for_close(self) -> None:
        """Wait until the server closes the connection; TimeoutError after 60 s without a byte from it."""
        while self._socket.recv(65536):
            pass

    def close(self) -> None:
        self._socket.close()


def send_call(
    server: RunningServer,
    customer: Customer,
    tool: str,
    files: dict[str, bytes],
    fields: dict[str, str],
    **headers: str,
) -> RawClient:
    """A client that has sent a whole call of a tool and has not read anything of the answer."""
    request = httpx.Request(
        "POST",
        f"{server.address}/api/tools/{tool}",
        files={name: ("a", content) for name, content in files.items()},
        data=fields,
        headers={**customer.headers, **headers},
    )
    body = request.read()
    client = RawClient(server)
    lines = [f"{name}: {value}" for name, value in request.headers.items()]
    client.write("\r\n".join([f"POST {request.url.path} HTTP/1.1", *lines, "", ""]).encode())
    client.write(body)
    return client
