"""Checks the `Host` header, so that no URL is ever built from what a caller sent.

With a public URL every request counts as one to that URL. In development there is none, and only requests to
this machine are answered: another site whose name resolves to this machine (DNS rebinding) sends its own name
and is refused.
"""

from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from api.errors import InvalidRequest
from api.http import responses
from api.settings import Settings, is_loopback

_HOST_HEADERS = (b"host", b"x-forwarded-host")


class Hosts:
    """ASGI middleware. `bound_host`: the name or address that the server listens on."""

    def __init__(self, app: ASGIApp, settings: Settings, bound_host: str) -> None:
        self._app = app
        self._bound_host = bound_host.lower()
        self._public = None
        if settings.public_url is not None and not settings.is_development:
            self._public = urlsplit(settings.public_url)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._public is not None:
            others = [pair for pair in scope["headers"] if pair[0] not in _HOST_HEADERS]
            scope["headers"] = [(b"host", self._public.netloc.encode("idna")), *others]
            scope["scheme"] = self._public.scheme
        elif not self._is_for_this_machine(scope):
            refusal = InvalidRequest(
                "This server is in development and answers only requests for this machine, such as"
                " http://localhost. Its operator sets BGERASER_PUBLIC_URL to the address callers use."
            )
            await responses.error(Request(scope), refusal)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_for_this_machine(self, scope: Scope) -> bool:
        named = [value for name, value in scope["headers"] if name in _HOST_HEADERS]
        own = scope["server"][0] if scope.get("server") else ""
        return all(self._is_own(value.decode("latin-1"), own) for value in named)

    def _is_own(self, sent: str, own: str) -> bool:
        """`own`: the address of this end of the connection, which no other site's name equals."""
        host = _host_of(sent)
        if host is None:
            return False
        if is_loopback(host) or host == self._bound_host:
            return True
        address = _address_of(host)
        return address is not None and address == _address_of(own)


def _host_of(sent: str) -> str | None:
    """The name or address in a `Host` header, in lower case, without port and brackets."""
    try:
        parts = urlsplit(f"//{sent}")
        _ = parts.port
    except ValueError:
        return None
    return None if parts.netloc != sent or "@" in sent else parts.hostname


def _address_of(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
