"""Single HTTP requests to public hosts, over connections whose addresses were checked.

No proxy, cookie or credential of this server is ever used, and redirects are not followed.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import certifi
import httpcore

from api.remote_files import remote_urls
from api.remote_files.pinned_connections import IsAllowed, PinnedBackend, Resolve, Resolver
from api.remote_files.public_addresses import is_public
from api.remote_files.remote_urls import RemoteUrl

#: What `PinnedRequests.send` raises if the connection fails, besides `HostRefused`.
NETWORK_ERRORS = (
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.TimeoutException,
    httpcore.UnsupportedProtocol,
    OSError,
)


class PinnedRequests:
    """Sends requests to https URLs and, where `allows_http` is set, to http ones.

    Only `allows_http` is a setting. The other arguments replace the system's resolver, the check of its
    addresses, the ports of the schemes and the trusted certificates.
    """

    def __init__(
        self,
        *,
        allows_http: bool = False,
        resolve: Resolve | None = None,
        is_allowed: IsAllowed = is_public,
        ports: frozenset[int] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._schemes = frozenset({"https", "http"} if allows_http else {"https"})
        self._ports = ports or frozenset(remote_urls.DEFAULT_PORTS[scheme] for scheme in self._schemes)
        self._resolver = Resolver()
        self._resolve = resolve or self._resolver
        self.is_allowed = is_allowed
        self._tls = tls

    def close(self) -> None:
        self._resolver.close()

    def parse(self, text: str) -> RemoteUrl:
        """The URL in `text`, if requests are sent to such. Raises `UnusableUrl`."""
        return remote_urls.parse(text, schemes=self._schemes, ports=self._ports)

    def redirected(self, url: RemoteUrl, location: str) -> RemoteUrl:
        """The URL of a `Location` header in the answer from `url`. Raises `UnusableUrl`."""
        return url.redirected(location, schemes=self._schemes, ports=self._ports)

    @asynccontextmanager
    async def send(
        self, method: str, url: RemoteUrl, headers: list[tuple[str, str]], content: bytes | None = None
    ) -> AsyncIterator[httpcore.Response]:
        """The answer, whose head was read. Sets no time limit. Raises `HostRefused`, `NETWORK_ERRORS`."""
        if self._tls is None:
            # Reading the certificates takes tens of milliseconds.
            self._tls = await asyncio.to_thread(ssl.create_default_context, cafile=certifi.where())
        all_headers = [
            ("Host", url.host_header),
            *headers,
            ("User-Agent", "bgeraser"),
            ("Connection", "close"),
        ]
        backend = PinnedBackend(self._resolve, self.is_allowed)
        address = httpcore.URL(scheme=url.scheme, host=url.host, port=url.port, target=url.target)
        async with (
            httpcore.AsyncConnectionPool(
                ssl_context=self._tls, max_connections=1, network_backend=backend
            ) as pool,
            pool.stream(method, address, headers=all_headers, content=content) as answer,
        ):
            backend.head_was_read()
            yield answer
