"""Connections to hosts whose addresses were checked, made to those very addresses.

A name is looked up once for each connection, every address is checked, and the connection goes to one of
them. So a name that resolves differently the next time (DNS rebinding) gains nothing. The certificate is
still verified for the name, because only the lowest layer knows the address.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpcore

#: The addresses of a host, as text. Raises OSError for an unknown one.
Resolve = Callable[[str, int], Awaitable[list[str]]]
IsAllowed = Callable[[str], bool]

_ADDRESSES_TRIED_MAX = 3
_CONNECT_SECONDS = 4.0
# What parses an answer does so on the event loop, as far as it was read at once. Before the body, a host may
# send any number of lines and interim answers: so heads are read in small pieces, and have a limit.
_HEAD_BYTES_MAX = 64 * 1024
_HEAD_READ_BYTES = 1024
# Not the event loop's own threads: name servers that do not answer would occupy all of them. A lookup cannot
# be cancelled and may outlive its fetch, so there are as many threads as files are fetched at once.
_RESOLVER_THREADS = 64


class HostRefused(Exception):
    """The host has no address, or one that is not allowed. Which of them is not said on purpose."""


class Resolver:
    """The system's resolver, in threads of its own."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_RESOLVER_THREADS, thread_name_prefix="resolver")

    async def __call__(self, host: str, port: int) -> list[str]:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, _look_up, host, port)
        return list(dict.fromkeys(found))

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _look_up(host: str, port: int) -> list[str]:
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


class PinnedBackend(httpcore.AsyncNetworkBackend):
    """httpcore's network backend for one answer. It connects to allowed addresses only.

    Raises `HostRefused`; if no name server answers, httpcore's `ConnectError`, as for a host that does not.
    """

    def __init__(self, resolve: Resolve, is_allowed: IsAllowed) -> None:
        self._resolve = resolve
        self._is_allowed = is_allowed
        self._network = httpcore.AnyIOBackend()
        self._head = _Head()

    def head_was_read(self) -> None:
        self._head.is_complete = True

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature is httpcore's
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            addresses = await self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            if isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN:
                raise httpcore.ConnectError from None
            raise HostRefused from None
        # One address that is not allowed refuses the host, even if others are.
        if not addresses or not all(map(self._is_allowed, addresses)):
            raise HostRefused
        seconds = _CONNECT_SECONDS if timeout is None else min(timeout, _CONNECT_SECONDS)
        failure: Exception | None = None
        for address in addresses[:_ADDRESSES_TRIED_MAX]:
            try:
                stream = await self._network.connect_tcp(
                    address,
                    port,
                    timeout=seconds,
                    local_address=local_address,
                    socket_options=socket_options,
                )
                return _Stream(stream, self._head)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        assert failure is not None
        raise failure


@dataclass
class _Head:
    """The head of the answer: status and header lines, and interim answers before them."""

    is_complete: bool = False
    read_bytes: int = 0


class _Stream(httpcore.AsyncNetworkStream):
    """A connection whose head is limited. Raises httpcore's `ReadError` for a longer one."""

    def __init__(self, stream: httpcore.AsyncNetworkStream, head: _Head) -> None:
        self._stream = stream
        self._head = head

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - httpcore's
        if self._head.is_complete:
            return await self._stream.read(max_bytes, timeout)
        if self._head.read_bytes > _HEAD_BYTES_MAX:
            raise httpcore.ReadError
        await asyncio.sleep(0)  # Reading what has arrived already does not let others run.
        content = await self._stream.read(min(max_bytes, _HEAD_READ_BYTES), timeout)
        self._head.read_bytes += len(content)
        return content

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - httpcore's
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature is httpcore's
    ) -> httpcore.AsyncNetworkStream:
        try:
            stream = await self._stream.start_tls(ssl_context, server_hostname, timeout)
        except asyncio.CancelledError:
            # httpcore closes the connection after every other failure of the handshake.
            await self.aclose()
            raise
        return _Stream(stream, self._head)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
