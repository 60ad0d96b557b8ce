"""Network addresses as counted by rate limits."""

from ipaddress import IPv6Address, ip_address


def network_of(address: str) -> str:
    """The address itself, or the first 64 bits of an IPv6 address, which belong to one customer."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None:
        return parsed.exploded[:19]
    return address
