"""Which network addresses belong to the public internet: the only ones that are fetched from for callers."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

# Addresses that stand for others: connecting to one may reach a private network behind a translator or a
# tunnel. Python counts some of them as global, as their registry entries do.
_NOT_PUBLIC_V6 = tuple(
    IPv6Network(network)
    for network in (
        "::/96",  # IPv4-compatible, with the unspecified address and loopback
        "::ffff:0:0/96",  # IPv4-mapped
        "::ffff:0:0:0/96",  # IPv4-translated
        "64:ff9b::/96",  # NAT64
        "64:ff9b:1::/48",  # NAT64 of local use
        "2001::/23",  # IETF protocol assignments, with Teredo
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation, which older versions of Python do not know
    )
)
_GLOBAL_UNICAST_V6 = IPv6Network("2000::/3")
_NOT_PUBLIC_V4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT
        "168.63.129.16/32",  # Azure's own services, as its virtual machines reach them
        "192.0.0.0/24",  # IETF protocol assignments
        "192.88.99.0/24",  # 6to4 relays
        "198.18.0.0/15",  # benchmarks
        "240.0.0.0/4",
    )
)


def is_public(address: str) -> bool:
    """Whether `address`, as text, is a unicast address of the public internet.

    False for private, loopback, link-local, shared, multicast, reserved and documentation addresses, for
    IPv6 addresses that stand for an IPv4 address, for zones, and for text that is not an address.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return _is_public_v4(parsed) if isinstance(parsed, IPv4Address) else _is_public_v6(parsed)


def _is_public_v4(address: IPv4Address) -> bool:
    return (
        address.is_global
        and not address.is_multicast
        and not any(address in network for network in _NOT_PUBLIC_V4)
    )


def _is_public_v6(address: IPv6Address) -> bool:
    return (
        address in _GLOBAL_UNICAST_V6
        and address.is_global
        and not address.is_multicast
        and address.scope_id is None
        and not any(address in network for network in _NOT_PUBLIC_V6)
    )
