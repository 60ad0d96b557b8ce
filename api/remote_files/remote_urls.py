"""URLs that a caller sends, parsed strictly and only once.

A lenient parser lets one text mean two hosts, one to the check and another to the connection. So everything
unusual in the authority is refused, and the connection is made from the parsed parts, never from the text.
"""

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from urllib.parse import quote, urljoin, urlsplit

URL_LENGTH_MAX = 8 * 1024
DEFAULT_PORTS = {"https": 443, "http": 80}

_HOST_LENGTH_MAX = 253
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
#: The last label of a name that many parsers read as an IPv4 address: decimal, octal or hexadecimal.
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*")
#: Names for this machine or its network, which never need to be looked up.
_LOCAL_SUFFIXES = (".localhost", ".local", ".internal", ".intranet", ".lan", ".home", ".home.arpa", ".corp")
_PATH_CHARACTERS = "/%:@!$&'()*+,;=~-._"


class UnusableUrl(ValueError):
    """The text is not a URL that is fetched; the message says why and follows the parameter's name."""


@dataclass(frozen=True)
class RemoteUrl:
    """`host` is a lower-case name or an address without brackets; `target` is path and query."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def host_header(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def redirected(self, location: str, *, schemes: frozenset[str], ports: frozenset[int]) -> "RemoteUrl":
        """The URL of a `Location` header in the answer from this one. Raises `UnusableUrl`."""
        return parse(
            urljoin(f"{self.scheme}://{self.host_header}{self.target}", location),
            schemes=schemes,
            ports=ports,
        )


def parse(text: str, *, schemes: frozenset[str], ports: frozenset[int]) -> RemoteUrl:
    """The URL in `text`, with one of these schemes and ports. Raises `UnusableUrl`."""
    text = text.strip(" ")
    if len(text) > URL_LENGTH_MAX:
        raise UnusableUrl(f"is too long: at most {URL_LENGTH_MAX} characters")
    if any(ord(letter) < 0x20 or ord(letter) == 0x7F or letter == "\\" for letter in text):
        raise UnusableUrl("contains characters that no URL has")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise UnusableUrl("is not a valid URL") from None
    scheme = parts.scheme.lower()
    if scheme not in schemes:
        allowed = " or ".join(sorted(schemes, reverse=True))
        raise UnusableUrl(f"must be a whole URL that begins with {allowed}://")
    if "@" in parts.netloc:
        raise UnusableUrl("must not contain a user name or a password")
    host = _host_of(parts.netloc)
    if port is None:
        port = DEFAULT_PORTS[scheme]
    if port not in ports:
        raise UnusableUrl("must not name a port")
    target = quote(parts.path or "/", safe=_PATH_CHARACTERS)
    if parts.query:
        target += "?" + quote(parts.query, safe=_PATH_CHARACTERS + "?")
    return RemoteUrl(scheme, host, port, target)


def _host_of(netloc: str) -> str:
    if netloc.startswith("["):
        return _address_v6(netloc)
    host, colon, port = netloc.partition(":")
    if colon and not port:
        raise UnusableUrl("is not a valid URL")
    if not host:
        raise UnusableUrl("has no host")
    if not host.isascii():
        raise UnusableUrl("has letters beyond ASCII in its host: write it as xn--…")
    host = host.lower()
    labels = host.split(".")
    if len(host) > _HOST_LENGTH_MAX or not all(map(_LABEL.fullmatch, labels)):
        raise UnusableUrl("has a host that is not a valid name")
    if _NUMBER.fullmatch(labels[-1]):
        return _address_v4(host)
    if len(labels) < 2 or host.endswith(_LOCAL_SUFFIXES):
        raise UnusableUrl("must name a public host")
    return host


def _address_v4(host: str) -> str:
    """Only four decimal numbers: other forms mean different addresses to different parsers."""
    try:
        return str(IPv4Address(host))
    except AddressValueError:
        raise UnusableUrl("has a host that is not a valid name") from None


def _address_v6(netloc: str) -> str:
    address, bracket, _ = netloc[1:].partition("]")
    try:
        if not bracket or "%" in address:
            raise UnusableUrl("has a host that is not a valid name")
        return str(IPv6Address(address))
    except AddressValueError:
        raise UnusableUrl("has a host that is not a valid name") from None
