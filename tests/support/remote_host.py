"""A host on the internet, as far as the fetcher of callers' URLs knows: a TLS server on this machine.

`RemoteHost` has a certificate for its name from an authority of its own, counts connections, and answers as a
test tells it. `files_of` makes a fetcher that finds it under its name.
"""

import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import trustme

from api.remote_files.pinned_requests import PinnedRequests
from api.remote_files.public_addresses import is_public
from api.remote_files.service import RemoteFiles

NAME = "pictures.example.com"
LOOPBACK = "127.0.0.1"

#: Gets the request and the connection, and writes the answer.
Respond = Callable[[bytes, ssl.SSLSocket], None]


class RemoteHost:
    """`pages` maps a path to the function that answers it; every other path is 404."""

    def __init__(self) -> None:
        self._authority = trustme.CA()
        self._stopping = threading.Event()
        self.pages: dict[str, Respond] = {}
        self.heads: list[bytes] = []
        self.connections = 0
        self._listener = socket.create_server((LOOPBACK, 0))
        self.port = int(self._listener.getsockname()[1])
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert(NAME).configure_cert(self._tls)
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"https://{NAME}:{self.port}"

    def trusting(self) -> ssl.SSLContext:
        """What trusts this host's certificate."""
        tls = ssl.create_default_context()
        self._authority.configure_trust(tls)
        return tls

    def serve(self, path: str, content: bytes, *, status: str = "200 OK", **headers: str) -> str:
        """Answer `path` with `content`; the URL of it. `headers` have underscores for hyphens."""
        lines = {"content-length": str(len(content))} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        head = "\r\n".join([f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in lines.items())])

        def respond(_: bytes, connection: ssl.SSLSocket) -> None:
            connection.sendall(f"{head}\r\n\r\n".encode() + content)

        return self.respond(path, respond)

    def redirect(self, path: str, location: str, status: str = "302 Found") -> str:
        return self.serve(path, b"", status=status, location=location)

    def respond(self, path: str, respond: Respond) -> str:
        self.pages[path] = respond
        return f"{self.url}{path}"

    def wait_until_stopped(self) -> None:
        """For a page that never finishes its answer."""
        self._stopping.wait(60)

    def stop(self) -> None:
        self._stopping.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)

    def _accept(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._answer, args=(plain,), daemon=True).start()

    def _answer(self, plain: socket.socket) -> None:
        with suppress(OSError), self._tls.wrap_socket(plain, server_side=True) as connection:
            head = b""
            while b"\r\n\r\n" not in head:
                piece = connection.recv(65536)
                if not piece:
                    return
                head += piece
            # Closing a connection with unread data would reset it before the answer arrives.
            declared = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
            whole = head.index(b"\r\n\r\n") + 4 + (int(declared[1]) if declared else 0)
            while len(head) < whole and (piece := connection.recv(65536)):
                head += piece
            self.heads.append(head)
            path = head.split(b" ")[1].decode()
            missing = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
            page = self.pages.get(path)
            if page is None:
                connection.sendall(missing)
            else:
                page(head, connection)


class Names:
    """A resolver whose answers a test sets; a list of lists answers each lookup with its next one."""

    def __init__(self, **addresses: list[str]) -> None:
        self.addresses: dict[str, list[str]] = dict(addresses)
        self.turns: dict[str, list[list[str]]] = {}
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        if self.turns.get(host):
            return self.turns[host].pop(0)
        if host not in self.addresses:
            raise OSError("no such name")
        return self.addresses[host]


@contextmanager
def running_host() -> Iterator[RemoteHost]:
    host = RemoteHost()
    try:
        yield host
    finally:
        host.stop()


def files_of(
    host: RemoteHost, names: Names | None = None, *, seconds: float = 5.0, **options: Any
) -> RemoteFiles:
    """A fetcher to which `host` is public: this machine's address is allowed for the test, and only that."""
    return RemoteFiles(requests_to(host, names, **options), seconds=seconds)


def requests_to(host: RemoteHost, names: Names | None = None, **options: Any) -> PinnedRequests:
    """Requests for which `host` is public; the options replace those of `PinnedRequests`."""
    return PinnedRequests(
        **{
            "resolve": names or Names(**{NAME: [LOOPBACK]}),
            "is_allowed": lambda address: address == LOOPBACK or is_public(address),
            "ports": frozenset({host.port, 443}),
            "tls": host.trusting(),
            **options,
        }
    )
