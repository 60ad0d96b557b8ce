"""A proxy in front of the server that loses answers, as an unreliable network does."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

_CHUNK_BYTES = 65536


class CuttingProxy:
    """Closes a connection when the answer to a POST begins, as often as `cuts` says; then only passes on."""

    def __init__(self, server_address: str, cuts: int) -> None:
        parts = urlsplit(server_address)
        self._server = (parts.hostname or "", parts.port or 80)
        self._cuts_left = cuts
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.cuts = 0

    def serve(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                ours, _ = self._listener.accept()
                threading.Thread(target=self._relay, args=(ours,), daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _relay(self, ours: socket.socket) -> None:
        with ours, socket.create_connection(self._server) as theirs:
            is_post = threading.Event()

            def send() -> None:
                with contextlib.suppress(OSError):
                    while chunk := ours.recv(_CHUNK_BYTES):
                        if chunk.startswith(b"POST "):
                            is_post.set()
                        theirs.sendall(chunk)
                    theirs.shutdown(socket.SHUT_WR)

            threading.Thread(target=send, daemon=True).start()
            with contextlib.suppress(OSError):
                while (chunk := theirs.recv(_CHUNK_BYTES)) and not (is_post.is_set() and self._cuts()):
                    ours.sendall(chunk)
            # Closing alone would wait for the other thread, which reads from one of them.
            for end in (ours, theirs):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def _cuts(self) -> bool:
        with self._lock:
            if self._cuts_left == 0:
                return False
            self._cuts_left -= 1
            self.cuts += 1
            return True


@contextmanager
def cutting(server_address: str, cuts: int) -> Iterator[CuttingProxy]:
    proxy = CuttingProxy(server_address, cuts)
    threading.Thread(target=proxy.serve, daemon=True).start()
    try:
        yield proxy
    finally:
        proxy.close()
