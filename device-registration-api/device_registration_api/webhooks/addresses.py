"""Which addresses a webhook may reach: the public ones, and the networks that the operator allows."""

import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any, NamedTuple

# These carry an IPv4 address, and a gateway may pass them on to it: NAT64 (two prefixes), Teredo, 6to4.
_TRANSLATED = tuple(map(IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16")))


class AddressRefused(OSError):
    """The name stands for no address that a webhook may reach."""


class Place(NamedTuple):
    """Where to connect to, as `socket` takes it."""

    family: socket.AddressFamily
    address: tuple[Any, ...]


def is_allowed(text: str, allowed: Sequence[IPv4Network | IPv6Network]) -> bool:
    """Whether an IP address is public, or in one of these networks."""
    address: IPv4Address | IPv6Address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if any(address in network for network in allowed):
        return True
    if isinstance(address, IPv6Address) and any(address in network for network in _TRANSLATED):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def places(host: str, port: int, allowed: Sequence[IPv4Network | IPv6Network]) -> list[Place]:
    """Return the addresses of a host that may be connected to.

    The name is looked up once, and the connection is made to one of these: a second look-up could have another answer.

    Raises:
        AddressRefused: there is none.
        socket.gaierror: the name is unknown.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    kept = [Place(family, address) for family, _, _, _, address in found if is_allowed(str(address[0]), allowed)]
    if not kept:
        raise AddressRefused("the address is not public")
    return kept
