"""Network addresses as counted by rate limits."""

from ipaddress import IPv6Address, ip_address


def network_of(address: str) -> str:
    """The address itself, or the first 64 bits of an IPv6 address, which belong to one customer.

    An IPv4 address mapped to IPv6 counts as the IPv4 address.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    return parsed.exploded[:19] if parsed.ipv4_mapped is None else str(parsed.ipv4_mapped)
