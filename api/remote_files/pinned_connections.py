"""Connections to hosts whose addresses were checked, made to those very addresses.

A name is looked up once for each connection, every address is checked, and the connection goes to one of
them. So a name that resolves differently the next time (DNS rebinding) gains nothing. The certificate is
still verified for the name, because only the lowest layer knows the address.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpcore

#: The addresses of a host, as text. Raises OSError for an unknown one.
Resolve = Callable[[str, int], Awaitable[list[str]]]
IsAllowed = Callable[[str], bool]

_ADDRESSES_TRIED_MAX = 3
_CONNECT_SECONDS = 4.0
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
    """httpcore's network backend, which connects to allowed addresses only. Raises `HostRefused`."""

    def __init__(self, resolve: Resolve, is_allowed: IsAllowed) -> None:
        self._resolve = resolve
        self._is_allowed = is_allowed
        self._network = httpcore.AnyIOBackend()

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
        except (OSError, UnicodeError):
            raise HostRefused from None
        # One address that is not allowed refuses the host, even if others are.
        if not addresses or not all(map(self._is_allowed, addresses)):
            raise HostRefused
        seconds = _CONNECT_SECONDS if timeout is None else min(timeout, _CONNECT_SECONDS)
        failure: Exception | None = None
        for address in addresses[:_ADDRESSES_TRIED_MAX]:
            try:
                return await self._network.connect_tcp(
                    address,
                    port,
                    timeout=seconds,
                    local_address=local_address,
                    socket_options=socket_options,
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        assert failure is not None
        raise failure
